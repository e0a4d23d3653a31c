"""What the tests of the rows record for docs/models.md (`make models`): how far vectors are from transformers'."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vllm_jina_embed import Model
from vllm_jina_embed.checkpoints.row import Row


def modality(item: Any) -> str:
    """Return of what an item is, as users pass it: ``text``, ``image`` (one or several) or ``both``."""
    if isinstance(item, str):
        return "text"
    return "both" if isinstance(item, Mapping) else "image"


class Cells:
    """Writes a test's figures as JSON lines, one for each cell of the page, and one for the planted mistakes.

    Args:
        file: They are appended to it; None for nowhere.
        test: The test's file, from the root of the repository.
    """

    def __init__(self, file: Path | None, test: str) -> None:
        self._file, self._test = file, test

    def measure(
        self, row: Model, kind: str, items: Sequence[Any], got: Sequence[np.ndarray], right: Sequence[np.ndarray]
    ) -> float:
        """Record, print and return the largest 1 - cosine over all rows of all items; NaN if any row has one.

        Args:
            row: The row whose checkpoint computed them.
            kind: ``dense`` or ``multi``.
            items: What was embedded, as it was passed.
            got: Of each item its vector ``(dimensions,)``, or its rows ``(n_tokens, dimensions)``.
            right: The same by transformers, in the same shapes.
        """
        from tests.support.reference import distance  # torch, which the unit tests do without

        assert [one.shape for one in got] == [one.shape for one in right]
        of_items = [(modality(item), distance(*two)) for item, *two in zip(items, got, right, strict=True)]
        kinds, gaps = (np.array(column) for column in zip(*of_items, strict=True))
        for name in dict.fromkeys(kinds.tolist()):
            place = int(np.argmax(np.where(kinds == name, gaps, -np.inf)))
            print(f"{row.name}, {name}, {kind}: 1 - cosine at most {gaps[place]:.1e}, of items[{place}]")
            self.write(row, {"modality": name, "kind": kind, "gap": float(gaps[place])})
        return float(gaps.max())

    def planted(self, row: Model, gaps: Mapping[str, float]) -> float:
        """Record, by name, 1 - cosine between the row's vectors and planted mistakes; print and return the smallest."""
        self.write(row, {"mistakes": dict(gaps)})
        names, values = list(gaps), np.array(list(gaps.values()))
        place = int(np.argmin(values))
        print(f"{row.name}: the nearest mistake is {names[place]!r}, {values[place]:.1e}")
        return float(values[place])

    def write(self, row: Row, figures: Mapping[str, Any]) -> None:
        """Append a line with these figures of a row."""
        if self._file is None:
            return
        line = json.dumps({"row": row.name, "digest": row.digest, "test": self._test, **figures}) + "\n"
        with self._file.open("a") as file:
            file.write(line)
