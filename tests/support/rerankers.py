"""What the tests of each reranker share: pairs, and how far scores are from transformers'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.support.cells import Cells, modality
from vllm_jina_embed import RankingModel

GATE = 1e-5
"""Largest difference of two scores in float32."""
FLOAT32 = {"engine_kwargs": {"dtype": "float32"}}
QUERY = "Where does the quick brown fox live?"
LONG = "the quick brown fox " * 60
DOCUMENTS = [
    "a",
    "the quick brown fox",
    "Ein wunderschöner Sonnenuntergang am Strand",
    "浜辺に沈む美しい夕日 🙂",
    "  two  spaces,\nand a line",
    "\n\nlines around\n",
    "def add(a, b): return a + b",
    LONG,
]


def gap(got: Sequence[float] | np.ndarray, right: Sequence[float] | np.ndarray) -> float:
    """Return, and print, the largest difference of scores; NaN if there is one among them."""
    found = float(np.abs(np.asarray(got, dtype=np.float64) - np.asarray(right, dtype=np.float64)).max())
    print(f"scores {np.min(right):.3f} to {np.max(right):.3f}: at most {found:.1e} apart")
    return found


def check_planted(pairs: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, float]:
    """Check that each mistake shows in the score of a pair: one number may be the same by chance, all are not.

    Args:
        pairs: The score of each pair, and by its name what each mistake gives for it.

    Returns:
        By its name, how far the scores of each mistake are.
    """
    names = list(pairs[0][1])
    gaps = {name: max(abs(score - mistakes[name]) for score, mistakes in pairs) for name in names}
    print({name: f"{one:.1e}" for name, one in gaps.items()})
    assert min(gaps.values()) > 100 * GATE, gaps
    return gaps


class Judged:
    """Writes figures of scores for docs/rerank.md (`python -m benchmarks.rankers`)."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    def scores(
        self, row: RankingModel, query: Any, documents: Sequence[Any], got: np.ndarray, right: Sequence[float]
    ) -> float:
        """Record by the kinds of query and document, print and return the largest difference; NaN if there is one.

        Args:
            row: The row whose checkpoint computed them.
            query: As it was passed.
            documents: As they were passed.
            got: Their scores.
            right: The same by transformers.
        """
        kinds = np.array([modality(one) for one in documents])
        apart = np.abs(np.asarray(got, dtype=np.float64) - np.asarray(right, dtype=np.float64))
        for kind in dict.fromkeys(kinds.tolist()):
            figures = {"modality": modality(query), "kind": kind, "gap": float(apart[kinds == kind].max())}
            print(f"{row.name}: {figures}")
            self._cells.write(row, figures)
        return float(apart.max())

    def planted(self, row: RankingModel, gaps: Mapping[str, float]) -> None:
        """Record, by name, how far the scores of planted mistakes are."""
        self._cells.write(row, {"mistakes": dict(gaps)})
