"""What smaller types of embeddings cost and find: the table of docs/late-interaction.md, by one command.

    python -m benchmarks.smaller_embeddings

Prints Markdown. Questions are in the type of the items; bits are compared by their Hamming distance, all else by the
dot product of what the numbers stand for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmarks import demo_corpus
from benchmarks.late_interaction import K, best, recall
from benchmarks.machine import machine
from vllm_jina_embed._arrays import Floats
from vllm_jina_embed.embedder import JinaEmbedder
from vllm_jina_embed.pooling.quantization import BYTES, DTYPES, PACKED, calibrated, default_ranges, quantized

MILLION = 1_000_000
SAMPLE = 1000
"""Items that ranges are measured on."""


def scores(queries: Floats, items: Floats, dtype: str, ranges: Floats | None = None) -> Floats:
    """Return how near float32 items are to float32 queries once both are in another type.

    Args:
        queries: float32, ``(n_queries, dimensions)``.
        items: float32, ``(n_items, dimensions)``.
        dtype: One of ``DTYPES``.
        ranges: Of int8 and uint8; None takes the default ones.

    Returns:
        float32, ``(n_queries, n_items)``: dot products; for bits, minus the number that differ.
    """
    asked, told = (quantized(part, dtype, ranges) for part in (queries, items))
    if dtype in PACKED:
        left, right = (np.unpackbits(part.view(np.uint8), axis=1).astype(np.float32) for part in (asked, told))
        return -(left.sum(1)[:, None] + right.sum(1) - 2 * left @ right.T)
    if dtype in BYTES:
        limits = default_ranges(queries.shape[1]) if ranges is None else ranges
        asked, told = (stands_for(part, dtype, limits) for part in (asked, told))
    return np.asarray(asked.astype(np.float32) @ told.astype(np.float32).T)


def stands_for(rows: npt.NDArray[np.integer], dtype: str, ranges: Floats) -> Floats:
    """Return the middle of each number's step."""
    start, end = ranges
    places = rows.astype(np.float32) + (128 if dtype == "int8" else 0)
    return np.asarray(start + (places + np.float32(0.5)) * (end - start) / np.float32(255))


def size(dtype: str, dimensions: int) -> int:
    """Return the bytes of one embedding."""
    return quantized(np.zeros((1, dimensions), dtype=np.float32), dtype).nbytes


def table(corpora: Sequence[tuple[Floats, Floats]]) -> list[str]:
    """Return recall@10 against float32 in each corpus, and what a million embeddings take."""
    dimensions = corpora[0][0].shape[1]
    heads = [f"{len(queries)} questions, {len(items)} items" for queries, items in corpora]
    lines = [f"| type | bytes | a million | {' | '.join(heads)} |", "|---|---:|---:|" + "---:|" * len(corpora)]
    for dtype in DTYPES:
        for is_measured in (False, True) if dtype in BYTES else (False,):
            shares = []
            for queries, items in corpora:
                ranges = calibrated(items[:SAMPLE]) if is_measured else None
                found = best(scores(queries, items, dtype, ranges))
                shares.append(f"{recall(found, queries @ items.T, K):.3f}")
            name, length = f"{dtype}{', calibrated' if is_measured else ''}", size(dtype, dimensions)
            lines.append(f"| {name} | {length} | {length * MILLION / 1e6:.0f} MB | {' | '.join(shares)} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and return 0."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.smaller_embeddings",
        description="Measure the recall@10 of smaller types of embeddings on the demo's drawings and sentences.",
    )
    parser.add_argument("--model", default="demo", help="checkpoint to embed with (the embedded one)")
    parser.add_argument("--images", type=int, nargs="+", default=[1, 13], help="drawings per concept of each corpus")
    options = parser.parse_args(arguments)
    queries = [query.content for query in demo_corpus.queries()]
    with JinaEmbedder(options.model) as embedder:
        asked = embedder.embed(queries, prompt_name="query")
        corpora = [
            (asked, embedder.embed([item.content for item in demo_corpus.items(images)])) for images in options.images
        ]
    print(", ".join(f"{name}: {value}" for name, value in machine().items()), "\n")
    print("\n".join(table(corpora)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
