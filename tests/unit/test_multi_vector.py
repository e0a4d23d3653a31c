"""Multi-vectors and the task of one call, on an engine in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.images import noise
from tests.support.in_memory import in_memory, write_folder
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.cache.embedder import CachedEmbedder
from vllm_jina_embed.errors import ClosedError, ConfigError, InputError

Make = Callable[..., JinaEmbedder]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def engines() -> list[FakeEngine]:
    """Every engine that the test started."""
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


def tokens(text: str) -> int:
    return len(make_tokenizer().encode(text).ids)


class TestMultiVectors:
    """One array per item, in order."""

    def test_have_one_row_per_token_of_the_prompt(self, make: Make, engines: list[FakeEngine]) -> None:
        """The prefix counts, for it is part of the prompt."""
        embedder = make()
        first, second = embedder.embed_multi_vector(["a", "the quick brown fox"], prompt_name="query")
        assert first.shape == (tokens("Query: a"), embedder.checkpoint.token_dimensions)
        assert second.shape[0] == tokens("Query: the quick brown fox")
        assert first.dtype == np.float32
        assert engines[0].urgent == [True, True]

    async def test_are_the_same_when_awaited(self, make: Make) -> None:
        """Texts and images."""
        embedder = make()
        items = ["a", noise(30, 40)]
        for one, other in zip(
            embedder.embed_multi_vector(items), await embedder.aembed_multi_vector(items), strict=True
        ):
            np.testing.assert_array_equal(one, other)

    async def test_of_nothing_are_nothing(self, make: Make) -> None:
        """An empty list starts no engine."""
        assert make().embed_multi_vector([]) == await make().aembed_multi_vector([]) == []

    def test_of_bad_items_are_told_by_position(self, make: Make) -> None:
        """The rest is kept beside the error."""
        with pytest.raises(InputError) as caught:
            make().embed_multi_vector(["a", b"no image", "b"])
        assert caught.value.positions == (1,)
        assert [len(rows) > 0 for rows in caught.value.embeddings] == [True, False, True]

    def test_of_skipped_items_are_empty(self, make: Make) -> None:
        """As many columns as the others."""
        embedder = make(on_error="skip")
        with pytest.warns(UserWarning, match="multi-vectors are empty"):
            rows = embedder.embed_multi_vector([b"no image", "b"])
        assert rows[0].shape == (0, embedder.checkpoint.token_dimensions)
        assert len(rows[1]) > 0

    def test_take_no_dimensions(self, make: Make) -> None:
        """A Matryoshka size is the single vector's."""
        with pytest.raises(TypeError):
            make().embed_multi_vector(["a"], dimensions=16)  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            make().embed(["a"], multi=True)

    def test_of_a_closed_embedder_are_refused(self, make: Make) -> None:
        """As every other call."""
        embedder = make()
        embedder.close()
        with pytest.raises(ClosedError):
            embedder.embed_multi_vector(["a"])

    async def test_pass_a_cache_by(self, make: Make, engines: list[FakeEngine], tmp_path: Path) -> None:
        """They are computed each time, and its other calls go on."""
        with CachedEmbedder(make(), tmp_path / "cache.sqlite") as cached:
            rows = cached.embed_multi_vector(["a"]) + await cached.aembed_multi_vector(["a"])
            np.testing.assert_array_equal(rows[0], rows[1])
        assert len(engines[0].prompts) == 2


class TestTaskOfACall:
    """Overrides the embedder's, where the checkpoint serves it."""

    async def test_reaches_the_engine(self, make: Make, engines: list[FakeEngine]) -> None:
        """By every call, each with its own prefix."""
        embedder = make(task="retrieval")
        embedder.embed_passages(["a"], task="code")
        await embedder.aembed(["a"], task="code")
        embedder.embed_passages(["a"], task="text-matching")
        embedder.embed_multi_vector(["a"], task="code")
        list(embedder.embed_stream(["a"], task="code"))
        assert [len(row) async for row in embedder.aembed_stream(["a"], task="code")] == [embedder.dimensions]
        embedder.embed_passages(["a"])
        assert engines[0].tasks == ["code", "code", "text-matching", "code", "code", "code", "retrieval"]
        lengths = [len(prompt.token_ids) for prompt in engines[0].prompts]
        assert lengths[2] == tokens("Query: a")
        assert lengths[0] == lengths[-1] == tokens("Passage: a")

    def test_names_the_right_checkpoint_where_it_is_wrong(self) -> None:
        """Weights merged for one task serve no other; nothing is started."""
        embedder = JinaEmbedder("jinaai/jina-embeddings-v4-vllm-retrieval")
        for call in (embedder.embed, embedder.embed_multi_vector):
            with pytest.raises(ConfigError, match="jinaai/jina-embeddings-v4-vllm-code"):
                call(["a"], task="code")
        with pytest.raises(ConfigError, match="choose one of retrieval, text-matching, code"):
            embedder.embed(["a"], task="sorting")

    def test_has_its_own_place_in_a_cache(self, make: Make, engines: list[FakeEngine], tmp_path: Path) -> None:
        """Equal texts of two tasks are two vectors, and the embedder's own task is the first's."""
        with CachedEmbedder(make(task="retrieval"), tmp_path / "cache.sqlite") as cached:
            for task in ("code", "retrieval", "code", None):
                cached.embed_queries(["a"], task=task)
        assert engines[0].tasks == ["code", "retrieval"]
