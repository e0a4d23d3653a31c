"""The keywords of an engine and of its prompts, which every adapter of both frameworks has.

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
    StrictInt,
    field_serializer,
)

from .._closing import Closing
from ..checkpoints import row as rows
from ..engine.config import LocalConfig, RemoteConfig
from ..errors import ConfigError
from ..inputs.images import MediaPolicy
from ..prompts.base import Truncate, spelled
from ..settings import OnError, Settings

ENGINE = (
    "truncate", "max_length", "min_pixels", "max_pixels", "media", "show_progress", "on_error", "engine_kwargs",
    "revision", "row",
)  # fmt: skip
"""Keywords that go to ``JinaEmbedder`` and ``JinaReranker`` under their own names; ``model`` comes on top."""
SHARED = ("task", *ENGINE)
"""Those that go to ``JinaEmbedder``, whatever is computed."""

MODEL_SPELLINGS = ("model", "model_name")
PICKLED = ("embedder", "reranker", "cache")
"""Objects that no JSON holds and that are pickled all the same: they decide who computes a vector or a score."""

ModelName = Annotated[str, BeforeValidator(lambda value: os.fspath(value) if isinstance(value, os.PathLike) else value)]
"""``demo``, a hub repository, or a checkpoint's folder; a ``pathlib.Path`` becomes a string."""


Row = Annotated[
    rows.Row | str | None,
    PlainValidator(lambda row: row),  # the core checks it; pydantic would rebuild it
    PlainSerializer(
        lambda row: f"{row.name}@{row.digest}" if isinstance(row, rows.Row) else row, return_type=str | None
    ),
]
"""A row, or the name of a registered one; JSON keeps the name, and the digest that the row of this name must have."""


class EngineFields(Closing, BaseModel):
    """What every adapter asks of its engine; an unknown keyword is an error.

    Creating one checks every keyword and starts nothing. Copies are made from the keywords. A pickle holds these and
    the embedder, which comes back with the same settings, servers and cache (see ``JinaEmbedder``), and belongs to the
    adapter then. What a framework put in for this process alone, such as callbacks, stays behind.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

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
    row: Row = Field(default=None, frozen=True, description="A row, or the name of a registered one.")

    def _show_settings(self, shown: Mapping[str, Any], names: Sequence[str], *, given: str = "embedder") -> None:
        """Show the settings of an object that was passed in as this object's own fields.

        Args:
            shown: Its settings by their names.
            names: Those that are fields here; ``model`` comes on top.
            given: The keyword that it was passed as.

        Raises:
            ConfigError: Settings of these ``names`` were passed beside it.
        """
        spelling = next(name for name in MODEL_SPELLINGS if name in type(self).model_fields)
        clash = sorted(self.model_fields_set & {spelling, *names})
        if clash:
            article = "an" if given == "embedder" else "a"
            raise ConfigError(
                f"{given}=... has its own {', '.join(clash)}; pass {article} {given} or settings, not both."
            )
        self.__dict__[spelling] = shown["model"]  # not marked as set by the caller
        self.__dict__.update({name: shown[name] for name in names})

    # --- copies -----------------------------------------------------------------------------------------------------

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a new adapter with ``update`` applied and checked; it shares the engine where the settings allow."""
        return type(self)(**{name: getattr(self, name) for name in self.model_fields_set} | dict(update or {}))

    def __copy__(self) -> Self:
        return self.model_copy()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy()

    def __getstate__(self) -> dict[Any, Any]:
        """Return pydantic's state without what belongs to this process."""
        state = BaseModel.__getstate__(self)  # not LlamaIndex's, which drops with a warning what it cannot pickle
        inside = {name: value for name, value in state["__dict__"].items() if name not in self._left_behind()}
        return {**state, "__dict__": inside}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Take the state as it is: an error here would hang a ``multiprocessing.Pool``."""
        BaseModel.__setstate__(self, state)
        fields = type(self).model_fields
        self.__dict__.update(
            {name: fields[name].get_default(call_default_factory=True) for name in self._left_behind()}
        )

    @classmethod
    def _left_behind(cls) -> set[str]:
        return {name for name, field in cls.model_fields.items() if field.exclude} - {*PICKLED}

    @field_serializer("media")
    def _dump_media(self, media: MediaPolicy | None) -> dict[str, Any] | None:
        if media is None:
            return None
        root = media.allowed_root
        return {**asdict(media), "allowed_root": None if root is None else os.fspath(root)}


def keywords(settings: Settings) -> dict[str, Any]:
    """Return the keywords (``model`` and those of ``JinaEmbedder``) that make an embedder with equal settings."""
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
        "output_dtype": settings.output.dtype,
        "ranges": settings.output.ranges,
    }


def servers_of(settings: Settings) -> dict[str, Any]:
    """Return which servers an embedder asks, for JSON: no key and no password. Empty where it starts an engine."""
    engine = settings.engine
    if not isinstance(engine, RemoteConfig):
        return {}
    model = None if engine.is_told else settings.checkpoint.name
    return {"servers": {"urls": list(engine.servers), "timeout": engine.timeout, "model": model}}
