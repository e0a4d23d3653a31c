"""Embeddings of smaller types in every vector store of both frameworks: which rank by them as brute force does.

On an engine in memory. The table in docs/late-interaction.md says the same.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import TextNode

from tests.support import langchain_stores, llama_index_stores
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.llama_index import VllmJinaEmbedding, unified_retriever

pytestmark = pytest.mark.wide  # every store of both frameworks

TEXTS = [f"text number {number} of twenty" for number in range(20)]
QUESTION = "which of them"
TYPES = ("float16", "int8", "uint8", "binary", "ubinary")


def in_langchain(make: Any, embedder: JinaEmbedder, folder: Path) -> list[str]:
    place = make(folder, VllmJinaEmbeddings(embedder=embedder))
    store = place.make()
    store.add_documents([Document(text) for text in TEXTS])
    return [found.page_content for found in store.similarity_search(QUESTION, k=len(TEXTS))]


def in_llama_index(make: Any, embedder: JinaEmbedder, folder: Path) -> list[str]:
    embedding = VllmJinaEmbedding(embedder=embedder)
    storage = StorageContext.from_defaults(vector_store=make(folder, embedding.dimension).make())
    nodes = embedding([TextNode(text=text) for text in TEXTS])
    index = VectorStoreIndex(nodes, storage_context=storage, embed_model=embedding)
    found = unified_retriever(index, similarity_top_k=len(TEXTS)).retrieve(QUESTION)
    return [one.node.get_content() for one in found]


STORES: dict[str, tuple[Callable[..., list[str]], Any, str]] = {
    **{f"langchain-{name}": (in_langchain, *entry) for name, entry in langchain_stores.STORES.items()},
    **{f"llama_index-{name}": (in_llama_index, *entry) for name, entry in llama_index_stores.STORES.items()},
}
MEASURE = {
    "langchain-chroma_in_memory": "L2",
    "langchain-chroma": "L2",
    "langchain-faiss": "dot",
    "langchain-lancedb": "L2",
    "langchain-sqlite_vec": "L2",
    "llama_index-faiss": "dot",
    "llama_index-lancedb": "L2",
}
"""How a store compares, as the tests make it; the others by the cosine."""
OTHERWISE = {
    # langchain-community 0.4.2 lets pyarrow guess the column from the list: of whole numbers from 0 to 255 it is uint8,
    # which lancedb 0.40 compares by Hamming.
    ("langchain-lancedb", "ubinary"): "Hamming",
    ("langchain-lancedb", "uint8"): "Hamming",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JinaEmbedder]:
    with in_memory([])(write_folder(tmp_path_factory.mktemp("checkpoint"))) as embedder:
        yield embedder


def metrics(plain: JinaEmbedder, dtype: str) -> dict[str, np.ndarray]:
    """How near each text is to the question by the numbers of this type as a store gets them, by each measure."""
    rows = plain.embed(TEXTS, output_dtype=dtype).astype(np.float64)
    (row,) = plain.embed_queries([QUESTION], output_dtype=dtype).astype(np.float64)
    dot = rows @ row
    measures = {
        "cosine": dot / np.linalg.norm(rows, axis=1) / np.linalg.norm(row),
        "dot": dot,
        "L2": -np.linalg.norm(rows - row, axis=1),
    }
    if dtype in ("uint8", "ubinary"):
        bits, asked = (np.unpackbits(part.astype(np.uint8), axis=-1) for part in (rows, row))
        measures["Hamming"] = -(bits != asked).sum(-1).astype(float)
    return measures


@pytest.mark.parametrize("store", STORES)
def test_a_store_ranks_by_the_numbers_that_it_was_given(store: str, plain: JinaEmbedder, tmp_path: Path) -> None:
    """As brute force does with the same numbers and the store's measure; what that means for each type is below."""
    search, make, module = STORES[store]
    importlib.import_module(module)  # a store that is not installed is a failure, not a skip
    for dtype in TYPES:
        (tmp_path / dtype).mkdir()
        with in_memory([])(plain.checkpoint.location, output_dtype=dtype) as embedder:
            found = search(make, embedder, tmp_path / dtype / "store")
        assert sorted(found) == sorted(TEXTS)
        measure = OTHERWISE.get((store, dtype), MEASURE.get(store, "cosine"))
        scores = metrics(plain, dtype)[measure]
        got = np.array([scores[TEXTS.index(text)] for text in found])
        assert (got[:-1] >= got[1:] - 1e-5).all(), (dtype, measure)


@pytest.mark.parametrize(
    ("dtype", "measure", "least"),
    [
        ("int8", "cosine", 0.95),
        ("int8", "dot", 0.95),
        ("int8", "L2", 0.95),
        ("uint8", "cosine", 0.95),
        ("uint8", "L2", 0.95),
        ("ubinary", "Hamming", 0.7),
    ],
)
def test_measures_that_fit_a_type_rank_nearly_as_float32(
    plain: JinaEmbedder, dtype: str, measure: str, least: float
) -> None:
    """Rank correlation of all texts."""
    assert correlation(plain, dtype, measure) >= least


@pytest.mark.parametrize(
    ("dtype", "measure"),
    [("uint8", "dot"), ("uint8", "Hamming"), ("ubinary", "cosine"), ("ubinary", "L2"), ("ubinary", "dot")],
)
def test_measures_that_do_not_fit_a_type_rank_otherwise(plain: JinaEmbedder, dtype: str, measure: str) -> None:
    """Why docs/late-interaction.md names the measure: nothing in the store or here would say so."""
    assert correlation(plain, dtype, measure) < 0.9


def correlation(plain: JinaEmbedder, dtype: str, measure: str) -> float:
    """Return Spearman's correlation of two rankings of the texts: by this type and measure, and by float32."""
    ranks = [
        np.argsort(np.argsort(scores)) for scores in (metrics(plain, dtype)[measure], metrics(plain, "float32")["dot"])
    ]
    return float(np.corrcoef(ranks)[0, 1])


def test_rows_of_bits_are_what_a_binary_index_takes(plain: JinaEmbedder) -> None:
    """FAISS, without a framework: its distances are those of the bits."""
    import faiss

    rows, asked = (plain.embed(TEXTS, output_dtype="ubinary"), plain.embed_queries([QUESTION], output_dtype="ubinary"))
    index = faiss.IndexBinaryFlat(plain.dimensions)
    index.add(rows)
    distances, places = index.search(asked, len(TEXTS))
    assert (-distances[0] == metrics(plain, "ubinary")["Hamming"][places[0]]).all()
