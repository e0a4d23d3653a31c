"""What the rerankers of both frameworks share: their keywords, and the object that scores.

``RerankerFields`` takes anything with ``rerank`` and ``arerank``; ``MaxSimFields`` makes a ``MaxSimReranker`` for it.
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol, Self

from pydantic import AliasChoices, Field, PrivateAttr, StrictInt, model_validator

from ..checkpoints.description import DEMO
from ..embedder import JinaEmbedder
from ..embedding.calls import Calls
from ..late_interaction import stages
from ..late_interaction.reranker import MaxSimReranker
from ..settings import Settings
from .base import Adapter, own_copy
from .fields import MODEL_SPELLINGS, SHARED, EngineFields, ModelName


class Reranker(stages.Reranker, Protocol):
    """A reranker that an adapter calls; the core's ``MaxSimReranker`` is one."""

    @property
    def settings(self) -> Settings:
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
        self._show_settings(self._reranker.settings, SHARED)
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
