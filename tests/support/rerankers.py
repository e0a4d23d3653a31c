"""What the tests of each reranker share: pairs, and how far scores are from transformers'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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


def check_planted(score: float, mistakes: Mapping[str, float]) -> None:
    """Check that a score is far from those that mistakes give."""
    gaps: dict[str, Any] = {name: abs(score - wrong) for name, wrong in mistakes.items()}
    print({name: f"{one:.1e}" for name, one in gaps.items()})
    assert min(gaps.values()) > 100 * GATE, gaps
