"""LangChain and LlamaIndex in one process: one engine, equal vectors.

Run: python examples/04_both_on_one_engine.py
With a GPU and the real weights: MODEL = "jinaai/jina-embeddings-v4-vllm-retrieval".
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from vllm_jina_embed.demo.drawing import draw
from vllm_jina_embed.engine.pool import running_engines
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.llama_index import VllmJinaEmbedding

MODEL = "demo"
TEXTS = [f"a {colour} {thing}" for colour in ("red", "blue", "green") for thing in ("star", "circle", "table")]


async def ask(embeddings: VllmJinaEmbeddings, embedding: VllmJinaEmbedding) -> bool:
    """Call both at once; vLLM batches the waiting requests of all callers."""
    questions = [embeddings.aembed_query(text) for text in TEXTS]
    answers = await asyncio.gather(*questions, embedding.aget_text_embedding_batch(TEXTS))
    return len(answers) == len(TEXTS) + 1


def main() -> None:
    image = draw("blue star", seed=1, size=(200, 200))
    with VllmJinaEmbeddings(model=MODEL) as embeddings, VllmJinaEmbedding(MODEL, dimensions=64) as embedding:
        long = embeddings.embed_image(image)  # starts the engine
        short = embedding.get_image_embedding(image)  # joins it, with another length
        print(f"engines: {running_engines()}, dimensions: {len(long)} and {len(short)}")
        with ThreadPoolExecutor(4) as threads:  # any thread may call
            print(f"threads: {len(list(threads.map(embeddings.embed_query, TEXTS)))} answers")
        print(f"event loop: {asyncio.run(ask(embeddings, embedding))}")


if __name__ == "__main__":
    main()
