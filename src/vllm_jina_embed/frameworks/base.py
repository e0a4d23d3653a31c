"""Define the keywords, checks and lifetime that both framework adapters share.

Needs pydantic, which each framework brings along.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    StrictBool,
    StrictInt,
    field_serializer,
    model_validator,
)

from .._arrays import Floats
from .._closing import Closing
from ..cache.embedder import CachedEmbedder
from ..checkpoints.description import Model
from ..embedder import JinaEmbedder
from ..engine.config import LocalConfig
from ..errors import ConfigError
from ..inputs.images import MediaPolicy
from ..prompts.base import Truncate, spelled
from ..settings import Fusion, LongText, OnError, Settings
from . import skipping
from .protocol import Embedder

SETTINGS = (
    "task", "dimensions", "truncate", "max_length", "min_pixels", "max_pixels",
    "media", "show_progress", "on_error", "engine_kwargs", "revision", "row", "fusion", "normalize",
    "long_text",
)  # fmt: skip
"""Keywords that go to ``JinaEmbedder`` under their own names; ``model`` comes on top."""

MODEL_SPELLINGS = ("model", "model_name")

ModelName = Annotated[str, BeforeValidator(lambda value: os.fspath(value) if isinstance(value, os.PathLike) else value)]
"""``demo``, a hub repository, or a checkpoint's folder; a ``pathlib.Path`` becomes a string."""


Row = Annotated[
    Model | str | None,
    PlainValidator(lambda row: row),  # the core checks it; pydantic would rebuild it
    PlainSerializer(lambda row: f"{row.name}@{row.digest}" if isinstance(row, Model) else row, return_type=str | None),
]
"""A row, or the name of a registered one; JSON keeps the name, and the digest that the row of this name must have."""


class Adapter(Closing, BaseModel):
    """The keywords of both adapters, and the embedder made from them; each framework names the field ``model`` itself.

    Creating one checks every keyword and starts nothing. Copies and unpickled adapters are made from the keywords.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    task: str | None = Field(default=None, frozen=True, description="A task of the checkpoint, such as retrieval.")
    dimensions: StrictInt | None = Field(
        default=None,
        frozen=True,
        validation_alias=AliasChoices("dimensions", "truncate_dim"),
        description="Matryoshka size of the embeddings; None keeps the full length.",
    )
    truncate: Annotated[Truncate, BeforeValidator(spelled)] = Field(
        default="end", frozen=True, description="Which end of a longer text to cut, or error."
    )
    max_length: StrictInt | None = Field(default=None, frozen=True, description="Longest text in tokens.")
    min_pixels: StrictInt | None = Field(default=None, frozen=True, description="Smaller images are enlarged to it.")
    max_pixels: StrictInt | None = Field(default=None, frozen=True, description="Larger images are reduced to it.")
    media: MediaPolicy | None = Field(default=None, frozen=True, description="Limits for images.")
    show_progress: bool = Field(default=False, frozen=True, description="Whether calls draw a progress bar on stderr.")
    on_error: OnError = Field(
        default="raise",
        frozen=True,
        description="raise, or skip bad items with a warning that names them.",
    )
    engine_kwargs: dict[str, Any] | None = Field(
        default=None,
        frozen=True,
        validation_alias=AliasChoices("engine_kwargs", "model_kwargs"),
        description="Keyword arguments for vLLM.",
    )
    revision: str | None = Field(default=None, frozen=True, description="Commit or tag of a hub repository.")
    row: Row = Field(default=None, frozen=True, description="A vllm_jina_embed.Model, or the name of a registered one.")
    fusion: Fusion | None = Field(
        default=None,
        frozen=True,
        description="mean, for items of text and image together of a model that was not trained for them.",
    )
    normalize: StrictBool = Field(
        default=True, frozen=True, description="Whether embeddings have L2 norm 1, or are what was pooled."
    )
    long_text: LongText | None = Field(
        default=None, frozen=True, description="chunks, for the mean of a longer text's parts instead of a cut."
    )
    embedder: Embedder | None = Field(
        default=None,
        frozen=True,
        exclude=True,
        repr=False,
        description="An existing JinaEmbedder; whoever made it closes it.",
    )
    _embedder: Embedder = PrivateAttr()
    _is_owner: bool = PrivateAttr(default=False)  # of the embedder that ``cached`` made

    @model_validator(mode="after")
    def _take_embedder(self) -> Self:
        spelling = next(name for name in MODEL_SPELLINGS if name in type(self).model_fields)
        if self.embedder is None:
            self._embedder = JinaEmbedder(getattr(self, spelling), **{name: getattr(self, name) for name in SETTINGS})
            return self
        clash = sorted(self.model_fields_set & {spelling, *SETTINGS})
        if clash:
            raise ConfigError(f"embedder=... has its own {', '.join(clash)}; pass an embedder or settings, not both.")
        settings = keywords(self.embedder.settings)
        self.__dict__.update({spelling: settings.pop("model"), **settings})  # not marked as set by the caller
        self._embedder = self.embedder
        return self

    @property
    def dimension(self) -> int:
        """Length of the embeddings."""
        return self._embedder.settings.dimensions

    @property
    def fingerprint(self) -> str:
        """A string of everything that decides a vector: if equal, equal inputs and roles give equal vectors."""
        return self._embedder.settings.fingerprint

    @property
    def placeholder(self) -> list[float]:
        """The vector of an item in a batch that cannot be embedded, with ``on_error="skip"``.

        It is a unit vector that ranks behind relevant items, and the same for all embeddings of this length.
        """
        return skipping.placeholder(self.dimension)

    @staticmethod
    def is_placeholder(vector: Sequence[float]) -> bool:
        """Tell whether a vector that comes back from a store is the placeholder."""
        return skipping.is_placeholder(vector)

    def cached(self, store: Any) -> Self:
        """Return an adapter with the same settings that looks into ``store`` first; close both adapters.

        A hit starts no engine and returns the stored vector bit for bit. Keys hold everything that decides a vector:
        checkpoint, task, role, dimensions, prompts, pixel bounds, and the text's bytes or the image's pixels.
        A pickled copy has no store and computes every vector.

        Args:
            store: A path for an SQLite file, a store of the framework, or an object with ``get_many(keys)`` and
                ``put_many(values)`` of bytes.

        Raises:
            ConfigError: ``store`` is not a store, or the checkpoint is a hub repository without a commit ``revision``.
        """
        own = self.embedder is None
        embedder = JinaEmbedder(**keywords(self._embedder.settings)) if own else self._embedder
        others = self.model_fields_set - {*MODEL_SPELLINGS, *SETTINGS, "embedder"}
        rest = {name: getattr(self, name) for name in others}
        cached = type(self)(embedder=CachedEmbedder(embedder, self._as_store(store)), **rest)  # type: ignore[arg-type]
        cached._is_owner = own
        return cached

    @staticmethod
    def _as_store(store: Any) -> Any:
        """Wrap a store of the framework for the cache; return any other as it is."""
        return store

    @property
    def _strictly(self) -> dict[str, Any]:
        return skipping.strictly(self._embedder, self.on_error)

    # --- life -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Release the engine; an embedder that was passed in stays open. Further calls do nothing."""
        if self.embedder is None or self._is_owner:
            self._embedder.close()

    async def aclose(self) -> None:
        """Await ``close`` without blocking the loop."""
        if self.embedder is None or self._is_owner:
            await self._embedder.aclose()

    # --- copies -----------------------------------------------------------------------------------------------------

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a new adapter with ``update`` applied and checked; it shares the engine where the settings allow."""
        return type(self)(**{name: getattr(self, name) for name in self.model_fields_set} | dict(update or {}))

    def __copy__(self) -> Self:
        return self.model_copy()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy()

    def __getstate__(self) -> dict[Any, Any]:
        """Return the keywords alone, without the engine and without an embedder that was passed in."""
        return {name: getattr(self, name) for name, field in type(self).model_fields.items() if not field.exclude}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        type(self).__init__(self, **state)

    @field_serializer("media")
    def _dump_media(self, media: MediaPolicy | None) -> dict[str, Any] | None:
        if media is None:
            return None
        root = media.allowed_root
        return {**asdict(media), "allowed_root": None if root is None else os.fspath(root)}


def keywords(settings: Settings) -> dict[str, Any]:
    """Return the keywords (``model`` and ``SETTINGS``) that make an embedder with equal settings."""
    engine = settings.engine
    has_pixels = settings.checkpoint.has_pixel_bounds  # of texts, the settings have bounds that nobody may pass
    return {
        "model": settings.checkpoint.name,
        "task": settings.task,
        "dimensions": settings.dimensions,
        "truncate": settings.truncate,
        "max_length": settings.max_length,
        "min_pixels": engine.min_pixels if has_pixels else None,
        "max_pixels": engine.max_pixels if has_pixels else None,
        "media": settings.media,
        "show_progress": settings.show_progress,
        "on_error": settings.on_error,
        "engine_kwargs": dict(engine.options) if isinstance(engine, LocalConfig) else {},
        "revision": engine.revision,
        "row": settings.checkpoint.row,
        "fusion": settings.fusion,
        "normalize": settings.normalize,
        "long_text": settings.long_text,
    }


def vectors(embeddings: Floats) -> list[list[float]]:
    """Return an array ``(n, dimension)`` as lists of Python floats, which both frameworks and their stores expect."""
    rows: list[list[float]] = embeddings.tolist()
    return rows
