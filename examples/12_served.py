"""One server, any number of clients that need neither vLLM nor torch.

Run: python examples/12_served.py [http://gpu-box:8000 ...]
Without a URL it starts a server of the demo checkpoint on this machine, and stops it at the end.
With a GPU and the real weights: vllm-jina-embed serve jinaai/jina-embeddings-v4-vllm-retrieval
"""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.demo.drawing import draw
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.llama_index import VllmJinaEmbedding

MODEL = "demo"
THINGS = ("blue star", "red circle", "green table", "forest")


@contextmanager
def serving(model: str) -> Iterator[str]:
    """Start a server as from a shell, and yield its URL once it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "vllm_jina_embed.cli", "serve", model, "--port", port]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        for line in server.stdout or ():
            if line.startswith("Ready"):
                print(line, end="")
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def search(urls: list[str]) -> None:
    """Rank images for questions in three languages, through both frameworks."""
    images = [draw(thing, seed=1, size=(160, 160)) for thing in THINGS]
    with JinaEmbedder.from_server(urls) as embedder:  # several URLs: the least loaded first; losing one loses no vector
        print(f"serves: {embedder.model}, {embedder.dimensions} numbers")
        index = embedder.embed_images(images)
        for question in ("ein blauer Stern", "un círculo rojo", "森"):
            best = (embedder.embed_queries([question]) @ index.T).argmax()
            print(f"{question} -> {THINGS[best]}")
        langchain, llama_index = VllmJinaEmbeddings(embedder=embedder), VllmJinaEmbedding(embedder=embedder)
        equal = langchain.embed_query("a tree") == llama_index.get_query_embedding("a tree")
        print(f"both frameworks, equal: {equal}")


def main() -> None:
    if urls := sys.argv[1:]:
        search(urls)
        return
    with serving(MODEL) as url:
        search([url])


if __name__ == "__main__":
    main()
