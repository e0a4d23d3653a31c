"""Write old_cache.sqlite, a cache as version 0.1 fills it: ``python -m tests.data.old_cache FILE``.

No engine computes the vectors: the n-th item of all calls gets the n-th unit vector. The file was written once, by the
commit that added this script, and is not written again: it stands for the caches that users have.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.embedding.backend import Request
from vllm_jina_embed.embedding.outcomes import Outcome

REVISION = "0123456789abcdef0123456789abcdef01234567"
NATIVE = "jinaai/jina-embeddings-v4"
RED = Image.new("RGB", (40, 30), (200, 30, 30))
GRADIENT = Image.frombytes("RGB", (28, 56), bytes(n % 251 for n in range(28 * 56 * 3)))
TEXTS = ["a red circle", "日本語のテキスト", "  spaces\n"]
ITEMS: list[Any] = [*TEXTS, RED, [RED, GRADIENT]]

CALLS: tuple[tuple[str, dict[str, Any], str, list[Any]], ...] = (
    (NATIVE, {"dimensions": 128}, "passage", ITEMS),
    (NATIVE, {"dimensions": 128}, "query", TEXTS),
    (NATIVE, {"dimensions": 128, "task": "text-matching"}, "passage", ITEMS),
    (NATIVE, {"dimensions": 128, "truncate": "start", "max_length": 77, "max_pixels": 50176}, "passage", ITEMS),
    (NATIVE, {"dimensions": 128, "engine_kwargs": {"dtype": "float16"}}, "passage", TEXTS),
    (f"{NATIVE}-vllm-retrieval", {}, "query", TEXTS[:1]),
    (f"{NATIVE}-vllm-text-matching", {"dimensions": 128}, "passage", ITEMS),
    (f"{NATIVE}-vllm-code", {"dimensions": 128}, "passage", ITEMS),
    ("BAAI/bge-m3", {}, "query", TEXTS),
    ("BAAI/bge-m3", {}, "passage", TEXTS),
)
"""Model, keywords, role and items of each call."""


def rows() -> Iterator[tuple[JinaEmbedder, str, list[Any], np.ndarray]]:
    """Yield for each call a new embedder, the role, the items and their vectors, shape ``(n, dimensions)``."""
    numbers = itertools.count()
    for model, keywords, role, items in CALLS:
        embedder = JinaEmbedder(model, revision=REVISION, **keywords)
        vectors = np.zeros((len(items), embedder.dimensions), dtype=np.float32)
        for row in vectors:
            row[next(numbers)] = 1
        yield embedder, role, items, vectors


class Given:
    """A backend that answers with vectors that it was given; the second of several items was cut."""

    closed, engine = False, None

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = vectors

    def run(self, request: Request) -> Outcome:
        assert len(request.items) == len(self._vectors)
        return Outcome(embeddings=self._vectors, truncated=[item.position for item in request.items[1:2]])

    def close(self) -> None:
        """Close nothing."""


def write(file: Path) -> None:
    """Write the cache of all calls into a new file."""
    for embedder, role, items, vectors in rows():
        embedder.backend = Given(vectors)
        cached = embedder.cached(file)
        cached.embed(items, prompt_name=role)
        cached.store.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
