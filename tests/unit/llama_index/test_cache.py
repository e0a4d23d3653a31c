"""``VllmJinaEmbedding.cached``: LlamaIndex's stores keep the vectors, and no role, image or size is mixed up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import MockEmbedding
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore

from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import CachedEmbedder, JinaEmbedder
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.llama_index import VllmJinaEmbedding, image_node
from vllm_jina_embed.llama_index.cache import COLLECTION, KVStoreCache


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FakeEngine]]:
    """Every engine that the test started; engines live in memory, whoever makes the embedder."""
    started: list[FakeEngine] = []
    monkeypatch.setattr(JinaEmbedder, "_pool", in_memory(started)._pool)
    yield started
    assert all(engine.closed for engine in started)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "checkpoint")


def test_the_cache_of_llama_index_gives_a_query_the_passages_vector(folder: Path) -> None:
    """Why it is refused, at the start and later, and what to use instead is said."""

    class Roles(MockEmbedding):
        def _get_query_embedding(self, query: str) -> list[float]:
            return [1.0]

        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return [[2.0] for _ in texts]

    theirs = Roles(embed_dim=1, embeddings_cache=SimpleKVStore())
    theirs.get_text_embedding_batch(["Paris"])
    assert theirs.get_query_embedding("Paris") == [2.0], "LlamaIndex has mended this"
    with pytest.raises(ValueError, match=r"passage's vector.*\.cached\(store\)"):
        VllmJinaEmbedding(folder, embeddings_cache=SimpleKVStore())
    with pytest.raises(ValueError, match="frozen"):
        VllmJinaEmbedding(folder).embeddings_cache = SimpleKVStore()


@pytest.mark.parametrize("kind", ["memory", "file", "sqlite"])
async def test_every_method_is_answered_from_the_store(
    folder: Path, engines: list[FakeEngine], tmp_path: Path, kind: str
) -> None:
    """The second time nothing is computed; sync, async and nodes share the entries, bit for bit."""
    image = encoded(noise(40, 30))
    store: Any = tmp_path / "cache.sqlite" if kind == "sqlite" else SimpleKVStore()

    def nodes() -> list[Any]:
        return [TextNode(text="a"), image_node(image), TextNode(text="b"), image_node(image)]

    with VllmJinaEmbedding(folder) as plain, plain.cached(store) as cached:
        expected = [
            plain.get_text_embedding_batch(["a", "b"]),
            plain.get_query_embedding("a"),
            plain.get_image_embedding(image),
        ]
        before = len(engines[0].prompts)
        found = [cached.get_text_embedding_batch(["a", "b"]), cached.get_query_embedding("a")]
        assert [*found, cached.get_image_embedding(image)] == expected
        assert len(engines[0].prompts) == before + 4
    if kind == "file":
        store.persist(str(tmp_path / "store.json"))
        store = SimpleKVStore.from_persist_path(str(tmp_path / "store.json"))
    with VllmJinaEmbedding(folder).cached(store) as cached:
        assert await cached.aget_text_embedding_batch(["a", "b"]) == expected[0]
        assert await cached.aget_query_embedding("a") == expected[1] != expected[0][0]
        assert await cached.aget_image_embedding(noise(40, 30)) == expected[2]
        (a, b), image_row = expected[0], expected[2]
        for found_nodes in (cached(nodes()), await cached.acall(nodes())):
            assert [node.embedding for node in found_nodes] == [a, image_row, b, image_row]
    assert len(engines) == 1, "a hit starts no engine"


def test_equal_images_of_one_call_are_computed_once(folder: Path, engines: list[FakeEngine]) -> None:
    """By their pixels, whatever file they came in."""
    files = [encoded(noise(40, 30), kind) for kind in ("PNG", "BMP")]
    with VllmJinaEmbedding(folder).cached(SimpleKVStore()) as cached:
        rows = [node.embedding for node in cached([image_node(file) for file in files * 3])]
    assert len(engines[0].prompts) == 1
    assert rows == rows[:1] * 6


def test_it_keeps_llama_indexs_settings(folder: Path, engines: list[FakeEngine]) -> None:
    """And its own."""
    callbacks = CallbackManager([])
    embedding = VllmJinaEmbedding(folder, dimensions=16, embed_batch_size=7, num_workers=2, callback_manager=callbacks)
    cached = embedding.cached(SimpleKVStore())
    assert isinstance(cached.embedder, CachedEmbedder)
    assert (cached.dimension, cached.embed_batch_size, cached.num_workers) == (16, 7, 2)
    assert cached.callback_manager is callbacks
    assert cached.to_dict() == VllmJinaEmbedding(embedder=cached.embedder, embed_batch_size=7, num_workers=2).to_dict()
    assert cached.fingerprint == embedding.fingerprint


def test_a_damaged_entry_is_computed_again(folder: Path, engines: list[FakeEngine]) -> None:
    """Whatever another program wrote there."""
    store = SimpleKVStore()
    with VllmJinaEmbedding(folder).cached(store) as cached:
        expected = cached.get_text_embedding("a")
        (key,) = store.get_all(COLLECTION)
        for value in ({}, {"base64": 3}, {"base64": "!"}, {"base64": "AAAA"}):
            store.put(key, value, collection=COLLECTION)
            assert cached.get_text_embedding("a") == expected
    assert len(engines[0].prompts) == 5


def test_what_cannot_be_cached_is_refused(folder: Path) -> None:
    """No store."""
    with pytest.raises(ConfigError, match="as store"):
        VllmJinaEmbedding(folder).cached({})
    assert KVStoreCache(SimpleKVStore()).get_many(["nothing"]) == [None]
