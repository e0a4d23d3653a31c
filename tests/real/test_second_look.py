"""A second look by MaxSim on the demo checkpoint: what it finds behind a first stage that fails, and where it looks.

MaxSim here is ``by_definition``, two loops over tokens, written apart from the package.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import TextNode

from benchmarks import demo_corpus
from tests.unit.scoring.test_maxsim import by_definition
from vllm_jina_embed import JinaEmbedder, langchain, llama_index
from vllm_jina_embed.demo.concepts import CONCEPTS
from vllm_jina_embed.demo.drawing import UNSEEN_SEED, draw
from vllm_jina_embed.late_interaction import maxsim_map
from vllm_jina_embed.pooling.quantization import DTYPES, calibrated

pytestmark = [pytest.mark.real, pytest.mark.timeout(600), pytest.mark.wide]  # thousands of comparisons

SHORT = 4
"""Numbers of an embedding that the first stage keeps: too few to tell 77 concepts apart."""
FOUND = 100


@cache  # seconds of work, which the collection of other tests does not wait for
def corpus_items() -> list[demo_corpus.Item]:
    return demo_corpus.items(1)


@cache
def questions() -> list[demo_corpus.Item]:
    return [query for query in demo_corpus.queries() if isinstance(query.content, str)][::6]


class Short(Embeddings):
    """The first numbers of the demo's embeddings."""

    def __init__(self, whole: langchain.VllmJinaEmbeddings) -> None:
        self.whole = whole

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [row[:SHORT] for row in self.whole.embed_documents(texts)]

    def embed_query(self, text: str) -> list[float]:
        return self.whole.embed_query(text)[:SHORT]


class ShortNodes(BaseEmbedding):
    """The same for LlamaIndex."""

    whole: Any

    def _get_query_embedding(self, query: str) -> list[float]:
        return self.whole.get_query_embedding(query)[:SHORT]  # type: ignore[no-any-return]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await self.whole.aget_query_embedding(query))[:SHORT]  # type: ignore[no-any-return]

    def _get_text_embedding(self, text: str) -> list[float]:
        raise AssertionError("the nodes have their embeddings")


@pytest.fixture(scope="module")
def told(demo_embedder: JinaEmbedder) -> list[np.ndarray]:
    return demo_embedder.embed_multi_vector([item.content for item in corpus_items()])


def is_right(query: demo_corpus.Item, number: int) -> bool:
    return corpus_items()[number].concept == query.concept


def assert_brute_force(
    embedder: JinaEmbedder, told: list[np.ndarray], query: str, first: list[int], found: list[tuple[int, float]]
) -> None:
    """Check that the candidates are all there, in the order of MaxSim; equal to 1e-4 may change places."""
    assert sorted(number for number, _ in found) == sorted(first)
    asked = embedder.embed_multi_vector([query], prompt_name="query")
    scores = by_definition(asked, [told[number] for number, _ in found])[0]
    assert [score for _, score in found] == pytest.approx(scores.tolist(), abs=1e-3)
    assert (scores[:-1] >= scores[1:] - 1e-4).all()


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return [
        Document(item.content, metadata={"n": n})
        if isinstance(item.content, str)
        else langchain.image_document(item.content, metadata={"n": n}, thumbnail=False)
        for n, item in enumerate(corpus_items())
    ]


def test_langchain_finds_what_the_first_stage_misses(
    demo_embedder: JinaEmbedder, documents: list[Document], told: list[np.ndarray], tmp_path: Path
) -> None:
    """Recall@1 of a first stage that fails, and behind it: from 0.7 at most to 0.95 at least."""
    embeddings = langchain.VllmJinaEmbeddings(embedder=demo_embedder)
    store = InMemoryVectorStore(Short(embeddings))
    store.add_documents(documents)
    first = store.as_retriever(search_kwargs={"k": FOUND})
    with langchain.MaxSimReranker(embedder=embeddings, cache=tmp_path / "multi.sqlite") as reranker:
        second = ContextualCompressionRetriever(base_retriever=first, base_compressor=reranker)
        before, after = [], []
        for place, query in enumerate(questions()):
            selected = [document.metadata["n"] for document in first.invoke(str(query.content))]
            found = [(one.metadata["n"], one.metadata["relevance_score"]) for one in second.invoke(str(query.content))]
            if place % 10 == 0:
                assert_brute_force(demo_embedder, told, str(query.content), selected, found)
            before.append(is_right(query, selected[0]))
            after.append(is_right(query, found[0][0]))
    print(f"recall@1: {np.mean(before):.3f}, behind the second look {np.mean(after):.3f}, {len(questions())} questions")
    assert np.mean(before) <= 0.7
    assert np.mean(after) >= 0.95


async def test_llama_index_finds_what_the_first_stage_misses(
    demo_embedder: JinaEmbedder, told: list[np.ndarray]
) -> None:
    """The same through a query engine, awaited."""
    embedding = llama_index.VllmJinaEmbedding(embedder=demo_embedder)
    nodes: list[Any] = embedding(
        [
            TextNode(text=item.content, metadata={"n": n}, excluded_embed_metadata_keys=["n"])
            if isinstance(item.content, str)
            else llama_index.image_node(item.content, metadata={"n": n}, thumbnail=False)
            for n, item in enumerate(corpus_items())
        ]
    )
    for node in nodes:
        node.embedding = node.embedding[:SHORT]
    index = VectorStoreIndex(nodes, embed_model=ShortNodes(whole=embedding))
    first = llama_index.unified_retriever(index, similarity_top_k=FOUND)
    reranker = llama_index.MaxSimReranker(embedder=embedding)
    engine = RetrieverQueryEngine.from_args(first, llm=MockLLM(), node_postprocessors=[reranker])
    before, after = [], []
    for place, query in enumerate(questions()[::4]):
        selected = [one.node.metadata["n"] for one in await first.aretrieve(str(query.content))]
        found = [(one.node.metadata["n"], one.score) for one in (await engine.aquery(str(query.content))).source_nodes]
        if place % 5 == 0:
            assert_brute_force(demo_embedder, told, str(query.content), selected, found)  # type: ignore[arg-type]
        before.append(is_right(query, selected[0]))
        after.append(is_right(query, found[0][0]))
    print(f"recall@1: {np.mean(before):.3f}, behind the second look {np.mean(after):.3f}, {len(before)} questions")
    assert np.mean(before) <= 0.7
    assert np.mean(after) >= 0.95


@pytest.mark.parametrize("size", [(112, 112), (280, 140), (140, 280), (300, 97), (57, 411), (640, 480)])
def test_the_map_of_an_image_is_the_grid_of_its_processor(demo_embedder: JinaEmbedder, size: tuple[int, int]) -> None:
    """As transformers' own processor counts it, merged two by two."""
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(demo_embedder.checkpoint.location)
    image = draw(CONCEPTS[0], seed=UNSEEN_SEED, size=size)
    _, height, width = processor(images=[image], return_tensors="np")["image_grid_thw"][0].tolist()
    found = maxsim_map(demo_embedder, "Where is the red circle?", image)
    assert found.grid == (height // 2, width // 2)
    (score,) = demo_embedder.score(["Where is the red circle?"], [image], multi_vector=True)[0]
    assert found.score == pytest.approx(float(score), abs=1e-3)
    assert "".join(match.token for match in found.matches).endswith("Where is the red circle?")
    assert found.picture().size == size


@pytest.fixture(scope="module")
def exact(demo_embedder: JinaEmbedder) -> tuple[np.ndarray, np.ndarray]:
    rows = demo_embedder.embed([item.content for item in corpus_items()])
    asked = demo_embedder.embed([query.content for query in questions()], prompt_name="query")
    return rows, np.argsort(-(asked @ rows.T), axis=1)[:, :10]


@pytest.mark.parametrize("dtype", DTYPES)
def test_smaller_types_find_what_float32_finds(
    demo_embedder: JinaEmbedder, exact: tuple[np.ndarray, np.ndarray], dtype: str
) -> None:
    """Recall@10 against float32: questions in the same type, bits by their Hamming distance."""
    rows, best = exact
    ranges = calibrated(rows) if dtype in ("int8", "uint8") else None
    for given in (None, ranges) if ranges is not None else (None,):
        items = demo_embedder.embed([item.content for item in corpus_items()], output_dtype=dtype, ranges=given)
        queries = demo_embedder.embed(
            [query.content for query in questions()], prompt_name="query", output_dtype=dtype, ranges=given
        )
        if "binary" in dtype:
            least = 128 if dtype == "binary" else 0
            bits, asked_bits = (
                np.unpackbits((part.astype(np.int16) + least).astype(np.uint8), axis=1) for part in (items, queries)
            )
            scores = -(bits[None] != asked_bits[:, None]).sum(-1)
        else:
            middle = np.float32(0.5 if dtype == "int8" else -127.5 if dtype == "uint8" else 0)
            left, right = (part.astype(np.float32) + middle for part in (queries, items))
            if given is not None:  # steps of other widths
                step = (given[1] - given[0]) / 255
                middle_of = (given[0] + given[1]) / 2
                left, right = left * step + middle_of, right * step + middle_of
            scores = left @ right.T
        found = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        recall = np.mean([len({*one} & {*other}) / 10 for one, other in zip(found, best, strict=True)])
        print(f"{dtype}{'' if given is None else ' calibrated'}: recall@10 {recall:.3f}, {items[0].nbytes} bytes")
        assert recall >= {"float32": 1.0, "float16": 0.99, "int8": 0.95, "uint8": 0.95}.get(dtype, 0.5)
