"""What the files of a checkpoint say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .frozen import Frozen


@dataclass(frozen=True, kw_only=True)
class Layout(Frozen):
    """What the files of a checkpoint say of themselves; a folder that says otherwise is another model.

    A key or a file that is missing says nothing.

    Attributes:
        architecture: The one entry of ``architectures`` in config.json.
        unnamed: The ``model_type`` of a config.json that names no architecture and may be of this layout.
        config: Values of keys in config.json.
        text: Values of keys in the ``text_config`` of config.json, which vLLM does not all read.
        present: Keys that config.json has, so that one which says nothing is another model.
        defaults: Values of keys that config.json may leave out since its class in transformers has them.
        processor: Values of keys in processor_config.json, where it decides vectors and vLLM does not read it all.
        absent: Keys that config.json does not have; null, and the ``id2label`` of every model, count as absent.
        modules: The kinds of modules that modules.json may list. Empty where the architecture alone says which model
            it is: then no file of sentence-transformers is compared.
        prompts: By their names in config_sentence_transformers.json, the prompts that the row has too; one that stands
            there under any other name is empty. The name of a task may stand in front: ``retrieval.query``. An empty
            ``query`` or ``document`` says nothing beside that prompt under another name, nor alone where the
            checkpoint's name or the caller says which row it is: sentence-transformers writes them by default.
        any_prompts: Whether it is not known which prompts stand there, as of models whose code has them: then they are
            not compared, and only the checkpoint's name or the caller says which model it is.
        prompts_unpublished: Whether the published files say nothing of prompts. Empty ones, which sentence-transformers
            writes into a copy, are no difference then, if the name or the caller says which model it is.
        other_prompts: The prompts of tasks that the row does not serve, by their names there. They may stand there too,
            and do not say which model it is.
        adapters: ``none``; ``ignored``, where a folder ``adapters`` says nothing; ``folder``, in a folder ``adapters``;
            ``named``, where the architecture says that there are some; ``by_task``, where it says so, and ``adapters``
            has a folder of PEFT for each task; ``merged``, where adapters were published, which vLLM cannot serve on a
            vision encoder. But for ``folder``, ``named`` and ``by_task`` there is no adapter_config.json beside the
            weights: transformers would add that adapter to them.
        adds_ends: Whether tokenizer.json adds the first and the last token of the row's prompts of texts, and no other.
        texts_only: Why images are refused although the model was trained with some, in the words of an error.
        assumed: Where other models have the same files: the words of a warning that this row is assumed.
        pooling_decides: Whether 1_Pooling/config.json with the row's pooling, and a config_sentence_transformers.json
            with ``prompts``, say which model it is. A folder without them is assumed to be one of this row's if there
            is an ``assumed``; if not, it is refused unless its name is one of the row's, or the caller names the row.
    """

    architecture: str
    unnamed: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    text: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    present: tuple[str, ...] = ()
    processor: Mapping[str, Any] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    modules: tuple[str, ...] = ("Transformer", "Pooling", "Normalize")
    prompts: Mapping[str, str] = field(default_factory=dict)
    any_prompts: bool = False
    prompts_unpublished: bool = False
    other_prompts: Mapping[str, str] = field(default_factory=dict)
    adapters: Literal["none", "ignored", "folder", "named", "by_task", "merged"] = "none"
    adds_ends: bool = False
    texts_only: str = ""
    assumed: str = ""
    pooling_decides: bool = False

    @property
    def holds_adapters(self) -> bool:
        """Whether adapters are part of it; elsewhere transformers would add one that lies beside the weights."""
        return self.adapters in ("folder", "named", "by_task")
