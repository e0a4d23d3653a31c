"""What the rerankers of both frameworks share: their keywords, and the object that scores.

``RerankerFields`` takes anything with ``rerank`` and ``arerank``; ``MaxSimFields`` makes a ``MaxSimReranker`` for it,
and ``RankingFields`` a ``JinaReranker``.
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol, Self

from pydantic import AliasChoices, Field, PrivateAttr, StrictInt, model_validator

from ..checkpoints.description import DEMO
from ..embedder import JinaEmbedder
from ..embedding.calls import Calls
from ..errors import ConfigError
from ..late_interaction import stages
from ..late_interaction.reranker import MaxSimReranker
from ..reranker import JinaReranker
from ..reranking.settings import RankingSettings
from ..reranking.settings import keywords as ranking_keywords
from ..settings import Settings
from .base import Adapter, own_copy
from .fields import ENGINE, MODEL_SPELLINGS, SHARED, EngineFields, ModelName, keywords


class Reranker(stages.Reranker, Protocol):
    """A reranker that an adapter calls; those of the core, ``MaxSimReranker`` and ``JinaReranker``, are."""

    @property
    def settings(self) -> Settings | RankingSettings:
        """The checked settings of its model."""
        ...

    def close(self) -> None:
        """Release what was made for it; further calls do nothing."""
        ...

    async def aclose(self) -> None:
        """Await ``close``."""
        ...


class RerankerFields(EngineFields):
    """The keywords of every reranker; a subclass sets ``_reranker``, which scores."""

    model: ModelName = Field(
        default=DEMO,
        frozen=True,
        validation_alias=AliasChoices(*MODEL_SPELLINGS),
        description="demo, a hub repository, or a folder with a checkpoint of a known row.",
    )
    top_n: Annotated[StrictInt, Field(gt=0)] | None = Field(
        default=None, description="Results per answer, best first; None keeps all, in their new order."
    )
    _reranker: Reranker = PrivateAttr()

    @property
    def model_name(self) -> str:
        """``model`` under LlamaIndex's name."""
        return self.model

    def close(self) -> None:
        """Release what was made here; what was passed in stays open. Further calls do nothing."""
        self._reranker.close()

    async def aclose(self) -> None:
        """Await ``close``."""
        await self._reranker.aclose()


class MaxSimFields(RerankerFields):
    """The keywords of ``MaxSimReranker`` in both frameworks, and the core's reranker made from them."""

    task: str | None = Field(default=None, frozen=True, description="A task of the checkpoint, such as retrieval.")
    embedder: Any = Field(
        default=None,
        frozen=True,
        exclude=True,
        repr=False,
        description="An existing JinaEmbedder, or an adapter of either framework; whoever made it closes it.",
    )
    cache: Any = Field(
        default=None,
        frozen=True,
        exclude=True,
        repr=False,
        description="Keeps multi-vectors: a path for an SQLite file, or a store of the framework.",
    )
    _own: Calls | None = PrivateAttr(default=None)  # what is closed with this

    @model_validator(mode="after")
    def _take_reranker(self) -> Self:
        if self.embedder is None:
            embedder = self._own = JinaEmbedder(self.model, **{name: getattr(self, name) for name in SHARED})
            self._reranker = MaxSimReranker(embedder, cache=self._as_store(self.cache))
            return self
        core: Any = self.embedder._embedder if isinstance(self.embedder, Adapter) else self.embedder
        self._reranker = MaxSimReranker(core, cache=self._as_store(self.cache))
        self._show_settings(keywords(core.settings), SHARED)
        return self

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Own a copy of the embedder that was passed in: whoever made that one cannot close it here."""
        super().__setstate__(state)
        core = self._reranker = own_copy(self._reranker)
        self._own = core.embedder

    def close(self) -> None:
        """Release the engine and the cache's file; an embedder that was passed in stays open."""
        super().close()
        if self._own is not None:
            self._own.close()

    async def aclose(self) -> None:
        """Await ``close`` without blocking the loop."""
        await super().aclose()
        if self._own is not None:
            await self._own.aclose()

    @staticmethod
    def _as_store(store: Any) -> Any:
        """Return a store of the framework as one of a cache; any other as it is."""
        return store


class RankingFields(RerankerFields):
    """The keywords of ``VllmJinaReranker`` in both frameworks, and the ``JinaReranker`` made from them."""

    model: ModelName = Field(
        default="",
        frozen=True,
        validation_alias=AliasChoices(*MODEL_SPELLINGS),
        description="A hub repository, or a folder with a reranker of a known row.",
    )
    instruction: str | None = Field(
        default=None,
        frozen=True,
        description="What makes a document relevant, where the model's prompt has a place for it.",
    )
    reranker: Any = Field(
        default=None,
        frozen=True,
        exclude=True,
        repr=False,
        description="An existing JinaReranker; whoever made it closes it.",
    )
    _is_owner: bool = PrivateAttr(default=False)

    @model_validator(mode="after")
    def _take_reranker(self) -> Self:
        names = ("instruction", *ENGINE)
        if self.reranker is None:
            if not self.model:
                raise ConfigError("got no model; pass model=... with the name of a reranker, or reranker=...")
            self._reranker = JinaReranker(self.model, **{name: getattr(self, name) for name in names})
            self._is_owner = True
            return self
        if not isinstance(self.reranker, JinaReranker):
            raise ConfigError(f"got a {type(self.reranker).__name__} as reranker; expected a JinaReranker.")
        self._reranker = self.reranker
        self._show_settings(ranking_keywords(self.reranker.settings), names, given="reranker")
        return self

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Own a copy of the reranker that was passed in: whoever made that one cannot close it here."""
        super().__setstate__(state)
        self._reranker, self._is_owner = own_copy(self._reranker), True
        if self.reranker is not None:
            self.__dict__["reranker"] = self._reranker

    def close(self) -> None:
        """Release the engine; a reranker that was passed in stays open. Further calls do nothing."""
        if self._is_owner:
            super().close()

    async def aclose(self) -> None:
        """Await ``close`` without blocking the loop."""
        if self._is_owner:
            await super().aclose()
