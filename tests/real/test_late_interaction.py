"""Two thousand texts and images in two stages find what MaxSim finds by brute force, through both frameworks.

The demo checkpoint on the real engine; MaxSim here is written apart from the package, over padded arrays in float64.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from llama_index.core.schema import BaseNode, TextNode
from qdrant_client import QdrantClient

from benchmarks import demo_corpus, late_interaction
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.inputs.encoding import png
from vllm_jina_embed.langchain import LateInteractionRetriever as LangChainRetriever
from vllm_jina_embed.langchain import image_document
from vllm_jina_embed.late_interaction import LateInteractionIndex
from vllm_jina_embed.llama_index import LateInteractionRetriever as LlamaIndexRetriever
from vllm_jina_embed.llama_index import image_node

pytestmark = [pytest.mark.real, pytest.mark.wide, pytest.mark.timeout(600)]

K = 10
WANTED = 0.98
QUERIES = demo_corpus.queries()[::4]


@pytest.fixture(scope="module")
def items() -> list[demo_corpus.Item]:
    items = demo_corpus.items()
    assert len(items) >= 2000
    assert sum(not isinstance(item.content, str) for item in items) >= 1000
    texts = [item.content for item in items if isinstance(item.content, str)]
    assert len(set(texts)) == len(texts)
    return items


@pytest.fixture(scope="module")
def brute_force(demo_embedder: JinaEmbedder, items: list[demo_corpus.Item]) -> np.ndarray:
    """Every score, shape ``(n_queries, n_items)``."""
    asked = demo_embedder.embed_multi_vector([query.content for query in QUERIES], prompt_name="query")
    told = demo_embedder.embed_multi_vector([item.content for item in items], prompt_name="passage")
    longest = max(map(len, told))
    padded = np.zeros((len(told), longest, told[0].shape[1]))
    there = np.zeros((len(told), longest), dtype=bool)
    for number, rows in enumerate(told):
        padded[number, : len(rows)], there[number, : len(rows)] = rows, True
    scores = []
    for rows in asked:
        products = np.where(there[:, :, None], padded @ rows.T.astype(np.float64), -np.inf)
        scores.append(products.max(axis=1).sum(axis=1))
    return np.stack(scores)


@pytest.fixture(scope="module")
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


def recall(found: Sequence[Sequence[int]], brute_force: np.ndarray) -> float:
    """The share of the ten best that were found; what scores as the tenth does is as good as it."""
    shares = []
    for numbers, scores in zip(found, brute_force, strict=True):
        assert len(set(numbers)) == K
        shares.append(np.mean(scores[list(numbers)] >= np.sort(scores)[-K] - 1e-4))
    return float(np.mean(shares))


def document_of(number: int, item: demo_corpus.Item) -> Document:
    if isinstance(item.content, str):
        return Document(item.content, metadata={"number": number})
    return image_document(item.content, metadata={"number": number}, thumbnail=False)


def node_of(number: int, item: demo_corpus.Item) -> BaseNode:
    if isinstance(item.content, str):
        return TextNode(text=item.content, metadata={"number": number}, excluded_embed_metadata_keys=["number"])
    return image_node(item.content, metadata={"number": number}, thumbnail=False)


@pytest.fixture(scope="module")
def index(demo_embedder: JinaEmbedder, client: QdrantClient, items: list[demo_corpus.Item]) -> LateInteractionIndex:
    """Filled through LangChain."""
    index = LateInteractionIndex(demo_embedder, "langchain", client=client)
    retriever = LangChainRetriever(index=index)
    assert len(set(retriever.add_documents([document_of(n, item) for n, item in enumerate(items)]))) == len(items)
    return index


def test_langchain_finds_what_brute_force_finds(index: LateInteractionIndex, brute_force: np.ndarray) -> None:
    """At least 0.98 of the ten best, by questions in five languages and by images."""
    retriever = LangChainRetriever(index=index, k=K)
    asked = [
        query.content if isinstance(query.content, str) else image_document(query.content).page_content
        for query in QUERIES
    ]
    found = [[document.metadata["number"] for document in retriever.invoke(query)] for query in asked]
    assert recall(found, brute_force) >= WANTED


def test_llama_index_finds_what_brute_force_finds(
    demo_embedder: JinaEmbedder, client: QdrantClient, items: list[demo_corpus.Item], brute_force: np.ndarray
) -> None:
    """Filled and asked through LlamaIndex, awaited, eight questions at a time."""
    index = LateInteractionIndex(demo_embedder, "llama_index", client=client)
    retriever = LlamaIndexRetriever(index, similarity_top_k=K)

    async def ask(query: demo_corpus.Item, room: asyncio.Semaphore) -> list[int]:
        bundle: Any = query.content if isinstance(query.content, str) else retriever.image_query(query.content)
        async with room:
            return [hit.node.metadata["number"] for hit in await retriever.aretrieve(bundle)]

    async def run() -> list[list[int]]:
        await retriever.ainsert_nodes([node_of(n, item) for n, item in enumerate(items)])
        room = asyncio.Semaphore(8)
        return await asyncio.gather(*(ask(query, room) for query in QUERIES))

    found = asyncio.run(run())
    assert index.count() == len(items)
    assert recall(found, brute_force) >= WANTED


def test_without_the_second_stage_the_recall_is_missed(
    demo_embedder: JinaEmbedder, client: QdrantClient, index: LateInteractionIndex, brute_force: np.ndarray
) -> None:
    """The planted fault: the embeddings' ten best as they come, in the same collection."""
    embeddings = demo_embedder.embed([query.content for query in QUERIES], prompt_name="query")
    found = [
        [
            point.payload["metadata"]["number"]
            for point in client.query_points("langchain", query=row.tolist(), using="embedding", limit=K).points
        ]
        for row in embeddings
    ]
    assert recall(found, brute_force) < 0.8
    few = [
        [hit.payload["metadata"]["number"] for hit in index.search(query.content, K, candidates=K)] for query in QUERIES
    ]
    assert recall(few, brute_force) < 0.8


def test_the_second_stage_gives_the_scores_of_brute_force(index: LateInteractionIndex, brute_force: np.ndarray) -> None:
    for query, scores in list(zip(QUERIES, brute_force, strict=True))[::20]:
        for hit in index.search(query.content, K):
            assert hit.score == pytest.approx(scores[hit.payload["metadata"]["number"]], abs=1e-3)


def test_an_image_is_stored_by_its_pixels(index: LateInteractionIndex, items: list[demo_corpus.Item]) -> None:
    """The file of a drawing that is in the index finds that drawing, with the drawing's own score at the top."""
    number, image = next((n, item.content) for n, item in enumerate(items) if not isinstance(item.content, str))
    assert index.search(png(image), 1)[0].payload["metadata"]["number"] == number


def test_the_command_prints_its_tables(demo_embedder: JinaEmbedder, capsys: pytest.CaptureFixture[str]) -> None:
    """On a small corpus; every share is one, and every token in float16 costs next to nothing."""
    assert late_interaction.main(["--concepts", "6", "--images", "2"]) == 0
    said = capsys.readouterr().out
    assert "| float16 | 196,608 | 4,096 | 0 |" in said
    rows = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in said.splitlines()}
    assert float(rows["800"][0]) == 1.0
    assert float(rows["10"][0]) < 1.0
    assert float(rows["every token, float32"][1]) == 1.0
    assert float(rows["every token, float16"][1]) > 0.98
    assert float(rows["`pool_factor=2`"][0]) < 0.6 * float(rows["every token, float32"][0])
