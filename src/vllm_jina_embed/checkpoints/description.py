"""Descriptions of models, which every stage reads instead of comparing names.

A ``Model`` is a row of the table: what all checkpoints of one training have in common. A ``Checkpoint`` is one of them,
with its sizes and tasks.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

from .frozen import Frozen
from .layout import Layout

TASKS = ("retrieval", "text-matching", "code")

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parent.parent / "demo" / "checkpoint"

Pooling = Literal["vision_span_mean", "first_token", "last_token", "mean"]
"""The mean over a text's tokens or an image's span; the state of the first token, or of the last; the mean over all."""


@dataclass(frozen=True, slots=True)
class Special:
    """A special token by its name, such as ``<s>``; no user's text ever becomes one."""

    token: str


class Slot(Enum):
    """Where the user's item stands in a prompt."""

    TEXT = "text"
    IMAGES = "images"


Template: TypeAlias = "tuple[str | Special | Slot, ...]"
"""A prompt in pieces: plain texts, special tokens and one slot, or both of them. The user's text alone may be cut."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Model(Frozen):
    """A row: how the checkpoints of one training are recognised, prompted, started and pooled.

    Rows are equal if their names and digests are.

    Attributes:
        name: The name that servers report to their clients.
        layouts: What a checkpoint's files say if it is one of this row's; a folder fits one of them.
        known_as: Names that those of this row's folders and repositories begin with; the first stands in errors.
        pooling: Which token states make the embedding.
        layer_norm: Whether what is pooled gets a layer norm without weights, over the full length, before it is cut.
        kind: How the tokenizer splits texts, which decides how a text is kept from becoming a special token.
        templates: The prompts by role (``query``, ``passage``; ``any`` for both) and modality (``text``, ``image``,
            and ``both`` if one item of a text with images was trained, its slots in the order that was trained).
            Nothing but these pieces stands in a prompt: the first and last token are pieces too.
        image: The pieces of one image; the engine repeats the token that stands for its patches. Empty where only texts
            have embeddings.
        symmetric_tasks: Tasks in which both roles get the prompt of a query.
        architecture: The plugin's architecture that vLLM loads; None for vLLM's own, with this row's pooling.
        adapter_architecture: The same for a checkpoint with an adapter per task.
        attention: Whether a token sees those before it (``causal``) or on ``both`` sides; None is not checked.
        overrides: Further keys of ``hf_overrides`` that vLLM needs.
        arguments: Further arguments that vLLM needs; a user's win.
        splits_prompts: Whether vLLM may compute a prompt in several steps, as causal attention allows.
        tasks: Tasks out of ``TASKS``, the default first; ``task_names`` of config.json may choose among several.
        matryoshka_sizes: Lengths below the full one that were trained, where ``matryoshka_dims`` of config.json does
            not say so; empty if none was.
        token_dimensions: Length of one row of a multi-vector of a checkpoint with adapters, where
            ``multi_vector_projector_dim`` of config.json does not say so; None for the full length.
        positions: Which of ``max_position_embeddings`` tokens take: ``all``, or those ``after_padding`` (RoBERTa's,
            counted from the padding token's id + 1).
        min_pixels: Smallest area of an image in pixels.
        max_pixels: Largest area of an image in pixels.
        max_length: Longest prompt of a text in tokens; None for as many as the checkpoint has positions for.
        source: By the name of another field, the paper, card or file that its value comes from.
        code: Version of the code that computes this row's vectors; raised when equal fields give other vectors.
        vectors_before: By digest, what ``vectors`` was before rows had digests. It holds for that digest alone, so a
            copy of the row with another prompt has a name of its own.
    """

    name: str
    layouts: tuple[Layout, ...]
    known_as: tuple[str, ...] = ()
    pooling: Pooling
    layer_norm: bool = False
    kind: Literal["bpe", "unigram", "wordpiece"]
    templates: Mapping[tuple[str, str], Template]
    image: Template = ()
    symmetric_tasks: tuple[str, ...] = ()
    architecture: str | None = None
    adapter_architecture: str | None = None
    attention: Literal["causal", "both"] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    splits_prompts: bool = False
    tasks: tuple[str, ...] = ("retrieval",)
    matryoshka_sizes: tuple[int, ...] = ()
    token_dimensions: int | None = None
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
        role = "query" if task in self.symmetric_tasks else role
        return self.templates[(role if (role, modality) in self.templates else "any", modality)]

    @property
    def label(self) -> str:
        """The name that users know it by, to show in errors."""
        return self.known_as[0] if self.known_as else self.name

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits of everything that decides a vector, so of every field but ``NO_VECTORS``."""
        return hashlib.sha256(canonical(self).encode()).hexdigest()[:16]

    @property
    def vectors(self) -> str:
        """The way this row makes vectors; changes whenever an equal input could give another vector.

        It stands in the keys of users' caches and indexes.
        """
        digest = self.digest
        return self.vectors_before.get(digest, f"vllm-jina-embed/2/{digest}")


NO_VECTORS = frozenset({"layouts", "known_as", "attention", "source", "vectors_before"})
"""Fields that decide no vector: a corrected citation, or a stricter check, must not empty a cache."""


def canonical(row: Model) -> str:
    """Return the fields of ``row`` that decide vectors as JSON, one text for equal rows whatever the order of keys.

    Fields at their defaults are left out, so that a new one does not change the digests of all rows. If a default
    changes, ``code`` has to.
    """
    deciding = [one for one in fields(row) if one.name not in NO_VECTORS]
    values = {one.name: _plain(getattr(row, one.name)) for one in deciding}
    for one in deciding:
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if default is not MISSING and values[one.name] == _plain(default):
            del values[one.name]
    return json.dumps(values, sort_keys=True)


def _plain(value: Any) -> Any:
    """Return a value of a row as JSON has it: a slot is not the text of its name, nor a special token its spelling.

    Raises:
        TypeError: It is none.
    """
    if isinstance(value, Slot):
        return {"slot": value.value}
    if isinstance(value, Special):
        return {"special": value.token}
    if isinstance(value, Mapping):
        return {" ".join(key) if isinstance(key, tuple) else str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{value!r} is a {type(value).__name__}; expected what a row may hold")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One checkpoint.

    Attributes:
        name: As the user passed it.
        location: Folder or hub repository that the engine loads.
        row: Prompts, start and pooling.
        tasks: Tasks that these weights serve; the first is the default.
        hidden_size: Length of a full embedding.
        matryoshka_sizes: Lengths of an embedding that were trained, ascending; the last is ``hidden_size``.
        token_dimensions: Length of one row of a multi-vector; ``hidden_size`` where no projector was trained for them.
        has_adapters: Whether one engine serves every task by adapters, rather than with weights merged for one.
        min_pixels: Smallest area of an image in pixels; smaller images are enlarged to it.
        max_pixels: Largest area of an image in pixels; larger images are reduced to it.
        max_length: Longest prompt of a text in tokens.
        architecture: The one in config.json; empty for that of the row's first layout.
        options: Default engine arguments of this checkpoint.
    """

    name: str
    location: str
    row: Model
    tasks: tuple[str, ...]
    hidden_size: int
    matryoshka_sizes: tuple[int, ...]
    token_dimensions: int
    has_adapters: bool = False
    min_pixels: int
    max_pixels: int
    max_length: int
    architecture: str = field(default="", compare=False)
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Old name of ``matryoshka_sizes``, until the next version."""
        warnings.warn("Checkpoint.dimensions is now called matryoshka_sizes", DeprecationWarning, stacklevel=2)
        return self.matryoshka_sizes

    @property
    def family(self) -> Model:
        """Old name of ``row``, until the next version."""
        warnings.warn("Checkpoint.family is now called row", DeprecationWarning, stacklevel=2)
        return self.row

    @property
    def supports_images(self) -> bool:
        """Whether images have embeddings too."""
        return self.row.takes_images

    @property
    def label(self) -> str:
        """The name without its path, to show to observers and stores."""
        path = Path(self.location)
        return path.name if path.is_absolute() and self.name != DEMO else self.name
