"""Caches: nothing is embedded twice, and a query never gets a passage's vector.

Run: python examples/06_caches.py
With a GPU and the real weights: MODEL = "jinaai/jina-embeddings-v4-vllm-retrieval", and REVISION = its commit hash,
since the weights behind a name may change under the cache.
"""

import tempfile
import time
from pathlib import Path

from langchain_core.stores import InMemoryByteStore
from llama_index.core.storage.kvstore import SimpleKVStore

from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.demo.drawing import draw
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.llama_index import VllmJinaEmbedding

MODEL, REVISION = "demo", None
TEXTS = [f"a {colour} {thing}" for colour in ("red", "blue", "green", "pink") for thing in ("star", "circle", "table")]
IMAGES = [draw("blue star", seed=seed, size=(240, 180)) for seed in range(4)]


def timed(embedder: JinaEmbedder, file: Path) -> list[list[float]]:
    with embedder.cached(file) as cached:
        began = time.monotonic()
        vectors = cached.embed([*TEXTS, *IMAGES]).tolist()
        print(f"{len(vectors)} items in {1000 * (time.monotonic() - began):.0f} ms")
    return vectors


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "embeddings.sqlite"  # threads and processes may share it
        first = timed(JinaEmbedder(MODEL, revision=REVISION), file)
        again = timed(JinaEmbedder(MODEL, revision=REVISION), file)  # starts no engine
        print(f"equal bit for bit: {first == again}")
    # The frameworks' own stores work as well. A question and a passage of the same words are two entries.
    with VllmJinaEmbeddings(model=MODEL, revision=REVISION).cached(InMemoryByteStore()) as embeddings:
        print(
            f"LangChain keeps roles apart: {embeddings.embed_query('star') != embeddings.embed_documents(['star'])[0]}"
        )
    with VllmJinaEmbedding(MODEL, revision=REVISION).cached(SimpleKVStore()) as embedding:
        vectors = embedding.get_query_embedding("star"), embedding.get_text_embedding("star")
        print(f"LlamaIndex keeps roles apart: {vectors[0] != vectors[1]}")


if __name__ == "__main__":
    main()
