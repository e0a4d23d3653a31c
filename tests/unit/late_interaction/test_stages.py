"""Stages of a search: each can be left out, and each hit has the score of every stage, in both stores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.unit.late_interaction.conftest import MakeIndex
from tests.unit.late_interaction.test_index import IDS, ITEMS, PAYLOADS, QUERIES, scores_of, store
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.errors import ConfigError, InputError
from vllm_jina_embed.late_interaction import LateInteractionIndex, MaxSimReranker, Rerank
from vllm_jina_embed.scoring.ranking import Ranked

__all__ = ["store"]


class ByNumber:
    """A third stage that likes high numbers, whatever the query."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, list[Any], Any]] = []

    def rerank(self, query: Any, items: Any, top_n: int | None = None) -> list[Ranked]:
        self.asked.append((query, list(items), top_n))
        order = sorted(range(len(self.asked[-1][1])), key=lambda place: -self.asked[-1][1][place])
        return [Ranked(position=place, score=float(self.asked[-1][1][place])) for place in order][:top_n]

    async def arerank(self, query: Any, items: Any, top_n: int | None = None) -> list[Ranked]:
        return self.rerank(query, items, top_n)


@pytest.fixture
def index(make: MakeIndex) -> LateInteractionIndex:
    index = make()
    index.add(ITEMS, payloads=PAYLOADS, ids=IDS)
    return index


def third(**options: Any) -> Rerank:
    return Rerank(reranker=ByNumber(), item_of=lambda payload: payload["number"], **options)


async def both(index: LateInteractionIndex, query: Any, *arguments: Any, **options: Any) -> list[Any]:
    """Return the hits, which are the same when awaited."""
    hits = index.search(query, *arguments, **options)
    awaited = await index.asearch(query, *arguments, **options)
    assert [hit.id for hit in awaited] == [hit.id for hit in hits]
    assert [hit.scores for hit in awaited] == [pytest.approx(hit.scores, abs=1e-6) for hit in hits]
    return hits


def cosines_of(embedder: JinaEmbedder, query: Any) -> np.ndarray:
    found: np.ndarray = embedder.score([query], ITEMS)[0]
    return found


def numbers(hits: list[Any]) -> list[int]:
    return [hit.payload["number"] for hit in hits]


@pytest.mark.parametrize("query", QUERIES, ids=["text", "other text", "image"])
async def test_two_stages_give_both_scores(index: LateInteractionIndex, embedder: JinaEmbedder, query: Any) -> None:
    hits = await both(index, query, 20)
    cosines, scores = cosines_of(embedder, query), scores_of(embedder, query)
    assert [[*hit.scores] for hit in hits] == [["embedding", "maxsim"]] * 20
    assert [hit.scores["embedding"] for hit in hits] == pytest.approx(cosines[numbers(hits)].tolist(), abs=1e-5)
    assert [hit.scores["maxsim"] for hit in hits] == pytest.approx(scores[numbers(hits)].tolist(), abs=1e-4)
    assert all(hit.score == hit.scores["maxsim"] for hit in hits)


async def test_embeddings_alone_rank_by_the_cosine(index: LateInteractionIndex, embedder: JinaEmbedder) -> None:
    hits = await both(index, QUERIES[0], 70, stages=["embedding"])
    cosines = cosines_of(embedder, QUERIES[0])
    assert [hit.score for hit in hits] == pytest.approx(np.sort(cosines)[::-1].tolist(), abs=1e-5)
    assert [hit.score for hit in hits] == pytest.approx(cosines[numbers(hits)].tolist(), abs=1e-5)
    assert all(hit.scores == {"embedding": hit.score} for hit in hits)


async def test_maxsim_alone_ranks_everything(index: LateInteractionIndex, embedder: JinaEmbedder) -> None:
    """Whatever the embeddings say: the best by MaxSim is first even where it is last by the cosine."""
    scores = scores_of(embedder, QUERIES[0])
    hits = await both(index, QUERIES[0], 12, stages={"maxsim"})
    assert [hit.score for hit in hits] == pytest.approx(np.sort(scores)[::-1][:12].tolist(), abs=1e-4)
    assert all(hit.scores == {"maxsim": hit.score} for hit in hits)
    few = index.search(QUERIES[0], 12, candidates=12)
    assert {*numbers(few)} != {*numbers(hits)}


def test_a_stage_that_is_left_out_computes_nothing(
    index: LateInteractionIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    for kind in ("embed", "multi_vector"):
        given = getattr(FakeEngine, kind)

        async def noted(self: Any, *args: Any, _kind: str = kind, _given: Any = given, **options: Any) -> Any:
            asked.append(_kind)
            return await _given(self, *args, **options)

        monkeypatch.setattr(FakeEngine, kind, noted)
    index.search("a", stages=["embedding"])
    assert asked == ["embed"]
    index.search("a", stages=["maxsim"])
    assert asked == ["embed", "multi_vector"]


@pytest.mark.parametrize("stages", [None, ["embedding", "rerank"], ["maxsim", "rerank"]])
async def test_a_reranker_ranks_last(
    index: LateInteractionIndex, embedder: JinaEmbedder, stages: list[str] | None
) -> None:
    """What the stages before it selected, of which it takes more than it returns."""
    rerank = third(candidates=15)
    hits = await both(index, QUERIES[0], 4, stages=stages, rerank=rerank)
    before = ["embedding", "maxsim"] if stages is None else stages[:1]
    selected = index.search(QUERIES[0], 15, stages=before)
    assert numbers(hits) == sorted(numbers(selected), reverse=True)[:4]
    assert all([*hit.scores] == [*before, "rerank"] for hit in hits)
    assert all(hit.score == hit.scores["rerank"] == hit.payload["number"] for hit in hits)
    first = {hit.id: hit.scores for hit in selected}
    for hit in hits:
        assert {name: hit.scores[name] for name in before} == pytest.approx(dict(first[hit.id]), abs=1e-6)
    (query, items, top_n), *_ = rerank.reranker.asked  # type: ignore[attr-defined]
    assert (query, items, top_n) == (QUERIES[0], numbers(selected), 4)


async def test_a_reranker_that_is_left_out_does_nothing(index: LateInteractionIndex) -> None:
    rerank = third()
    hits = await both(index, QUERIES[0], 4, stages=["embedding", "maxsim"], rerank=rerank)
    assert numbers(hits) == numbers(index.search(QUERIES[0], 4))
    assert rerank.reranker.asked == []  # type: ignore[attr-defined]


async def test_as_many_hits_as_wanted_are_reranked_if_that_is_more(index: LateInteractionIndex) -> None:
    assert len(await both(index, QUERIES[0], 30, rerank=third(candidates=2))) == 30


def test_the_second_look_is_a_third_stage(index: LateInteractionIndex, embedder: JinaEmbedder) -> None:
    """MaxSim behind embeddings, with no multi-vectors read from the store: the order is that of brute force."""
    look = Rerank(reranker=MaxSimReranker(embedder), item_of=lambda payload: ITEMS[payload["number"]], candidates=70)
    hits = index.search(QUERIES[0], 70, stages=["embedding", "rerank"], rerank=look)
    assert [hit.score for hit in hits] == pytest.approx(
        np.sort(scores_of(embedder, QUERIES[0]))[::-1].tolist(), abs=1e-4
    )


def test_nothing_found_is_not_reranked(make: MakeIndex) -> None:
    rerank = third()
    assert make().search("a", rerank=rerank) == []
    assert rerank.reranker.asked == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stages": ["embeddings"]}, "choose from embedding, maxsim, rerank"),
        ({"stages": "embedding"}, "choose from"),
        ({"stages": []}, "at least one of the first two"),
        ({"stages": ["rerank"], "rerank": True}, "at least one of the first two"),
        ({"stages": ["maxsim", "rerank"]}, "there is no reranker"),
        ({"stages": ["maxsim"], "candidates": 50}, "stages has not both"),
        ({"rerank": True, "candidates": 49}, "fewer than the reranker's 50"),
    ],
)
async def test_stages_that_make_no_search_are_refused(make: MakeIndex, options: dict[str, Any], said: str) -> None:
    if options.get("rerank"):
        options = {**options, "rerank": third()}
    with pytest.raises(ConfigError, match=said):
        make().search("a", **options)
    with pytest.raises(ConfigError, match=said):
        await make().asearch("a", **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"candidates": 0}, "candidates of the reranker=0"),
        ({"reranker": 5}, "got a int"),
        ({"reranker": MaxSimReranker}, "got the class MaxSimReranker as reranker; expected an object"),
    ],
)
def test_a_third_stage_that_cannot_rank_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Rerank(**{"reranker": ByNumber(), "item_of": lambda payload: payload, **options})


@pytest.mark.parametrize("stages", [["embedding"], ["maxsim"]])
def test_a_bad_query_is_an_error_in_every_stage(make: MakeIndex, stages: list[str]) -> None:
    with pytest.raises(InputError, match=r"queries\[0\]"):
        make().search("", stages=stages)
