"""What the tests of each reranker share: pairs, and how far scores are from transformers'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

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


def check_planted(pairs: Sequence[tuple[float, Mapping[str, float]]]) -> None:
    """Check that each mistake shows in the score of a pair: one number may be the same by chance, all are not.

    Args:
        pairs: The score of each pair, and by its name what each mistake gives for it.
    """
    names = list(pairs[0][1])
    gaps = {name: max(abs(score - mistakes[name]) for score, mistakes in pairs) for name in names}
    print({name: f"{one:.1e}" for name, one in gaps.items()})
    assert min(gaps.values()) > 100 * GATE, gaps
