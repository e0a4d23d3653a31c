"""The second look by MaxSim and its cache, on an engine in memory; needs no Qdrant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from tests.unit.scoring.test_maxsim import by_definition
from vllm_jina_embed import CachedEmbedder, ConfigError, InputError, JinaEmbedder
from vllm_jina_embed.errors import ClosedError, EmbeddingWarning
from vllm_jina_embed.inputs.encoding import data_uri
from vllm_jina_embed.late_interaction import MaxSimReranker, Ranked
from vllm_jina_embed.scoring.ranking import ranked

Make = Callable[..., JinaEmbedder]
QUESTION = "where is the red circle"
PIXELS = noise(40, 30, seed=5)
ITEMS: list[Any] = [
    "a blue square",
    PIXELS,
    "where the red circle is",
    {"text": "both together", "image": noise(30, 30, seed=2)},
    "a red",
    data_uri(encoded(noise(50, 20, seed=3)), "image/png"),
    "where is the red circle",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def engines() -> list[FakeEngine]:
    return []


@pytest.fixture
def make(folder: Path, engines: list[FakeEngine]) -> Iterator[Make]:
    """Make embedders on engines in memory; closes them all."""
    made: list[JinaEmbedder] = []

    def build(**keywords: Any) -> JinaEmbedder:
        made.append(in_memory(engines)(folder, **keywords))
        return made[-1]

    yield build
    for embedder in made:
        embedder.close()


def prompts(engines: list[FakeEngine]) -> int:
    return sum(len(engine.prompts) for engine in engines)


def by_hand(embedder: JinaEmbedder, query: Any, items: list[Any]) -> np.ndarray:
    asked = embedder.embed_multi_vector([query], prompt_name="query")
    return by_definition(asked, embedder.embed_multi_vector(items, prompt_name="passage"))[0]


TEXTS = [item for item in ITEMS if not isinstance(item, dict)]


@pytest.mark.parametrize("query", [QUESTION, PIXELS], ids=["text", "image"])
async def test_the_order_is_that_of_brute_force(make: Make, query: Any) -> None:
    """Texts and images, by a text and by an image; each role has its own prompt."""
    embedder = make()
    reranker = MaxSimReranker(embedder)
    scores = by_hand(embedder, query, TEXTS)
    assert reranker.score(query, TEXTS) == pytest.approx(scores, abs=1e-5)
    assert await reranker.ascore(query, iter(TEXTS)) == pytest.approx(scores, abs=1e-5)
    found = reranker.rerank(query, TEXTS)
    assert [one.position for one in found] == np.argsort(-scores, kind="stable").tolist()
    assert [one.score for one in found] == pytest.approx(sorted(scores, reverse=True), abs=1e-5)
    assert await reranker.arerank(query, TEXTS) == found
    assert reranker.rerank(query, TEXTS, 2) == await reranker.arerank(query, TEXTS, 2) == found[:2]
    swapped = by_definition(embedder.embed_multi_vector([query]), embedder.embed_multi_vector(TEXTS))[0]
    if query is QUESTION:
        assert np.abs(swapped - scores).max() > 0.01  # the check above sees a query with a passage's prompt


def test_nothing_to_rank_is_nothing(make: Make) -> None:
    assert MaxSimReranker(make()).rerank(QUESTION, []) == []


def test_equal_scores_keep_their_order_and_missing_ones_are_left_out() -> None:
    scores = np.array([1.0, np.nan, 3.0, 1.0, 3.0], dtype=np.float32)
    assert [one.position for one in ranked(scores)] == [2, 4, 0, 3]
    assert ranked(scores, 1) == [Ranked(position=2, score=3.0)]
    assert ranked(np.array([np.nan], dtype=np.float32)) == []


@pytest.mark.parametrize("top_n", [0, -1, True, 1.5, "3"])
async def test_a_wrong_number_of_results_is_refused_before_anything_is_computed(
    make: Make, engines: list[FakeEngine], top_n: Any
) -> None:
    reranker = MaxSimReranker(make())
    with pytest.raises(ConfigError, match=r"top_n=.* must be a whole number over 0"):
        reranker.rerank(QUESTION, ["a"], top_n)
    with pytest.raises(ConfigError, match=r"top_n=.* must be a whole number over 0"):
        await reranker.arerank(QUESTION, ["a"], top_n)
    assert engines == []


async def test_bad_items_are_named(make: Make) -> None:
    """With their positions; a bad query by its own name."""
    reranker = MaxSimReranker(make())
    with pytest.raises(InputError, match=r"items\[1\]") as caught:
        reranker.rerank(QUESTION, ["a", b"no image", "b"])
    assert caught.value.positions == (1,)
    for query in ("", b"no image", 5):
        with pytest.raises(InputError, match=r"queries\[0\]"):
            reranker.rerank(query, ["a"])  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"queries\[0\]"):
            await reranker.arerank(query, ["a"])  # type: ignore[arg-type]


async def test_bad_items_are_left_out_where_the_embedder_skips_them(make: Make) -> None:
    """A bad query is an error all the same: nothing can be compared with it."""
    reranker = MaxSimReranker(make(on_error="skip"))
    with pytest.warns(EmbeddingWarning, match=r"not ranked: items\[1\]"):
        assert sorted(one.position for one in reranker.rerank(QUESTION, ["a", b"no image", "b"])) == [0, 2]
    with pytest.warns(EmbeddingWarning, match=r"not ranked: items\[1\]"):
        scores = await reranker.ascore(QUESTION, ["a", b"no image", "b"])
    assert np.isnan(scores).tolist() == [False, True, False]
    with pytest.raises(InputError, match=r"queries\[0\]"):
        reranker.rerank("", ["a"])


def test_the_task_is_that_of_all_requests(make: Make, engines: list[FakeEngine]) -> None:
    """The embedder's unless another is given, which the checkpoint must serve."""
    embedder = make(task="retrieval")
    MaxSimReranker(embedder).rerank(QUESTION, ["a"])
    MaxSimReranker(embedder, task="code").rerank(QUESTION, ["a"])
    assert engines[0].tasks == ["retrieval", "retrieval", "code", "code"]
    with pytest.raises(ConfigError, match="task='sorting' is unknown"):
        MaxSimReranker(embedder, task="sorting")


def test_what_has_no_multi_vectors_is_refused_at_once() -> None:
    """Other objects, and models that were trained for one vector."""
    with pytest.raises(ConfigError, match="got a str as embedder; expected a JinaEmbedder"):
        MaxSimReranker("demo")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="it has no multi-vectors"):
        MaxSimReranker(JinaEmbedder("google/siglip-base-patch16-224"))


class TestCache:
    """Multi-vectors of queries and items, kept bit for bit."""

    async def test_computes_each_item_once(self, make: Make, engines: list[FakeEngine], tmp_path: Path) -> None:
        """Whatever order they come in; a new reranker on the same file finds them too."""
        plain = MaxSimReranker(make()).rerank(QUESTION, TEXTS)
        engines.clear()
        with MaxSimReranker(make(), cache=tmp_path / "cache.sqlite") as reranker:
            assert reranker.rerank(QUESTION, TEXTS) == plain
            assert prompts(engines) == 1 + len(TEXTS)
            assert await reranker.arerank(QUESTION, TEXTS) == plain
            backwards = reranker.rerank(QUESTION, TEXTS[::-1])
            by_position = {len(TEXTS) - 1 - one.position: one.score for one in backwards}
            assert by_position == pytest.approx({one.position: one.score for one in plain}, abs=1e-5)
        with pytest.raises(ClosedError):
            reranker.embedder.store.get_many(["a"])  # type: ignore[union-attr]
        # The sizes and the norm of embeddings change no multi-vector.
        for other in (make(dimensions=16), make(normalize=False)):
            with MaxSimReranker(other, cache=tmp_path / "cache.sqlite") as again:
                assert again.rerank(QUESTION, TEXTS) == plain
        assert prompts(engines) == 1 + len(TEXTS)

    def test_keeps_roles_tasks_and_kinds_apart(self, make: Make, engines: list[FakeEngine], tmp_path: Path) -> None:
        """A query is another vector than an equal passage, and neither is the embedding of the text."""
        cached = make().cached(tmp_path / "cache.sqlite", multi_vectors=True)
        assert cached.embed_multi_vector(["a"], prompt_name="query")[0].shape[0] > 1
        assert cached.embed_multi_vector(["a"], prompt_name="passage")[0].shape[0] > 1
        assert cached.embed_multi_vector(["a"], prompt_name="query", task="code")[0].shape[0] > 1
        assert cached.embed(["a"], prompt_name="query").shape == (1, 64)
        assert prompts(engines) == 4
        for _ in range(2):
            cached.embed_multi_vector(["a", "a"], prompt_name="query")
        assert prompts(engines) == 4

    def test_is_that_of_a_cached_embedder_too(self, make: Make, engines: list[FakeEngine], tmp_path: Path) -> None:
        """Which keeps multi-vectors only where it was asked to."""
        kept = make().cached(tmp_path / "kept.sqlite", multi_vectors=True)
        MaxSimReranker(kept).rerank(QUESTION, ["a", "b"])
        MaxSimReranker(kept).rerank(QUESTION, ["b", "a"])
        assert prompts(engines) == 3
        assert repr(kept).endswith(", multi_vectors=True)")
        MaxSimReranker(kept).close()
        assert len(kept.store.get_many(["a"])) == 1  # type: ignore[union-attr]  # whose file stays open
        plain = CachedEmbedder(make(), tmp_path / "plain.sqlite")
        for _ in range(2):
            MaxSimReranker(plain).rerank(QUESTION, ["a", "b"])
        assert prompts(engines) == 3 + 6

    @pytest.mark.parametrize("damage", ["cut", "bit", "foreign"])
    def test_computes_damaged_entries_again(
        self, make: Make, engines: list[FakeEngine], tmp_path: Path, damage: str
    ) -> None:
        """A value that lost a row, one with another bit, and one of another key."""
        store: dict[str, bytes] = {}

        class Store:
            def get_many(self, keys: Any) -> list[bytes | None]:
                return [store.get(key) for key in keys]

            def put_many(self, values: Any) -> None:
                store.update(values)

        reranker = MaxSimReranker(make(), cache=Store())
        plain = reranker.rerank(QUESTION, ["a", "b c d"])
        before = prompts(engines)
        first, second, third = store
        wide = 4 * 64
        store[second] = {
            "cut": store[second][:-wide],
            "bit": store[second][:-1] + bytes([store[second][-1] ^ 1]),
            "foreign": store[third],
        }[damage]
        assert reranker.rerank(QUESTION, ["a", "b c d"]) == plain
        assert prompts(engines) == before + 1
        assert first in store

    def test_does_not_keep_bad_items(self, make: Make, engines: list[FakeEngine], tmp_path: Path) -> None:
        reranker = MaxSimReranker(make(on_error="skip"), cache=tmp_path / "cache.sqlite")
        for _ in range(2):
            with pytest.warns(EmbeddingWarning, match=r"items\[0\]"):
                reranker.rerank(QUESTION, [b"no image", "a"])
        assert prompts(engines) == 2
