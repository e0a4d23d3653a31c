"""How well items answer queries: cosines of embeddings, or MaxSim of multi-vectors.

Enters: queries and items as callers pass them. Leaves: a float32 matrix. Items are read as a stream, so that only one
window of their multi-vectors is held. This file refuses to know how items become vectors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from .._arrays import Floats
from ..errors import ConfigError
from ..inputs import items as inputs
from ..inputs.items import Checked, EmbedInput
from ..scoring.maxsim import maxsim
from .streams import WINDOW, astream, stream


class Scores(ABC):
    """``score`` and ``ascore`` of an embedder, over the calls that it has."""

    @abstractmethod
    def _wait(self, items: list[Checked], prompt_name: str, /, **overrides: Any) -> Floats: ...
    @abstractmethod
    async def _await(self, items: list[Checked], prompt_name: str, /, **overrides: Any) -> Floats: ...
    @abstractmethod
    def _wait_multi(self, items: list[Checked], prompt_name: str, /, **overrides: Any) -> list[Floats]: ...
    @abstractmethod
    async def _await_multi(self, items: list[Checked], prompt_name: str, /, **overrides: Any) -> list[Floats]: ...
    @abstractmethod
    def _bar(self, total: int | None, show_progress: bool | None) -> tqdm[Any]: ...

    def score(
        self,
        queries: Iterable[EmbedInput],
        items: Iterable[EmbedInput],
        *,
        multi_vector: bool = False,
        dimensions: int | None = None,
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> Floats:
        """Return how well each item answers each query.

        Args:
            queries: Texts, which get the query prefix, and pictures, as in ``embed``.
            items: Texts, which get the passage prefix, and pictures, mixed; any iterable, read as it is needed.
            multi_vector: Whether to compare all tokens by MaxSim, which is slower and finer, or one vector each.
            dimensions: Matryoshka size for this call; None takes the embedder's. Multi-vectors have none.
            task: For this call; None takes the embedder's.
            show_progress: For this call; None takes the embedder's.

        Returns:
            float32, shape ``(n_queries, n_items)``. Cosines lie between -1 and 1, MaxSim between minus and plus the
            query's number of tokens. With ``on_error="skip"``, bad queries and items have NaN.

        Raises:
            InputError: Names every bad query, or else the bad items of the first window that has some.
            ConfigError: ``dimensions`` is no Matryoshka size, or stands beside ``multi_vector=True``, or the checkpoint
                does not serve ``task``.
            ClosedError: After ``close()``.
        """
        call: Callable[..., Any] = partial(
            self._wait_multi if multi_vector else self._wait, **_overrides(multi_vector, dimensions, task)
        )
        asked = call(inputs.mixed(queries, name="queries"), "query")
        told = stream(items, lambda batch: call(batch, "passage"), self._bar(None, show_progress))
        return _joined([_compare(asked, window) for window in _windows(told)], len(asked))

    async def ascore(
        self,
        queries: Iterable[EmbedInput],
        items: Iterable[EmbedInput],
        *,
        multi_vector: bool = False,
        dimensions: int | None = None,
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> Floats:
        """Await ``score``."""
        call: Callable[..., Coroutine[Any, Any, Any]] = partial(
            self._await_multi if multi_vector else self._await, **_overrides(multi_vector, dimensions, task)
        )
        asked = await call(inputs.mixed(queries, name="queries"), "query")
        told = astream(items, lambda batch: call(batch, "passage"), self._bar(None, show_progress))
        return _joined([_compare(asked, window) async for window in _awindows(told)], len(asked))


def _overrides(multi_vector: bool, dimensions: int | None, task: str | None) -> dict[str, Any]:
    if not multi_vector:
        return {"dimensions": dimensions, "task": task, "show_progress": False}
    if dimensions is not None:
        raise ConfigError(f"dimensions={dimensions!r}: multi-vectors have no Matryoshka sizes; leave it out.")
    return {"task": task, "show_progress": False}


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
    asked = [row for row, query in enumerate(queries) if len(query)]
    told = [row for row, item in enumerate(items) if len(item)]
    scores = np.full((len(queries), len(items)), np.nan, dtype=np.float32)
    scores[np.ix_(asked, told)] = maxsim([queries[row] for row in asked], [items[row] for row in told])
    return scores


def _joined(parts: Sequence[Floats], queries: int) -> Floats:
    return np.concatenate(parts, axis=1) if parts else np.empty((queries, 0), dtype=np.float32)
