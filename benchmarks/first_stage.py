"""Which one vector for each multi-vector finds the candidates of MaxSim: the mean of its rows, or MUVERA's encoding.

    python -m benchmarks.first_stage

Prints Markdown: of the ten best by exact MaxSim, the share among the first hundred by each vector.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import demo_corpus
from benchmarks.late_interaction import recall, two_stages
from benchmarks.machine import machine
from vllm_jina_embed._arrays import Floats
from vllm_jina_embed.embedder import JinaEmbedder
from vllm_jina_embed.pooling.single_vector import normalize
from vllm_jina_embed.scoring.maxsim import maxsim

CANDIDATES = (10, 100)
SEED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """MUVERA's fixed-dimensional encoding: its sizes.

    Source: "MUVERA: Multi-Vector Retrieval via Fixed Dimensional Encodings", arXiv:2405.19504, section 2.1.

    Attributes:
        repetitions: Independent partitions of the space.
        planes: Random hyperplanes of each: ``2 ** planes`` cells.
        projected: Numbers that are kept of a cell's vector.
    """

    repetitions: int
    planes: int
    projected: int

    @property
    def dimensions(self) -> int:
        """Length of an encoding."""
        return int(self.repetitions * 2**self.planes * self.projected)

    def of(self, multi_vectors: Sequence[Floats], *, is_query: bool) -> Floats:
        """Return the encodings ``(n, dimensions)``: of a query the sum of the rows in each cell, of an item their mean.

        An item's empty cell takes the row whose cell differs in the fewest planes; a query's is zero.
        """
        rng = np.random.default_rng(SEED)
        length = multi_vectors[0].shape[1]
        found = np.zeros((len(multi_vectors), self.repetitions, 2**self.planes, self.projected), dtype=np.float32)
        for repetition in range(self.repetitions):
            planes = rng.normal(size=(length, self.planes)).astype(np.float32)
            signs = rng.choice([-1, 1], size=(length, self.projected)).astype(np.float32)
            projection = signs / np.sqrt(np.float32(self.projected))
            for number, rows in enumerate(multi_vectors):
                cells = ((rows @ planes > 0) * 2 ** np.arange(self.planes)).sum(1)
                found[number, repetition] = self._cells(rows, cells, is_query) @ projection
        return found.reshape(len(multi_vectors), -1)

    def _cells(self, rows: Floats, cells: np.ndarray, is_query: bool) -> Floats:
        sums = np.zeros((2**self.planes, rows.shape[1]), dtype=np.float32)
        np.add.at(sums, cells, rows)
        if is_query:
            return sums
        counts = np.bincount(cells, minlength=2**self.planes)
        sums[counts > 0] /= counts[counts > 0, None]
        for empty in np.flatnonzero(counts == 0):
            differ = [int(cell ^ empty).bit_count() for cell in cells]
            sums[empty] = rows[int(np.argmin(differ))]
        return sums


ENCODINGS = (
    Encoding(repetitions=2, planes=3, projected=8),
    Encoding(repetitions=10, planes=4, projected=16),
    Encoding(repetitions=20, planes=4, projected=32),
)


def means(multi_vectors: Sequence[Floats]) -> Floats:
    """Return the mean of each multi-vector's rows, of norm 1: what ``LateInteractionIndex`` takes."""
    return np.stack([normalize(rows.mean(0)) for rows in multi_vectors])


def table(asked: Sequence[Floats], told: Sequence[Floats], cosines: Floats) -> list[str]:
    """Return the share of MaxSim's ten best that each first stage passes on."""
    exact = maxsim(asked, told)
    stages = {
        f"the model's own embedding | {told[0].shape[1]}": cosines,
        f"the mean of the rows | {told[0].shape[1]}": means(asked) @ means(told).T,
    }
    for encoding in ENCODINGS:
        sizes = f"{encoding.repetitions} x 2^{encoding.planes} x {encoding.projected}"
        scores = encoding.of(asked, is_query=True) @ encoding.of(told, is_query=False).T
        stages[f"MUVERA, {sizes} | {encoding.dimensions:,}"] = scores
    heads = " | ".join(f"among {count}" for count in CANDIDATES)
    lines = [f"| first stage | numbers | {heads} |", "|---|---:|" + "---:|" * len(CANDIDATES)]
    for name, scores in stages.items():
        shares = " | ".join(f"{recall(two_stages(scores, exact, count), exact):.3f}" for count in CANDIDATES)
        lines.append(f"| {name} | {shares} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and return 0."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.first_stage",
        description="Compare first stages of MaxSim on the demo's drawings and sentences.",
    )
    parser.add_argument("--model", default="demo", help="checkpoint to embed with (the embedded one)")
    parser.add_argument("--images", type=int, default=13, help="drawings per concept (%(default)s)")
    options = parser.parse_args(arguments)
    queries, items = (
        [one.content for one in part] for part in (demo_corpus.queries(), demo_corpus.items(options.images))
    )
    with JinaEmbedder(options.model) as embedder:
        asked = embedder.embed_multi_vector(queries, prompt_name="query")
        told = embedder.embed_multi_vector(items)
        cosines = embedder.score(queries, items, multi_vector=False)
    print(", ".join(f"{name}: {value}" for name, value in machine().items()), "\n")
    print(f"{len(queries)} queries, {len(items)} items:\n")
    print("\n".join(table(asked, told, cosines)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
