"""One vector per token, on this machine and over HTTP: both of vLLM's multi-vector examples.

Run: python examples/14_multi_vectors.py [MODEL [URL]]
URL: a server of the same model, started by: vllm-jina-embed serve MODEL --multi-vector --port 8765
With a GPU and the real weights: MODEL = "BAAI/bge-m3" or "jinaai/jina-embeddings-v4".
"""

import sys

import numpy as np

from vllm_jina_embed import JinaEmbedder

MODEL = "demo"
QUESTION, ANSWERS = "What is BGE M3?", ["BGE M3 is an embedding model.", "BM25 is a function of bags of words."]


def main(model: str = MODEL, url: str = "") -> None:
    with JinaEmbedder(model) as embedder:
        (question,) = embedder.embed_multi_vector([QUESTION], prompt_name="query")
        answers = embedder.embed_multi_vector(ANSWERS)
        print("shapes:", question.shape, *(rows.shape for rows in answers))
        # Each token of the question looks for its nearest in the answer: MaxSim, which score computes in batches.
        by_hand = [float((question @ rows.T).max(axis=1).sum()) for rows in answers]
        scores = embedder.score([QUESTION], ANSWERS, multi_vector=True)
        print("MaxSim:", np.round(by_hand, 3).tolist(), "equal:", bool(np.allclose(scores, by_hand, atol=1e-4)))
    if url:
        with JinaEmbedder.from_server(url) as client:
            rows = client.embed_multi_vector(ANSWERS)
            print(
                "server, equal:",
                all(np.allclose(one, other, atol=1e-5) for one, other in zip(rows, answers, strict=True)),
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
