"""Descriptions of models, which every stage reads instead of comparing names: rows of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from .digest import digest
from .frozen import Frozen
from .layout import Layout
from .prompt_pieces import Special, Template
from .token_layer import TokenLayer

TASKS = ("retrieval", "text-matching", "code", "separation", "clustering", "classification")
"""What a row's prompts or weights may be for; each row has some of these."""

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parent.parent / "demo" / "checkpoint"

Pooling = Literal["vision_span_mean", "first_token", "last_token", "mean"]
"""The mean over a text's tokens or an image's span; the state of the first token, or of the last; the mean over all."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Model(Frozen):
    """A row: how the checkpoints of one training are recognised, prompted, started and pooled.

    Rows are equal if their names and digests are.

    Attributes:
        name: The name that servers report to their clients.
        layouts: What a checkpoint's files say if it is one of this row's; a folder fits one of them.
        known_as: Names that those of this row's folders and repositories begin with; the first stands in errors.
        only_named: Whether its checkpoints are another row's unless the caller names this one.
        pooling: Which token states make the embedding; None where there are multi-vectors alone.
        layer_norm: Whether what is pooled gets a layer norm without weights, over the full length, before it is cut.
        kind: How the tokenizer splits texts, which decides how a text is kept from becoming a special token.
        normalization: What the published code makes of a user's text before its tokenizer: ``lower`` case, or
            ``canonical``, which has no ASCII punctuation and no more than single spaces either.
        templates: The prompts by role (``query``, ``passage``; ``any`` for both) and modality (``text``, ``image``,
            and ``both`` if one item of a text with images was trained, its slots in the order that was trained).
            Nothing but these pieces stands in a prompt: the first and last token are pieces too. The name of a task in
            place of a role is for both roles in this task.
        padding: The special token that prompts of texts are filled up with, at their end, to as many tokens as the
            checkpoint takes, where it was trained so: the others see it. None for no padding.
        image: The pieces of one image; the engine repeats the token that stands for its patches. Empty where only texts
            have embeddings, or the engine puts in tokens of its own.
        image_marks: Keys of config.json with the ids that the engine itself puts before and behind an image's patches.
        image_positions: With positions in three directions, whether the patches of an image were trained on a ``grid``,
            as vLLM places them, or in one ``line`` with the tokens around them.
        fixed_size: Whether the checkpoint's own processor alone decides an image's size: no bounds in pixels then.
        token_side: Pixels of a side of the square that one token of an image stands for.
        side_multiple: Where the published code resizes images by Pillow first, the number of pixels that sides become
            a multiple of; their area is 4 to 16384 squares of it.
        symmetric_tasks: Tasks in which both roles get the prompt of a query.
        architecture: The plugin's architecture that vLLM loads; None for vLLM's own, with this row's pooling.
        adapter_architecture: The same for a checkpoint with an adapter per task, where a projector has some too.
        vllm_architecture: vLLM's own name of the architecture, with this row's pooling, where config.json has another.
        reversed_states: Whether vLLM's class gives the states of a text from the last token to the first; the plugin
            puts them in order.
        remote_code: What vLLM needs of the checkpoint's own code, in the words of a refusal; empty for nothing. It is
            run only if a user allows it (``trust_remote_code``).
        config_names: By the name of a setting that vLLM is told, the key of config.json that has its value.
        adapters: By role (or ``any``) and task, the place of its adapter in weights that hold all of them stacked;
            empty where there is none. A prompt's ids say which one (``adapted_ids``).
        attention: Whether a token sees those before it (``causal``) or on ``both`` sides; None is not checked.
        size_key: Where the length of an embedding stands in config.json, if that is not the ``hidden_size`` of the
            text's model: a key, or ``text_config.`` and a key in there. If it is missing, the layout's ``defaults``
            have it; if not, it is ``hidden_size``.
        overrides: Further keys of ``hf_overrides`` that vLLM needs.
        arguments: Further arguments that vLLM needs; a user's win.
        splits_prompts: Whether vLLM may compute a prompt in several steps, as causal attention allows.
        tasks: Tasks out of ``TASKS``, the default first; ``task_names`` of config.json may choose among several.
        matryoshka_sizes: Lengths below the full one that were trained, where ``matryoshka_dims`` or
            ``matryoshka_dimensions`` of config.json does not say so; empty if none was.
        min_dimensions: Where every length from some one to the full one was trained, the smallest; None elsewhere.
        token_dimensions: Length of one row of a multi-vector of a checkpoint with adapters, where
            ``multi_vector_projector_dim`` of config.json does not say so; None for the full length.
        score: How a query and an item are compared unless a caller says so: by ``cosine``, or by ``maxsim``.
        token_vectors: Whether the states of its tokens mean anything as a multi-vector.
        projector: Makes the rows of multi-vectors of token states; None where states are the rows, or adapters have it.
        token_weights: What makes the weight of a token of its state (a negative one is 0); None where none was trained.
        positions: Which of ``max_position_embeddings`` tokens take: ``all``, or those ``after_padding`` (RoBERTa's,
            counted from the padding token's id + 1).
        min_pixels: Smallest area of an image in pixels.
        max_pixels: Largest area of an image in pixels.
        max_length: Longest prompt of a text in tokens; None for as many as the checkpoint has positions for.
        source: By the name of another field, the paper, card or file that its value comes from.
        code: Version of the code that computes this row's vectors; raised when equal fields give other vectors.
        vectors_before: By digest, what ``vectors`` was before rows had digests; it holds for that digest alone.
    """

    name: str
    layouts: tuple[Layout, ...]
    known_as: tuple[str, ...] = ()
    only_named: bool = False
    pooling: Pooling | None
    layer_norm: bool = False
    kind: Literal["bpe", "unigram", "wordpiece"]
    normalization: Literal["lower", "canonical"] | None = None
    templates: Mapping[tuple[str, str], Template]
    padding: Special | None = None
    image: Template = ()
    image_marks: tuple[str, ...] = ()
    image_positions: Literal["grid", "line"] = "grid"
    fixed_size: bool = False
    token_side: int = 28
    side_multiple: int | None = None
    symmetric_tasks: tuple[str, ...] = ()
    architecture: str | None = None
    adapter_architecture: str | None = None
    vllm_architecture: str | None = None
    reversed_states: bool = False
    remote_code: str = ""
    config_names: Mapping[str, str] = field(default_factory=dict)
    adapters: Mapping[tuple[str, str], int] = field(default_factory=dict)
    attention: Literal["causal", "both"] | None = None
    size_key: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    splits_prompts: bool = False
    tasks: tuple[str, ...] = ("retrieval",)
    matryoshka_sizes: tuple[int, ...] = ()
    min_dimensions: int | None = None
    token_dimensions: int | None = None
    score: Literal["cosine", "maxsim"] = "cosine"
    token_vectors: bool = True
    projector: TokenLayer | None = None
    token_weights: TokenLayer | None = None
    positions: Literal["all", "after_padding"] = "all"
    min_pixels: int = 1
    max_pixels: int = 1
    max_length: int | None
    source: Mapping[str, str] = field(default_factory=dict)
    code: int = 1
    vectors_before: Mapping[str, str] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        """Compare what decides vectors: a corrected citation makes no second engine."""
        return isinstance(other, Model) and (self.name, self.digest) == (other.name, other.digest)

    def __hash__(self) -> int:
        """Hash what is compared."""
        return hash((self.name, self.digest))

    def __repr__(self) -> str:
        """Return the name, which is what errors show."""
        return f"Model({self.name!r})"

    @property
    def takes_images(self) -> bool:
        """Whether images have embeddings too."""
        return any(modality == "image" for _, modality in self.templates)

    @property
    def takes_both(self) -> bool:
        """Whether a text with its images, as one item, has an embedding too."""
        return any(modality == "both" for _, modality in self.templates)

    def template(self, modality: str, role: str, task: str) -> Template:
        """Return the prompt of an item.

        Args:
            modality: ``text``, ``image`` or ``both``.
            role: ``query`` or ``passage``.
            task: One of ``TASKS``.

        Raises:
            KeyError: There is none for this modality.
        """
        roles = (task, "query" if task in self.symmetric_tasks else role, "any")
        return self.templates[(next((one for one in roles if (one, modality) in self.templates), "any"), modality)]

    def adapter(self, role: str, task: str) -> int | None:
        """Return the place of the adapter that computes a prompt; None if no prompt has one.

        Raises:
            KeyError: There is none for this role and task.
        """
        return self.adapters[(role if (role, task) in self.adapters else "any", task)] if self.adapters else None

    @property
    def has_task_adapters(self) -> bool:
        """Whether each task's adapter is a folder of its own; else one file holds those of all tasks."""
        return any(layout.adapters == "by_task" for layout in self.layouts)

    @property
    def checked_tasks(self) -> tuple[str, ...]:
        """Tasks whose weights differ within one engine, each to be checked; one without a name if none do."""
        return self.tasks if self.adapters else ("",)

    @property
    def label(self) -> str:
        """The name that users know it by, to show in errors."""
        return self.known_as[0] if self.known_as else self.name

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits of everything that decides a vector, so of every field but ``NO_VECTORS``."""
        return digest(self)

    @property
    def vectors(self) -> str:
        """The way this row makes vectors; changes whenever an equal input could give another vector.

        It stands in the keys of users' caches and indexes.
        """
        digest = self.digest
        return self.vectors_before.get(digest, f"vllm-jina-embed/2/{digest}")
