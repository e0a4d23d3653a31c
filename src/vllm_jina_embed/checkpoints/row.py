"""What every row says of its checkpoints, whether they embed items or rank them.

``description`` adds what embeddings need, ``ranking`` what scores of pairs need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from .digest import digest
from .frozen import Frozen
from .layout import Layout
from .prompt_pieces import Template

Pooling = Literal["vision_span_mean", "first_token", "last_token", "mean"]
"""The mean over a text's tokens or an image's span; the state of the first token, or of the last; the mean over all."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Row(Frozen):
    """How the checkpoints of one training are recognised and started, and what their prompts are made of.

    Rows are equal if their names and digests are.

    Attributes:
        name: The name that servers report to their clients.
        layouts: What a checkpoint's files say if it is one of this row's; a folder fits one of them.
        known_as: Names that those of this row's folders and repositories begin with; the first stands in errors.
        only_named: Whether its checkpoints are another row's unless the caller names this one.
        pooling: Which token states make the embedding, or are judged; None where there are multi-vectors alone.
        kind: How the tokenizer splits texts, which decides how a text is kept from becoming a special token.
        normalization: What the published code makes of a user's text before its tokenizer: ``lower`` case, or
            ``canonical``, which has no ASCII punctuation and no more than single spaces either.
        image: The pieces of one image; the engine repeats the token that stands for its patches. Empty where a model
            takes texts only, or the engine puts in tokens of its own.
        fixed_size: Whether the checkpoint's own processor alone decides an image's size: no bounds in pixels then.
        token_side: Pixels of a side of the square that one token of an image stands for.
        side_multiple: Where the published code resizes images by Pillow first, the number of pixels that sides become
            a multiple of; their area is 4 to 16384 squares of it.
        vllm_architecture: vLLM's own name of the architecture, with this row's pooling, where config.json has another.
        remote_code: What vLLM needs of the checkpoint's own code, in the words of a refusal; empty for nothing. It is
            run only if a user allows it (``trust_remote_code``).
        config_names: By the name of a setting that vLLM is told, the key of config.json that has its value.
        attention: Whether a token sees those before it (``causal``) or on ``both`` sides; None is not checked.
        overrides: Further keys of ``hf_overrides`` that vLLM needs.
        arguments: Further arguments that vLLM needs; a user's win.
        splits_prompts: Whether vLLM may compute a prompt in several steps, as causal attention allows.
        positions: Which of ``max_position_embeddings`` tokens take: ``all``, or those ``after_padding`` (RoBERTa's,
            counted from the padding token's id + 1).
        min_pixels: Smallest area of an image in pixels.
        max_pixels: Largest area of an image in pixels.
        max_length: Longest prompt of a text in tokens; None for as many as the checkpoint has positions for.
        source: By the name of another field, the paper, card or file that its value comes from.
        code: Version of the code that computes this row's vectors or scores; raised when equal fields give others.
        kind_of_result: What its checkpoints give, in the words of errors.
        kind_of_head: What makes it of token states, in the words of errors.
    """

    kind_of_result: ClassVar[str] = "vectors"
    kind_of_head: ClassVar[str] = "pooling"
    name: str
    layouts: tuple[Layout, ...]
    known_as: tuple[str, ...] = ()
    only_named: bool = False
    pooling: Pooling | None
    kind: Literal["bpe", "unigram", "wordpiece"]
    normalization: Literal["lower", "canonical"] | None = None
    image: Template = ()
    fixed_size: bool = False
    token_side: int = 28
    side_multiple: int | None = None
    vllm_architecture: str | None = None
    remote_code: str = ""
    config_names: Mapping[str, str] = field(default_factory=dict)
    attention: Literal["causal", "both"] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    splits_prompts: bool = False
    positions: Literal["all", "after_padding"] = "all"
    min_pixels: int = 1
    max_pixels: int = 1
    max_length: int | None
    source: Mapping[str, str] = field(default_factory=dict)
    code: int = 1

    def __eq__(self, other: object) -> bool:
        """Compare what decides vectors or scores: a corrected citation makes no second engine."""
        return isinstance(other, type(self)) and (self.name, self.digest) == (other.name, other.digest)

    def __hash__(self) -> int:
        """Hash what is compared."""
        return hash((self.name, self.digest))

    def __repr__(self) -> str:
        """Return the name, which is what errors show."""
        return f"{type(self).__name__}({self.name!r})"

    @property
    def takes_images(self) -> bool:
        """Whether an item may be an image."""
        raise NotImplementedError

    @property
    def pieces(self) -> Template:
        """Everything that its prompts are made of."""
        raise NotImplementedError

    @property
    def has_task_adapters(self) -> bool:
        """Whether each task's adapter is a folder of its own; else one file holds those of all tasks."""
        return any(layout.adapters == "by_task" for layout in self.layouts)

    @property
    def label(self) -> str:
        """The name that users know it by, to show in errors."""
        return self.known_as[0] if self.known_as else self.name

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits of everything that decides a vector or a score: every field but ``NO_VECTORS``."""
        return digest(self)
