"""An embedding for each text and image of a folder, or the reason why it has none; one bad item stops no other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

from tqdm.auto import tqdm

from .._arrays import Floats
from ..errors import InputError
from .computed import Computed, is_unit, key_of

WINDOW = 256
"""Texts and images that are embedded together."""
WINDOW_BYTES = 32 * 1024 * 1024
"""Bytes of them after which no further one joins."""
AT_ONCE = 2
"""Windows that are in the engine at the same time, so that it never waits for the next one."""

Content: TypeAlias = str | bytes
"""A text, whatever it looks like, or an encoded image."""
Answer: TypeAlias = "Floats | str"
"""An embedding ``(dimension,)``, or why there is none."""


@dataclass(frozen=True, slots=True)
class _Window:
    """Some neighbours: their keys, what an earlier run computed of them, and what is computed of the others."""

    keys: list[bytes]
    known: dict[int, Floats]
    future: Future[list[Answer]]


def answers(items: Iterable[Content], embedder: Any, computed: Computed) -> Iterator[Answer]:
    """Yield one answer per item, in order; at most three windows are read ahead.

    Args:
        items: Texts and encoded images.
        embedder: A ``JinaEmbedder``.
        computed: Keeps each embedding before it is yielded, and gives those of an earlier run.

    Raises:
        UnwrittenError: An embedding cannot be kept.
        EngineError: The engine cannot answer.
    """
    bar = tqdm(desc="Embedding", unit="item", disable=not embedder.settings.show_progress)
    with bar, ThreadPoolExecutor(AT_ONCE) as pool:
        waiting: deque[_Window] = deque()
        try:
            for window in _windows(items):
                keys = [key_of(item) for item in window]
                known = {at: row for at, key in enumerate(keys) if (row := computed.get(key)) is not None}
                missing = [item for at, item in enumerate(window) if at not in known]
                waiting.append(_Window(keys, known, pool.submit(_embed, embedder, missing)))
                if len(waiting) > AT_ONCE:
                    yield from _done(waiting.popleft(), computed, bar)
            while waiting:
                yield from _done(waiting.popleft(), computed, bar)
        finally:
            for rest in waiting:
                rest.future.cancel()


def _windows(items: Iterable[Content]) -> Iterator[list[Content]]:
    window: list[Content] = []
    size = 0
    for item in items:
        window.append(item)
        size += len(item)
        if len(window) == WINDOW or size >= WINDOW_BYTES:
            yield window
            window, size = [], 0
    if window:
        yield window


def _done(window: _Window, computed: Computed, bar: tqdm[Any]) -> list[Answer]:
    """Wait for a window, keep its embeddings, and return its answers."""
    new = iter(window.future.result())
    found = [window.known[at] if at in window.known else next(new) for at in range(len(window.keys))]
    good = [(key, row) for key, row in zip(window.keys, found, strict=True) if not isinstance(row, str)]
    computed.add([key for key, _ in good], [row for _, row in good])
    bar.update(len(found))
    return found


def _embed(embedder: Any, items: list[Content]) -> list[Answer]:
    texts = iter(_rows(embedder.embed_passages, [item for item in items if isinstance(item, str)]))
    images = iter(_rows(embedder.embed_images, [item for item in items if not isinstance(item, str)]))
    return [next(texts) if isinstance(item, str) else next(images) for item in items]


def _rows(call: Callable[..., Floats], items: Sequence[Content]) -> list[Answer]:
    """Return what ``call`` gives for each item, and for each bad one what it says of it."""
    if not items:
        return []
    try:
        return [_checked(row) for row in call(items, show_progress=False, on_error="raise")]
    except InputError as error:
        reasons = dict(zip(error.positions, error.reasons, strict=False))  # an item's index in a window means nothing
        rows = error.embeddings
        if rows is None:  # the call as a whole
            raise
        return [reasons[at] if at in reasons else _checked(rows[at]) for at in range(len(items))]


def _checked(row: Floats) -> Answer:
    return row if is_unit(row) else "the model gave no finite vector for it."
