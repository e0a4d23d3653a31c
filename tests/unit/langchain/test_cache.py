"""``VllmJinaEmbeddings.cached``: LangChain's stores keep the vectors, and no role, image or size is mixed up."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_classic.storage import LocalFileStore
from langchain_core.stores import InMemoryByteStore

from tests.support.fake_engine import FakeEngine
from tests.support.images import noise
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import CachedEmbedder, JinaEmbedder
from vllm_jina_embed.errors import ClosedError, ConfigError
from vllm_jina_embed.langchain import VllmJinaEmbeddings


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FakeEngine]]:
    """Every engine that the test started; engines live in memory, whoever makes the embedder."""
    started: list[FakeEngine] = []
    kind = in_memory(started)
    monkeypatch.setattr(JinaEmbedder, "_pool", kind._pool)
    yield started
    assert all(engine.closed for engine in started)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "checkpoint")


def test_the_own_cache_of_langchain_gives_a_query_the_documents_vector(folder: Path, engines: list[FakeEngine]) -> None:
    """Why ``cached`` exists: with a query cache, CacheBackedEmbeddings confuses the roles and hides the images."""
    with VllmJinaEmbeddings(model=folder) as embeddings, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = CacheBackedEmbeddings.from_bytes_store(
            embeddings, InMemoryByteStore(), namespace=embeddings.fingerprint, query_embedding_cache=True
        )
        document = theirs.embed_documents(["Paris"])[0]
        assert theirs.embed_query("Paris") == document != embeddings.embed_query("Paris")
        assert not hasattr(theirs, "embed_image")
        with embeddings.cached(InMemoryByteStore()) as ours:
            assert ours.embed_documents(["Paris"])[0] == document
            assert ours.embed_query("Paris") == embeddings.embed_query("Paris") != document


@pytest.mark.parametrize("kind", ["memory", "files", "sqlite"])
async def test_every_method_is_answered_from_the_store(
    folder: Path, engines: list[FakeEngine], tmp_path: Path, kind: str
) -> None:
    """The second time nothing is computed and no engine started; sync and async share the entries."""
    store: Any = {
        "memory": InMemoryByteStore(),
        "files": LocalFileStore(tmp_path / "cache"),
        "sqlite": tmp_path / "cache.sqlite",
    }[kind]
    uri = tmp_path / "a.png"
    noise(40, 30).save(uri)
    with VllmJinaEmbeddings(model=folder) as embeddings, embeddings.cached(store) as cached:
        expected = [
            embeddings.embed_documents(["a", "b"]),
            embeddings.embed_query("a"),
            embeddings.embed_image(uris=[str(uri)]),
            embeddings.embed_image(str(uri)),
            embeddings.embed_images([noise(40, 30, seed=1)]),
        ]
        for _ in range(2):
            found = [
                cached.embed_documents(["a", "b"]),
                cached.embed_query("a"),
                cached.embed_image(uris=[str(uri)]),
                cached.embed_image(str(uri)),
                cached.embed_images([noise(40, 30, seed=1)]),
            ]
            assert found == expected
    before = [len(engine.prompts) for engine in engines]
    with VllmJinaEmbeddings(model=folder).cached(store) as cached:
        found = [
            await cached.aembed_documents(["a", "b"]),
            await cached.aembed_query("a"),
            await cached.aembed_image(uris=[str(uri)]),
            await cached.aembed_image(str(uri)),
            await cached.aembed_images([noise(40, 30, seed=1)]),
        ]
        assert found == expected
    assert [len(engine.prompts) for engine in engines] == before


def test_it_is_the_same_class_with_the_same_settings(folder: Path, engines: list[FakeEngine]) -> None:
    """Stores test for the class, and a name that was set is kept."""
    embeddings = VllmJinaEmbeddings(model=folder, dimensions=16, task="code", on_error="skip")
    cached = embeddings.cached(InMemoryByteStore())
    assert type(cached) is VllmJinaEmbeddings
    assert isinstance(cached.embedder, CachedEmbedder)
    assert cached.fingerprint == embeddings.fingerprint
    for name in ("model", "dimensions", "task", "on_error"):
        assert getattr(cached, name) == getattr(embeddings, name)


def test_each_of_the_two_is_closed_by_itself(folder: Path, engines: list[FakeEngine]) -> None:
    """They share the engine; it stops with the last one."""
    embeddings = VllmJinaEmbeddings(model=folder)
    cached = embeddings.cached(InMemoryByteStore())
    embeddings.embed_query("a")
    cached.embed_query("a")
    assert len(engines) == 1
    embeddings.close()
    cached.embed_query("b")
    assert not engines[0].closed
    cached.close()
    assert engines[0].closed
    with pytest.raises(ClosedError):
        cached.embed_query("b")


async def test_an_embedder_that_was_passed_in_stays_open(folder: Path, engines: list[FakeEngine]) -> None:
    """Its maker closes it."""
    with JinaEmbedder(folder) as embedder:
        async with VllmJinaEmbeddings(embedder=embedder).cached(InMemoryByteStore()) as cached:
            await cached.aembed_query("a")
        assert not embedder.closed
        embedder.embed_queries(["a"])


def test_a_copy_for_another_process_has_the_store(folder: Path, engines: list[FakeEngine]) -> None:
    """As far as it can be pickled: one in memory with what is in it, which is not shared."""
    cached = VllmJinaEmbeddings(model=folder).cached(InMemoryByteStore())
    with cached:
        expected = cached.embed_query("a")
        data, started = pickle.dumps(cached), len(engines)
    with pickle.loads(data) as copy:
        assert copy.embed_query("a") == expected
        assert len(engines) == started, "a hit starts no engine"
        assert copy.fingerprint == cached.fingerprint


def test_what_cannot_be_cached_is_refused(folder: Path) -> None:
    """No store, and a repository whose weights may change."""
    with pytest.raises(ConfigError, match="as store"):
        VllmJinaEmbeddings(model=folder).cached({})
    with pytest.raises(ConfigError, match="40 hex digits"):
        VllmJinaEmbeddings(model="jinaai/jina-embeddings-v4-vllm-code").cached(InMemoryByteStore())
