"""``score`` on an engine in memory: the same numbers as comparing the vectors by hand, for every kind of call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.images import noise
from tests.support.in_memory import in_memory, write_folder
from tests.unit.scoring.test_maxsim import by_definition
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.embedding import scoring, streams
from vllm_jina_embed.errors import ConfigError, InputError

Make = Callable[..., JinaEmbedder]
QUERIES = ["a question", noise(40, 30, seed=1), "the fox"]
ITEMS = ["a", noise(30, 40, seed=2), "the quick brown fox", "b", noise(50, 40, seed=3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def make(folder: Path) -> Iterator[Make]:
    """Make embedders on engines in memory; closes them all."""
    made: list[JinaEmbedder] = []

    def build(**keywords: Any) -> JinaEmbedder:
        made.append(in_memory([])(folder, **keywords))
        return made[-1]

    yield build
    for embedder in made:
        embedder.close()


@pytest.fixture(params=[256, 2])
def window(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items in one window, and in three."""
    monkeypatch.setattr(streams, "WINDOW", request.param)
    monkeypatch.setattr(scoring, "WINDOW", request.param)


@pytest.mark.usefixtures("window")
class TestScores:
    """Queries by text and by image against texts and images."""

    def test_are_cosines_of_embeddings(self, make: Make) -> None:
        embedder = make()
        expected = embedder.embed(QUERIES, prompt_name="query") @ embedder.embed(ITEMS, prompt_name="passage").T
        scores = embedder.score(QUERIES, iter(ITEMS))
        assert scores.dtype == np.float32
        assert scores == pytest.approx(expected, abs=1e-6)

    def test_are_cosines_although_the_embeddings_are_not_normalised(self, make: Make) -> None:
        assert make(normalize=False).score(QUERIES, ITEMS).tolist() == make().score(QUERIES, ITEMS).tolist()

    def test_are_maxsim_of_multi_vectors(self, make: Make) -> None:
        embedder = make()
        queries = embedder.embed_multi_vector(QUERIES, prompt_name="query")
        items = embedder.embed_multi_vector(ITEMS, prompt_name="passage")
        scores = embedder.score(QUERIES, iter(ITEMS), multi_vector=True)
        assert scores.dtype == np.float32
        assert scores == pytest.approx(by_definition(queries, items), abs=1e-5)

    async def test_are_as_the_row_says(self, make: Make) -> None:
        """MaxSim of a late-interaction model, unless the caller says otherwise."""
        late = make(row=replace(JINA_V4, name="late", score="maxsim"))
        usual = make()
        tokens, cosines = (usual.score(QUERIES, ITEMS, multi_vector=one).tolist() for one in (True, False))
        assert tokens != cosines
        assert usual.score(QUERIES, ITEMS).tolist() == cosines
        assert late.score(QUERIES, ITEMS).tolist() == (await late.ascore(QUERIES, ITEMS)).tolist() == tokens
        assert late.score(QUERIES, ITEMS, multi_vector=False).tolist() == cosines
        with pytest.raises(ConfigError, match="dimensions=16: multi-vectors have no Matryoshka sizes"):
            late.score(QUERIES, ITEMS, dimensions=16)

    @pytest.mark.parametrize("multi_vector", [False, True])
    async def test_are_the_same_when_awaited(self, make: Make, multi_vector: bool) -> None:
        embedder = make()
        awaited = await embedder.ascore(QUERIES, iter(ITEMS), multi_vector=multi_vector)
        assert awaited.tolist() == embedder.score(QUERIES, ITEMS, multi_vector=multi_vector).tolist()

    @pytest.mark.parametrize("multi_vector", [False, True])
    def test_name_a_bad_item_by_its_place_in_the_whole(self, make: Make, multi_vector: bool) -> None:
        with pytest.raises(InputError, match=r"items\[4\]"):
            make().score(QUERIES, [*ITEMS[:4], b"no image"], multi_vector=multi_vector)
        with pytest.raises(InputError, match=r"queries\[1\]"):
            make().score(["a", b"no image"], ITEMS, multi_vector=multi_vector)

    @pytest.mark.parametrize("multi_vector", [False, True])
    def test_are_nan_for_what_is_skipped(self, make: Make, multi_vector: bool) -> None:
        embedder = make(on_error="skip")
        with pytest.warns(UserWarning, match=r"items\[1\]|queries\[0\]"):
            scores = embedder.score([b"no image", "a"], ["a", b"none", "b"], multi_vector=multi_vector)
        assert np.isnan(scores).tolist() == [[True] * 3, [False, True, False]]


@pytest.mark.parametrize("multi_vector", [False, True])
def test_without_items_or_queries_there_is_nothing_to_score(make: Make, multi_vector: bool) -> None:
    assert make().score(["a", "b"], [], multi_vector=multi_vector).shape == (2, 0)
    assert make().score([], ["a", "b"], multi_vector=multi_vector).shape == (0, 2)


def test_the_settings_of_one_call(make: Make) -> None:
    """Matryoshka sizes are for embeddings alone."""
    embedder = make()
    size = embedder.checkpoint.dimensions[0]
    queries, items = (
        embedder.embed(part, prompt_name=name, dimensions=size)
        for part, name in ((QUERIES, "query"), (ITEMS, "passage"))
    )
    assert embedder.score(QUERIES, ITEMS, dimensions=size) == pytest.approx(queries @ items.T, abs=1e-6)
    with pytest.raises(ConfigError, match="no Matryoshka sizes"):
        embedder.score(QUERIES, ITEMS, multi_vector=True, dimensions=size)
    with pytest.raises(ConfigError, match="task='poetry'"):
        embedder.score(QUERIES, ITEMS, task="poetry")


def test_the_engine_is_asked_by_role(folder: Path) -> None:
    """Queries have the query's prefix, items the passage's."""
    engines: list[FakeEngine] = []
    with in_memory(engines)(folder) as embedder:
        embedder.score(["a"], ["a"], multi_vector=True)
        embedder.embed(["a"], prompt_name="query")
        embedder.embed(["a"], prompt_name="passage")
    asked = [prompt.token_ids for prompt in engines[0].prompts]
    assert asked[:2] == asked[2:]
    assert asked[0] != asked[1]
