"""``output_dtype`` of both adapters: what they hand to a store, and what has no meaning in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.schema import TextNode

from tests.support.images import noise
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import ConfigError, JinaEmbedder
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.llama_index import VllmJinaEmbedding
from vllm_jina_embed.pooling.quantization import DTYPES, quantized

TEXTS = ["a blue square", "where the red circle is"]


@pytest.fixture
def embedder(tmp_path: Path) -> Iterator[JinaEmbedder]:
    with in_memory([])(write_folder(tmp_path / "checkpoint")) as embedder:
        yield embedder


def typed(embedder: JinaEmbedder, dtype: str) -> Any:
    return in_memory([])(embedder.checkpoint.location, output_dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
async def test_both_adapters_return_the_numbers_of_the_core(embedder: JinaEmbedder, dtype: str) -> None:
    """Python's own, whole where the type is; texts, queries and images, cached or not."""
    kind = float if dtype.startswith("float") else int
    image = noise(40, 30)
    passages, (query,) = quantized(embedder.embed(TEXTS), dtype), quantized(embedder.embed_queries(["q"]), dtype)
    (shown,) = quantized(embedder.embed_images([image]), dtype)
    with typed(embedder, dtype) as core:
        chain, index = VllmJinaEmbeddings(embedder=core), VllmJinaEmbedding(embedder=core)
        assert chain.output_dtype == index.output_dtype == dtype
        assert chain.fingerprint == index.fingerprint
        assert (chain.fingerprint == embedder.fingerprint) == (dtype == "float32")
        assert chain.dimension == index.dimension == len(query)
        for found in (
            chain.embed_documents(TEXTS),
            await chain.aembed_documents(TEXTS),
            index.get_text_embedding_batch(TEXTS),
            await index.aget_text_embedding_batch(TEXTS),
        ):
            assert found == passages.tolist()
            assert {type(value) for row in found for value in row} == {kind}
        for one in (chain.embed_query("q"), await chain.aembed_query("q"), index.get_query_embedding("q")):
            assert one == query.tolist()
        for one in (
            chain.embed_image(image),
            index.get_image_embedding(image),
            index.get_image_embedding_batch([image])[0],
        ):
            assert one == shown.tolist()
        nodes = index([TextNode(text=text) for text in TEXTS])
        assert [node.embedding for node in nodes] == passages.tolist()


def test_the_mean_of_bits_is_refused(embedder: JinaEmbedder) -> None:
    """As HyDE asks for it; whole numbers have one, and one query is its own."""
    with typed(embedder, "ubinary") as core:
        index = VllmJinaEmbedding(embedder=core)
        assert index.get_agg_embedding_from_queries(["q"]) == index.get_query_embedding("q")
        with pytest.raises(ConfigError, match=r"output_dtype='ubinary': the bits of 2 queries .* have no mean"):
            index.get_agg_embedding_from_queries(["q", "p"])
        both = index.get_agg_embedding_from_queries(["q", "p"], agg_fn=lambda rows: rows[1])
        assert both == index.get_query_embedding("p")
    with typed(embedder, "int8") as core:
        index = VllmJinaEmbedding(embedder=core)
        mean = np.mean([index.get_query_embedding(text) for text in "qp"], axis=0)
        assert index.get_agg_embedding_from_queries(["q", "p"]) == mean.tolist()


@pytest.mark.parametrize("adapter", [VllmJinaEmbeddings, VllmJinaEmbedding])
def test_a_type_that_cannot_be_honoured_is_refused(adapter: Any) -> None:
    """By the core's own words, or pydantic's; bad items would become vectors of zeros."""
    for keywords, said in (
        ({"output_dtype": "int4"}, "'float32', 'float16', 'int8'"),
        ({"output_dtype": "int8", "on_error": "skip"}, "no NaN for a bad item"),
        ({"output_dtype": "int8", "ranges": np.zeros((2, 5))}, "expected the finite beginning"),
        ({"output_dtype": "int8", "normalize": False}, "needs ranges="),
    ):
        with pytest.raises(ValueError, match=said):
            adapter(model="demo", **keywords)
    ranges = np.stack([np.full(128, -0.5), np.full(128, 0.5)])
    made = adapter(model="demo", output_dtype="int8", ranges=ranges)
    assert np.asarray(made.ranges).tolist() == ranges.tolist()
