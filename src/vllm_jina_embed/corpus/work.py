"""Load entries ahead in threads and embed them in windows, in order; a bad one stops no other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeAlias, TypeVar

from .._arrays import Floats
from .._cores import usable_cores
from ..inputs.items import BothItem, Checked, ImageItem, TextItem
from ..pooling.token_reduction import pool_tokens
from .entries import Content, Entry, item_error
from .kinds import ItemError

THREADS = 8
"""Most threads that load; one for each core of smaller machines."""
AHEAD = 256
"""Entries that are loaded ahead at most."""
WINDOW = 256
"""Items that are embedded together."""
WINDOW_PIXELS = 64_000_000
"""Pixels of a window after which no further item joins: 192 MB."""
WINDOW_BYTES = 256 * 1024 * 1024
"""Bytes of texts, and about of multi-vectors, after which no further item joins."""
BYTES_A_TOKEN, PIXELS_A_TOKEN = 4, 28 * 28
"""About what one token of a text or an image stands for."""
AT_ONCE = 2
"""Windows that are in the engine at the same time, so that it never waits for the next one."""

Mark = TypeVar("Mark")
"""What stands between entries and is passed on in its place: the end of a shard."""
Loaded: TypeAlias = "Content | ItemError | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """What is computed of each item.

    Attributes:
        embedder: A ``JinaEmbedder``.
        embedding: Whether to compute embeddings.
        multi_vector: Whether to compute multi-vectors.
        pool_factor: Of multi-vectors, see ``pool_tokens``.
        prompt_name: ``query`` or ``passage``.
    """

    embedder: Any
    embedding: bool = True
    multi_vector: bool = False
    pool_factor: int = 1
    prompt_name: str = "passage"

    @property
    def token_bytes(self) -> int:
        """Bytes of a token's vector; 0 where multi-vectors are not computed."""
        return 4 * int(self.embedder.settings.checkpoint.token_dimensions or 0) if self.multi_vector else 0


@dataclass(slots=True, kw_only=True)
class Result:
    """An entry with its vectors or its error.

    Attributes:
        entry: The entry.
        content: What was embedded; None where it could not be loaded, or where there is nothing of the kind.
        embedding: float32 ``(dimensions,)``.
        multi_vector: float32 ``(n_tokens, token_dimensions)``.
        error: Why it has no vector.
        kind: As of its content.
        was_cut: Whether its text was longer than ``max_length``.
    """

    entry: Entry
    content: Content | None = None
    embedding: Floats | None = None
    multi_vector: Floats | None = None
    error: ItemError | None = None
    kind: str = "text"
    was_cut: bool = False

    @property
    def numbers(self) -> int:
        """How many numbers its vectors have."""
        return sum(rows.size for rows in (self.embedding, self.multi_vector) if rows is not None)

    @property
    def held_bytes(self) -> int:
        """About how many bytes it takes to hold it until it is written."""
        return 4 * self.numbers + (0 if self.content is None else self.content.held_bytes)


@dataclass(slots=True)
class _Window(Generic[Mark]):
    """Neighbours that are embedded together, and the marks between them."""

    parts: list[Result | Mark] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    pixels: int = 0
    held_bytes: int = 0

    def add(self, result: Result, content: Content, token_bytes: int) -> None:
        """Add an item that is embedded."""
        result.content = content
        self.results.append(result)
        pixels = content.image.pixel_count if content.image is not None else 0
        text = len(content.text.encode("utf-8", "surrogatepass")) if content.embeds_text else 0
        self.pixels += pixels
        self.held_bytes += content.held_bytes
        self.held_bytes += token_bytes * (text // BYTES_A_TOKEN + pixels // PIXELS_A_TOKEN)

    @property
    def is_full(self) -> bool:
        """Whether no further item joins."""
        is_large = self.pixels >= WINDOW_PIXELS or self.held_bytes >= WINDOW_BYTES
        return is_large or len(self.results) == WINDOW or len(self.parts) >= 4 * WINDOW


def loaded(
    entries: Iterable[Entry | Mark], check: Callable[[Content], Content] = lambda content: content
) -> Iterator[tuple[Entry, Loaded] | Mark]:
    """Yield each entry with its content or its error; marks stay where they are.

    Args:
        entries: Entries and marks.
        check: Called with each content; returns what to go on with, or raises.
    """
    threads = min(THREADS, usable_cores())
    waiting: deque[tuple[Entry, Future[Loaded] | Loaded] | Mark] = deque()
    slow = 0
    with ThreadPoolExecutor(threads, thread_name_prefix="corpus-load") as pool:
        try:
            for entry in entries:
                if not isinstance(entry, Entry):
                    waiting.append(entry)
                elif entry.error is not None or entry.quick:
                    waiting.append((entry, _load(entry, check)))
                else:
                    if entry.prepare is not None:
                        entry.prepare()
                    waiting.append((entry, pool.submit(_load, entry, check)))
                    slow += 1
                while slow > 2 * threads or len(waiting) > AHEAD:
                    slow -= _is_slow(waiting[0])
                    yield _resolved(waiting.popleft())
            while waiting:
                yield _resolved(waiting.popleft())
        finally:
            for part in waiting:
                if isinstance(part, tuple) and isinstance(part[1], Future):
                    part[1].cancel()


def _is_slow(part: Any) -> bool:
    return isinstance(part, tuple) and isinstance(part[1], Future)


def _resolved(part: Any) -> Any:
    if not isinstance(part, tuple):
        return part
    light = replace(part[0], load=None, prepare=None, signature=b"")  # a shard of rows waits to be written
    return light, part[1].result() if _is_slow(part) else part[1]


def _load(entry: Entry, check: Callable[[Content], Content]) -> Loaded:
    if entry.error is not None:
        return entry.error
    assert entry.load is not None
    try:
        content = entry.load()
        return None if content is None else check(content)
    except Exception as error:  # one bad item ends no other
        return item_error(error, "image")


def embedded(
    parts: Iterable[tuple[Entry, Loaded] | Mark], vectors: Vectors, *, tell: Callable[[], None] = lambda: None
) -> Generator[Result | Mark, None, None]:
    """Yield the result of each entry, in order; marks stay where they are.

    ``tell`` is called once the results of a window were taken: in the middle of one, no rate would mean anything.

    Raises:
        EngineError: The engine cannot answer.
    """
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="corpus-embed") as pool:
        waiting: deque[tuple[_Window[Mark], Future[None]]] = deque()
        try:
            for window in _windows(parts, vectors.token_bytes):
                waiting.append((window, pool.submit(_embed, window.results, vectors)))
                if len(waiting) > AT_ONCE:
                    yield from _done(*waiting.popleft())
                    tell()
            while waiting:
                yield from _done(*waiting.popleft())
                tell()
        finally:
            for _, future in waiting:
                future.cancel()


def _done(window: _Window[Mark], future: Future[None]) -> Iterator[Result | Mark]:
    future.result()
    yield from window.parts


def _windows(parts: Iterable[tuple[Entry, Loaded] | Mark], token_bytes: int) -> Iterator[_Window[Mark]]:
    window: _Window[Mark] = _Window()
    for part in parts:
        if not isinstance(part, tuple):
            window.parts.append(part)
            continue
        entry, content = part
        result = Result(entry=entry)
        window.parts.append(result)
        if isinstance(content, ItemError):
            result.error = content
        elif content is not None:
            window.add(result, content, token_bytes)
        if window.is_full:
            yield window
            window = _Window()
    if window.parts:
        yield window


def _embed(results: list[Result], vectors: Vectors) -> None:
    """Put the vectors or errors of a window into its results."""
    if not results:
        return
    items = [_item(position, result.content) for position, result in enumerate(results) if result.content is not None]
    rows = _rows(items, results, vectors)
    if vectors.embedding:
        for result, row in zip(results, rows.embeddings if vectors.multi_vector else rows, strict=True):
            result.embedding = row
    if vectors.multi_vector:
        for result, row in zip(results, rows.multi_vectors if vectors.embedding else rows, strict=True):
            result.multi_vector = pool_tokens(row, vectors.pool_factor)
    for result in results:
        if result.error is not None:
            result.embedding = result.multi_vector = None
        if result.content is not None:
            result.kind = result.content.kind
            result.content = replace(result.content, image=None)  # its pixels are not needed any more


def _rows(items: list[Checked], results: list[Result], vectors: Vectors) -> Any:
    kind = {"both": True} if vectors.embedding and vectors.multi_vector else {"multi_vector": vectors.multi_vector}
    outcome = vectors.embedder.outcome(items, vectors.prompt_name, **kind, show_progress=False)
    for error in outcome.errors:
        (position,) = error.positions
        results[position].error = ItemError(error.reason, kind=error.kind or "embedding")
    for position in outcome.truncated:
        results[position].was_cut = True
    return outcome.embeddings


def _item(position: int, content: Content) -> Checked:
    where = f"items[{position}]"
    if content.image is None:
        return TextItem(position=position, where=where, text=content.text)
    if content.kind == "both":
        return BothItem(position=position, where=where, text=content.text, images=(content.image,))
    return ImageItem(position=position, where=where, images=(content.image,))
