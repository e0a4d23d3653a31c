"""Define the keywords, checks and lifetime that the embeddings of both frameworks share.

Needs pydantic, which each framework brings along.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

import numpy as np
from pydantic import AliasChoices, BeforeValidator, Field, PrivateAttr, StrictBool, StrictInt, model_validator

from .._arrays import Floats
from ..cache.embedder import CachedEmbedder
from ..embedder import JinaEmbedder
from ..embedding.calls import Calls
from ..inputs.images import MediaPolicy
from ..late_interaction.reranker import MaxSimReranker
from ..pooling.output_type import Ranges
from ..pooling.quantization import OutputDtype
from ..reranker import JinaReranker
from ..settings import Fusion, LongText
from . import skipping
from .fields import MODEL_SPELLINGS, SHARED, EngineFields, keywords
from .protocol import Embedder

SETTINGS = (*SHARED, "dimensions", "fusion", "normalize", "long_text", "output_dtype", "ranges")
"""Keywords that go to ``JinaEmbedder`` under their own names; ``model`` comes on top."""


def _listed(ranges: Any) -> Any:
    """Return an array as the lists that JSON has of it."""
    return ranges.tolist() if isinstance(ranges, np.ndarray) else ranges


class Adapter(EngineFields):
    """The keywords of both embeddings, and the embedder made from them; each framework names ``model`` itself."""

    task: str | None = Field(default=None, frozen=True, description="A task of the checkpoint, such as retrieval.")
    dimensions: StrictInt | None = Field(
        default=None,
        frozen=True,
        validation_alias=AliasChoices("dimensions", "truncate_dim"),
        description="Matryoshka size of the embeddings; None keeps the full length.",
    )
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
    output_dtype: OutputDtype = Field(
        default="float32", frozen=True, description="Type of the numbers; whole ones for a store that ranks by them."
    )
    ranges: Annotated[Ranges | None, BeforeValidator(_listed)] = Field(
        default=None, frozen=True, repr=False, description="Of int8 and uint8, as calibrated() measures them."
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
        self._show_settings(keywords(self.embedder.settings), SETTINGS)
        self._embedder = self.embedder
        return self

    @property
    def dimension(self) -> int:
        """Numbers in an embedding: an eighth of ``dimensions`` where each is eight bits."""
        settings = self._embedder.settings
        return settings.output.length(settings.dimensions)

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
        A pickled copy has the store too: the same SQLite file, or another store as far as it can be pickled.

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

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Own a copy of the embedder that was passed in: whoever made that one cannot close it here."""
        super().__setstate__(state)
        if self.embedder is not None:
            self._is_owner = True
            self._embedder = self.__dict__["embedder"] = own_copy(self.embedder)

    @classmethod
    def over_servers(cls, servers: Mapping[str, Any], fields: Mapping[str, Any], *, api_key: str | None) -> Self:
        """Return an adapter over the servers of ``servers_of``, which are asked what they serve; close it.

        Args:
            servers: What ``servers_of`` returned.
            fields: The adapter's fields.
            api_key: What the servers want to be shown.

        Raises:
            ConfigError: They do not support a setting.
            EngineDeadError: No server answers.
        """
        given = {name: fields[name] for name in SETTINGS if name in fields and name != "engine_kwargs"}
        if isinstance(media := given.get("media"), Mapping):
            given["media"] = MediaPolicy(**media)
        place = {"model": servers["model"], "timeout": servers["timeout"], "api_key": api_key}
        embedder = JinaEmbedder.from_server(servers["urls"], **place, **given)
        rest = {name: value for name, value in fields.items() if name not in {*MODEL_SPELLINGS, *SETTINGS}}
        made = cls(embedder=embedder, **rest)
        made._is_owner = True
        return made

    # --- life -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Release the engine; an embedder that was passed in stays open. Further calls do nothing."""
        if self.embedder is None or self._is_owner:
            self._embedder.close()

    async def aclose(self) -> None:
        """Await ``close`` without blocking the loop."""
        if self.embedder is None or self._is_owner:
            await self._embedder.aclose()


def own_copy(unpickled: Any) -> Any:
    """Return a copy of an embedder of ours, which others of the same pickle may share; another object as it is."""
    return copy.deepcopy(unpickled) if isinstance(unpickled, Calls | MaxSimReranker | JinaReranker) else unpickled


def vectors(embeddings: Floats) -> list[list[float]]:
    """Return an array ``(n, dimension)`` as lists of Python numbers, which both frameworks and their stores expect."""
    rows: list[list[float]] = embeddings.tolist()
    return rows
