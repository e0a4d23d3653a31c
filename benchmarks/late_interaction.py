"""What late interaction costs and finds: tables for docs/late-interaction.md, by one command.

    python -m benchmarks.late_interaction

Prints Markdown. The numbers are those of exact search, without Qdrant, whose index can only come near to them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks import demo_corpus
from vllm_jina_embed._arrays import Floats
from vllm_jina_embed.demo.concepts import CONCEPTS
from vllm_jina_embed.embedder import JinaEmbedder
from vllm_jina_embed.late_interaction import Storage, size_of
from vllm_jina_embed.pooling.token_reduction import pool_tokens
from vllm_jina_embed.scoring.maxsim import maxsim

K = 10
CANDIDATES = (10, 50, 100, 200, 400, 800)
FACTORS = (2, 3, 4, 6)
PAGE_TOKENS, TOKEN_DIMENSIONS, DIMENSIONS = 768, 128, 2048
TIE = 1e-4
"""Scores that differ by less are equal: float32's noise over the sums of some dozen products."""
STORAGES = {
    "float32": Storage(),
    "float16": Storage(datatype="float16"),
    "float16, scalar": Storage(datatype="float16", quantization="scalar"),
    "float16, binary": Storage(datatype="float16", quantization="binary"),
    "float16, pool_factor=3": Storage(datatype="float16", pool_factor=3),
    "float16, binary, pool_factor=3": Storage(datatype="float16", quantization="binary", pool_factor=3),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Both kinds of vector of a corpus and of its queries."""

    queries: list[demo_corpus.Item]
    items: list[demo_corpus.Item]
    cosines: Floats
    asked: list[Floats]
    told: list[Floats]


def size_table() -> list[str]:
    """Return the bytes that a page of 768 tokens takes, row by row."""
    lines = ["| storage | multi-vector | embedding | quantised copy |", "|---|---:|---:|---:|"]
    for name, storage in STORAGES.items():
        size = size_of(PAGE_TOKENS, token_dimensions=TOKEN_DIMENSIONS, dimensions=DIMENSIONS, storage=storage)
        lines.append(f"| {name} | {size.multi_vector:,} | {size.embedding:,} | {size.quantized:,} |")
    return lines


def measured(embedder: JinaEmbedder, items: list[demo_corpus.Item], queries: list[demo_corpus.Item]) -> Measured:
    """Embed a corpus and its queries."""
    asked, told = ([item.content for item in part] for part in (queries, items))
    return Measured(
        queries=queries,
        items=items,
        cosines=embedder.score(asked, told),
        asked=embedder.embed_multi_vector(asked, prompt_name="query"),
        told=embedder.embed_multi_vector(told, prompt_name="passage"),
    )


def recall(found: npt.NDArray[np.intp], scores: Floats, k: int = K) -> float:
    """Return the share of the ``k`` best items by ``scores`` ``(n_queries, n_items)`` among ``found`` ``(n, k)``.

    Items with the score of the last of them are as good as it.
    """
    last = np.sort(scores, axis=1)[:, -k]
    right = np.take_along_axis(scores, found[:, :k], axis=1) >= last[:, None] - TIE
    return float(right.mean())


def best(scores: Floats, k: int = K) -> npt.NDArray[np.intp]:
    """Return the ``k`` best items of each query, best first."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def two_stages(cosines: Floats, scores: Floats, candidates: int) -> npt.NDArray[np.intp]:
    """Return the best items by ``scores`` among the best ``candidates`` by ``cosines``."""
    selected = best(cosines, candidates)
    order = best(np.take_along_axis(scores, selected, axis=1))
    return np.take_along_axis(selected, order, axis=1)


def candidates_table(found: Measured) -> list[str]:
    """Return what the first stage costs in recall@10 of exact MaxSim, by its candidates."""
    exact = maxsim(found.asked, found.told)
    lines = ["| candidates | recall@10 |", "|---:|---:|"]
    shares = (recall(two_stages(found.cosines, exact, count), exact) for count in CANDIDATES)
    return [*lines, *(f"| {count} | {share:.3f} |" for count, share in zip(CANDIDATES, shares, strict=True))]


def pooling_table(found: Measured) -> list[str]:
    """Return what fewer rows or bits cost in recall@10 of exact MaxSim, and how often the nearest item is right."""
    exact = maxsim(found.asked, found.told)
    lines = ["| kept of each item | rows per item | recall@10 | nearest is right |", "|---|---:|---:|---:|"]
    lines.append(_row("the embedding alone", 1, found, found.cosines, exact))
    variants = {"every token, float32": found.told}
    variants["every token, float16"] = [rows.astype(np.float16).astype(np.float32) for rows in found.told]
    for factor in FACTORS:
        variants[f"`pool_factor={factor}`"] = [pool_tokens(rows, factor) for rows in found.told]
    for name, told in variants.items():
        rows = float(np.mean([len(one) for one in told]))
        lines.append(_row(name, rows, found, maxsim(found.asked, told), exact))
    return lines


def _row(name: str, rows: float, found: Measured, scores: Floats, exact: Floats) -> str:
    ranked = best(scores)
    concepts = [item.concept for item in found.items]
    right = [concepts[row[0]] == query.concept for row, query in zip(ranked, found.queries, strict=True)]
    return f"| {name} | {rows:.1f} | {recall(ranked, exact):.3f} | {np.mean(right):.3f} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables and return 0."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.late_interaction",
        description="Measure two-stage retrieval and token pooling on the demo's drawings and sentences.",
    )
    parser.add_argument("--model", default="demo", help="checkpoint to embed with (the embedded one)")
    parser.add_argument("--images", type=int, default=13, help="drawings per concept (%(default)s)")
    parser.add_argument("--concepts", type=int, default=len(CONCEPTS), help="of the demo's (%(default)s)")
    options = parser.parse_args(arguments)
    concepts = CONCEPTS[: options.concepts]
    items, queries = demo_corpus.items(options.images, concepts=concepts), demo_corpus.queries(concepts=concepts)
    with JinaEmbedder(options.model) as embedder:
        found = measured(embedder, items, queries)
    tables = {
        f"Bytes of a page of {PAGE_TOKENS} tokens, {TOKEN_DIMENSIONS} numbers a row": size_table(),
        f"{len(queries)} queries, {len(items)} items: candidates": candidates_table(found),
        f"{len(queries)} queries, {len(items)} items: what is kept": pooling_table(found),
    }
    for title, lines in tables.items():
        print("\n".join([f"{title}:", "", *lines, ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
