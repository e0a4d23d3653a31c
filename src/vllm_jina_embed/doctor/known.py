"""Embed three items by the demo checkpoint and print how far the vectors are from the known ones; run in a process.

The known vectors are those of transformers in float32 (``scripts/known_vectors.py`` writes them), so this also sees
what the engine's own check at its start cannot: wrong token states.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .._arrays import Floats
from ..embedder import JinaEmbedder
from ..engine.local.processes import end_with_thread
from ..errors import VllmJinaError

FILE = Path(__file__).with_name("known_vectors.json")
QUERY, PASSAGE = "wo ist der Wald?", "a red circle"


def image() -> Image.Image:
    """Return an image of 56 x 84 pixels, which the model takes in its own size."""
    rows, columns = np.mgrid[0:84, 0:56]
    pixels = np.stack([rows * 3, columns * 4, (rows + columns) * 1], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def known_vectors() -> Floats:
    """Return the vectors of the query, the passage and the image, shape ``(3, 128)``, rows of L2 norm 1."""
    vectors: Floats = np.array(json.loads(FILE.read_text(encoding="utf-8"))["vectors"], np.float32)
    return vectors


def distances(embedder: JinaEmbedder) -> list[float]:
    """Return 1 - cosine of each item's vector to the known one; NaN where a number is NaN."""
    rows = [embedder.embed_queries([QUERY]), embedder.embed_passages([PASSAGE]), embedder.embed_images([image()])]
    vectors, known = np.concatenate(rows).astype(np.float64), known_vectors().astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(known, axis=1)
    return [float(1 - cosine) for cosine in (vectors * known).sum(1) / norms]


def main(parent: int, share: str) -> None:
    """Print a line of JSON: the distances and the seconds of the start, or an error.

    Args:
        parent: Process id of the command, with which this process ends.
        share: Part of the GPU's memory for vLLM; "" for its default.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    end_with_thread(parent)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "INFO")
    began = time.monotonic()
    options: dict[str, Any] = {"gpu_memory_utilization": float(share)} if share else {}
    try:
        with JinaEmbedder("demo", engine_kwargs=options) as embedder:
            embedder.embed_queries([QUERY])
            seconds = time.monotonic() - began
            answer: dict[str, Any] = {"seconds": seconds, "distances": distances(embedder)}
    except (VllmJinaError, OSError, RuntimeError, ImportError) as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    out.write(json.dumps(answer) + "\n")
    out.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
