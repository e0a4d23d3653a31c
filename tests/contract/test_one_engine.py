"""Both frameworks in one process: one engine, and the same vector for the same text and image."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import numpy as np
import pytest

from tests.support.images import noise
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.engine.pool import running_engines
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.llama_index import VllmJinaEmbedding

pytestmark = pytest.mark.real

TEXTS = ["a red circle", "浜辺に沈む美しい夕日"]


def test_both_adapters_give_the_same_vectors_and_start_no_second_engine(demo_embedder: JinaEmbedder) -> None:
    """A text as document, a text as query and an image: equal in LangChain, LlamaIndex and the core."""
    engines = running_engines()
    image = noise(160, 90)
    with VllmJinaEmbeddings(model="demo") as langchain, VllmJinaEmbedding(model_name="demo") as llama_index:
        pairs = [
            (langchain.embed_documents(TEXTS), llama_index.get_text_embedding_batch(TEXTS)),
            (langchain.embed_query(TEXTS[0]), llama_index.get_query_embedding(TEXTS[0])),
            (langchain.embed_image(image), llama_index.get_image_embedding(image)),
            (langchain.embed_image(image), demo_embedder.embed_images([image])[0]),
        ]
        assert running_engines() == engines
        assert langchain.fingerprint == llama_index.fingerprint == demo_embedder.fingerprint
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    assert running_engines() == engines  # the session's own user keeps it


def test_an_embedder_may_be_shared_by_hand(demo_embedder: JinaEmbedder) -> None:
    """Both adapters take an existing embedder, and closing them leaves it open."""
    with (
        VllmJinaEmbeddings(embedder=demo_embedder) as langchain,
        VllmJinaEmbedding(embedder=demo_embedder) as llama_index,
    ):
        assert llama_index.get_text_embedding("x") == pytest.approx(langchain.embed_documents(["x"])[0], abs=1e-6)
    assert demo_embedder.embed_queries(["x"]).shape == (1, demo_embedder.dimensions)


def test_different_dimensions_share_the_engine_too(demo_embedder: JinaEmbedder) -> None:
    """The length of a vector is no property of the engine."""
    engines = running_engines()
    with (
        VllmJinaEmbeddings(model="demo", dimensions=64) as small,
        VllmJinaEmbedding("demo", truncate_dim=32) as smaller,
    ):
        assert (len(small.embed_query("x")), len(smaller.get_query_embedding("x"))) == (64, 32)
        assert running_engines() == engines


async def test_both_adapters_may_be_awaited_together(demo_embedder: JinaEmbedder) -> None:
    """One event loop, both frameworks, one engine underneath."""
    with VllmJinaEmbeddings(model="demo") as langchain, VllmJinaEmbedding("demo") as llama_index:
        first, second = await asyncio.gather(langchain.aembed_query("x"), llama_index.aget_query_embedding("x"))
    assert first == pytest.approx(second, abs=1e-6)


SCRIPT = """
import json
from vllm_jina_embed.engine.pool import running_engines
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.llama_index import VllmJinaEmbedding

def main():
    counts = []
    langchain, llama_index = VllmJinaEmbeddings(model="demo"), VllmJinaEmbedding(model_name="demo")
    counts.append(running_engines())
    first = langchain.embed_documents(["a red circle"])[0]
    counts.append(running_engines())
    second = llama_index.get_text_embedding("a red circle")
    counts.append(running_engines())
    langchain.close()
    counts.append(running_engines())
    third = llama_index.get_text_embedding("a red circle")
    llama_index.close()
    counts.append(running_engines())
    print(json.dumps({"counts": counts, "same": first == second == third}))

if __name__ == "__main__":
    main()
"""


@pytest.mark.wide
def test_a_process_counts_its_users() -> None:
    """None after construction, one for both, still one while one of them is open, none after the last close."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"counts": [0, 1, 1, 1, 0], "same": True}
