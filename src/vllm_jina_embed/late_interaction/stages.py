"""The stages of a search: embeddings select, MaxSim ranks, a reranker ranks again; each can be left out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

from ..errors import ConfigError
from ..inputs.items import EmbedInput
from ..scoring.ranking import Ranked
from .collection import Hit

Stage = Literal["embedding", "maxsim", "rerank"]
STAGES: tuple[str, ...] = get_args(Stage)
CANDIDATES = 400
"""Items that the first stage hands to the second, unless ten times as many as the second returns is more."""


class Reranker(Protocol):
    """What ranks the hits again, such as a cross-encoder."""

    def rerank(self, query: EmbedInput, items: Iterable[EmbedInput], top_n: int | None = None) -> list[Ranked]:
        """Return the positions and scores of the items that answer a query best, best first."""
        ...

    async def arerank(self, query: EmbedInput, items: Iterable[EmbedInput], top_n: int | None = None) -> list[Ranked]:
        """Await ``rerank``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerank:
    """The third stage.

    Attributes:
        reranker: Anything with ``rerank(query, items, top_n)`` and ``arerank``.
        item_of: Returns the text or image of a hit's payload, which the reranker compares with the query.
        candidates: Hits of the stages before it that it ranks.
    """

    reranker: Reranker
    item_of: Callable[[Mapping[str, Any]], Any]
    candidates: int = 50

    def __post_init__(self) -> None:
        reranker: Any = self.reranker
        is_class = isinstance(reranker, type)
        if is_class or not all(hasattr(reranker, name) for name in ("rerank", "arerank")):
            name = f"the class {reranker.__name__}" if is_class else f"a {type(reranker).__name__}"
            raise ConfigError(
                f"got {name} as reranker; expected an object with rerank and arerank, such as a "
                "vllm_jina_embed.JinaReranker or MaxSimReranker."
            )
        check_count("candidates of the reranker", self.candidates)

    def items(self, hits: Sequence[Hit]) -> list[Any]:
        """Return what the reranker compares."""
        return [self.item_of(hit.payload) for hit in hits]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The stages of one search.

    Attributes:
        embedding: Whether embeddings select.
        maxsim: Whether MaxSim ranks, what they selected or everything.
        rerank: What ranks last; None for nothing.
        k: Hits of the whole search.
        found: Hits of the stages before the reranker.
        candidates: Items that embeddings select for MaxSim.
    """

    embedding: bool
    maxsim: bool
    rerank: Rerank | None
    k: int
    found: int
    candidates: int

    @classmethod
    def of(cls, k: int, candidates: int | None, stages: Collection[str] | None, rerank: Rerank | None) -> Plan:
        """Return the plan of a search; ``stages`` of None are all that there are.

        Raises:
            ConfigError: A number is not a whole one over 0, there are too few candidates, or ``stages`` name an unknown
                one, neither of the first two, or a reranker that there is not.
        """
        check_count("k", k)
        chosen = {*(STAGES if rerank is not None else STAGES[:2])} if stages is None else _named(stages, rerank)
        third = rerank if "rerank" in chosen else None
        found = k if third is None else max(k, third.candidates)
        both = {"embedding", "maxsim"} <= chosen
        if candidates is None:
            candidates = max(CANDIDATES, 10 * found)
        elif not both:
            raise ConfigError(f"candidates={candidates!r} are those of embeddings for MaxSim; stages has not both.")
        elif isinstance(candidates, bool) or not isinstance(candidates, int):
            raise ConfigError(f"candidates={candidates!r} must be a whole number.")
        elif candidates < found:
            more = f"k={k}" if found == k else f"the reranker's {found}"
            raise ConfigError(f"candidates={candidates!r} are fewer than {more}; MaxSim ranks only the candidates.")
        return cls(
            embedding="embedding" in chosen, maxsim="maxsim" in chosen, rerank=third, k=k, found=found,
            candidates=candidates,
        )  # fmt: skip

    def ranked(self, hits: Sequence[Hit], best: Sequence[Ranked]) -> list[Hit]:
        """Return the hits as the reranker ranks them, with its score beside the others."""
        scored = [(hits[one.position], one.score) for one in best]
        return [replace(hit, score=score, scores={**hit.scores, "rerank": score}) for hit, score in scored]


def _named(stages: Collection[str], rerank: Rerank | None) -> set[str]:
    if isinstance(stages, str) or not {*stages} <= {*STAGES} or not {*stages} & {*STAGES[:2]}:
        raise ConfigError(f"stages={stages!r}: choose from {', '.join(STAGES)}, at least one of the first two.")
    if "rerank" in stages and rerank is None:
        raise ConfigError(f"stages={stages!r}: there is no reranker; pass rerank=...")
    return {*stages}


def check_count(name: str, value: object) -> None:
    """Check a number of items.

    Raises:
        ConfigError: It is not a whole number over 0.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name}={value!r} must be a whole number over 0.")
