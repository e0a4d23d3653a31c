"""The vectors of a server for clients that know nothing of this package: OpenAI's, and Cohere's form of a request.

Run: python examples/16_any_client.py [URL]      (needs httpx and openai)
Without a URL it starts a server of the demo checkpoint on this machine, and stops it at the end.
With a GPU and the real weights: vllm-jina-embed serve BAAI/bge-m3, or any other model of docs/models.md.
"""

import base64
import sys
from importlib import import_module
from io import BytesIO

import httpx
from openai import OpenAI

from vllm_jina_embed.demo.drawing import draw

MODEL = "demo"


def ask(url: str) -> None:
    """Ask for the same text in both forms; for an image too, where the model takes any."""
    client = OpenAI(base_url=f"{url}/v1", api_key="none")
    model = client.models.list().data[0].id
    body: dict[str, object] = {"model": model, "input_type": "search_query", "texts": ["a green table"]}
    cohere = httpx.post(f"{url}/v2/embed", json=body, timeout=60).raise_for_status().json()
    role = {"input_type": "search_query"}  # without it a string is a whole prompt, with the model's own prefix
    openai = client.embeddings.create(model=model, input=["a green table"], extra_body=role)
    pairs = zip(cohere["embeddings"]["float"][0], openai.data[0].embedding, strict=True)
    print("the same vector:", all(abs(one - other) < 1e-6 for one, other in pairs))

    kinds = {**body, "embedding_types": ["float", "int8", "uint8", "binary", "ubinary"]}
    told = httpx.post(f"{url}/v2/embed", json=kinds, timeout=60).raise_for_status().json()["embeddings"]
    print("lengths:", {kind: len(rows[0]) for kind, rows in told.items()})

    draw("blue star", seed=1, size=(160, 160)).save(file := BytesIO(), "PNG")
    image = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    answer = httpx.post(f"{url}/v2/embed", json={"model": model, "images": [image]}, timeout=60)
    print("an image:", len(answer.json()["embeddings"]["float"][0]) if answer.is_success else answer.json()["message"])
    wrong = httpx.post(f"{url}/v2/embed", json={**body, "output_dimension": 33}, timeout=60)
    print(f"33 numbers: {wrong.status_code}, {wrong.json()['message']}")


def main() -> None:
    if urls := sys.argv[1:]:
        ask(*urls)
        return
    with import_module("12_served").serving(MODEL) as url:
        ask(url)


if __name__ == "__main__":
    main()
