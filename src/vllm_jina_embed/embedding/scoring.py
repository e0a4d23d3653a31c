"""Score items against queries: cosines of embeddings, or MaxSim of multi-vectors.

Items are read as a stream, so that only one window of their multi-vectors is held.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from .._arrays import Floats
from .._instruments import CALL
from .._telemetry import common, compared
from ..checkpoints.description import Model
from ..errors import ConfigError
from ..inputs import items as inputs
from ..inputs.items import EmbedInput
from ..scoring.maxsim import maxsim
from .streams import WINDOW, astream, stream


def score(
    call: Callable[..., Any], queries: Iterable[EmbedInput], items: Iterable[EmbedInput], bar: tqdm[Any], model: str
) -> Floats:
    """Return the scores ``(n_queries, n_items)``; ``call`` embeds checked items in a role, by ``model``."""
    with compared(common("score", model, **{CALL: "score"})):
        query_rows = call(inputs.mixed(queries, name="queries"), "query")
        item_rows = stream(items, lambda batch: call(batch, "passage"), bar)
        return _joined([_compare(query_rows, window) for window in _windows(item_rows)], len(query_rows))


async def ascore(
    call: Callable[..., Coroutine[Any, Any, Any]],
    queries: Iterable[EmbedInput],
    items: Iterable[EmbedInput],
    bar: tqdm[Any],
    model: str,
) -> Floats:
    """Await ``score``."""
    with compared(common("score", model, **{CALL: "score"})):
        query_rows = await call(inputs.mixed(queries, name="queries"), "query")
        item_rows = astream(items, lambda batch: call(batch, "passage"), bar)
        return _joined([_compare(query_rows, window) async for window in _awindows(item_rows)], len(query_rows))


def overrides(row: Model, multi_vector: bool | None, dimensions: int | None, task: str | None) -> dict[str, Any]:
    """Return the overrides of the requests behind a score, which are those of multi-vectors if that or ``row`` says so.

    Raises:
        ConfigError: ``dimensions`` is passed, and multi-vectors are compared.
    """
    if not (row.score == "maxsim" if multi_vector is None else multi_vector):
        single = {"dimensions": dimensions, "task": task, "normalize": True, "show_progress": False}
        return {**single, "output_dtype": "float32"}  # whatever the embedder's own is
    if dimensions is not None:
        raise ConfigError(f"dimensions={dimensions!r}: multi-vectors have no Matryoshka sizes; leave it out.")
    return {"multi_vector": True, "task": task, "show_progress": False}


def _windows(rows: Iterator[Floats]) -> Iterator[list[Floats]]:
    while window := list(islice(rows, WINDOW)):
        yield window


async def _awindows(rows: AsyncIterator[Floats]) -> AsyncIterator[list[Floats]]:
    window: list[Floats] = []
    async for row in rows:
        window.append(row)
        if len(window) == WINDOW:
            yield window
            window = []
    if window:
        yield window


def _compare(queries: Any, items: Sequence[Floats]) -> Floats:
    """Return the scores of embeddings ``(d,)``, or of multi-vectors ``(n, d)`` with NaN for empty ones."""
    if isinstance(queries, np.ndarray):
        return np.asarray(queries @ np.stack(items).T, dtype=np.float32)
    left = [row for row, query in enumerate(queries) if len(query)]
    right = [row for row, item in enumerate(items) if len(item)]
    scores = np.full((len(queries), len(items)), np.nan, dtype=np.float32)
    scores[np.ix_(left, right)] = maxsim([queries[row] for row in left], [items[row] for row in right])
    return scores


def _joined(parts: Sequence[Floats], queries: int) -> Floats:
    return np.concatenate(parts, axis=1) if parts else np.empty((queries, 0), dtype=np.float32)
