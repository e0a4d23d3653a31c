"""``unified_retriever`` uses the image of a query, or refuses it by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llama_index.core import MockEmbedding, QueryBundle, VectorStoreIndex
from llama_index.core.indices.vector_store.retrievers import VectorIndexRetriever
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQueryMode

from tests.support.embedders import FakeEmbedder
from tests.support.observers import Spans
from vllm_jina_embed import InputError
from vllm_jina_embed.llama_index import VllmJinaEmbedding, image_node, unified_retriever

pytestmark = pytest.mark.fire


@pytest.fixture
def index(embedding: VllmJinaEmbedding, paths: list[Path]) -> VectorStoreIndex:
    nodes = [image_node(path, id_=path.stem) for path in paths]
    return VectorStoreIndex(embedding([*nodes, TextNode(text="words", id_="words")]), embed_model=embedding)


async def found(retriever: Any, query: QueryBundle, mode: str) -> list[str]:
    hits = retriever.retrieve(query) if mode == "sync" else await retriever.aretrieve(query)
    return [hit.node.node_id for hit in hits]


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("words", ["", "which one is it?"])
@pytest.mark.parametrize("form", ["{}", "file://{}"])
async def test_a_query_with_an_image_asks_by_it(
    index: VectorStoreIndex, fake: FakeEmbedder, paths: list[Path], mode: str, words: str, form: str
) -> None:
    """With words and without; the caller's query stays as it was."""
    retriever = unified_retriever(index, similarity_top_k=1)
    path = form.format(paths[1])
    vector = fake.vector
    fake.vector = lambda role, value: vector(role, paths[1] if value == path else value)  # type: ignore[method-assign]
    query = QueryBundle(words, image_path=path)
    assert await found(retriever, query, mode) == ["two"]
    assert (query.embedding, query.query_str) == (None, words)
    assert fake.calls[-1][:2] == ("mixed query", [{"image": path}])


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_each_search_is_one_span(index: VectorStoreIndex, spans: Spans, mode: str) -> None:
    """As of LlamaIndex's own retriever, whose method ours calls."""
    await found(unified_retriever(index, similarity_top_k=1), QueryBundle("question"), mode)
    ours = [name for name in spans.names if "retrieve" in name]
    spans.names.clear()
    await found(VectorIndexRetriever(index, similarity_top_k=1, node_ids=None), QueryBundle("question"), mode)
    assert ours == [name for name in spans.names if "retrieve" in name]
    assert len(ours) > 1


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_other_queries_are_llama_indexs_own(
    index: VectorStoreIndex, embedding: VllmJinaEmbedding, fake: FakeEmbedder, paths: list[Path], mode: str
) -> None:
    """Words, and an embedding that is there already."""
    retriever = unified_retriever(index, similarity_top_k=1)
    await found(retriever, QueryBundle("question"), mode)
    assert fake.calls[-1][:2] == ("mixed query", ["question"])
    calls = len(fake.calls)
    assert await found(retriever, QueryBundle("", embedding=fake.vector("image", paths[2])), mode) == ["three"]
    assert len(fake.calls) == calls


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_an_empty_query_is_an_error_that_says_so(index: VectorStoreIndex, mode: str) -> None:
    """Not a TypeError from a sum over nothing."""
    with pytest.raises(InputError, match="the query is empty"):
        await found(unified_retriever(index), QueryBundle(""), mode)


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_an_image_that_cannot_be_used_is_refused_by_name(
    index: VectorStoreIndex, paths: list[Path], mode: str
) -> None:
    """By an index whose model embeds texts alone, and by a search in words."""
    query = QueryBundle("words", image_path=str(paths[0]))
    texts = VectorStoreIndex([TextNode(text="a")], embed_model=MockEmbedding(8))
    with pytest.raises(InputError, match=r"one\.png.*MockEmbedding embeds texts alone"):
        await found(unified_retriever(texts), query, mode)
    words = unified_retriever(index, vector_store_query_mode=VectorStoreQueryMode.TEXT_SEARCH)
    with pytest.raises(InputError, match=r"one\.png.*searches by words alone.*text_search"):
        await found(words, query, mode)
