"""Tell how far a run is: a line that changes on a terminal, a line of JSON now and then elsewhere."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TextIO

from .kinds import KINDS

EVERY = 30.0
"""Seconds between two lines of JSON."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a run is.

    Attributes:
        total: Bytes of all files.
        skipped: Bytes of items that an earlier run had done, or that another process does.
        read: Bytes of the items that this run has done.
        rows: Items with vectors of this run.
        errors: Items without, by kind.
        known: Items of earlier runs.
        shards: Shards that this run has finished.
        began: When the run began, by ``time.monotonic``.
    """

    total: int = 0
    skipped: int = 0
    read: int = 0
    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    known: int = 0
    shards: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.began

    @property
    def rate(self) -> float:
        """Items a second."""
        return (self.rows + sum(self.errors.values())) / max(1e-9, self.seconds)

    @property
    def seconds_left(self) -> float | None:
        """About how many seconds are left; None before there is anything to tell by."""
        left = self.total - self.skipped - self.read
        return max(0.0, left) * self.seconds / self.read if self.read else None


class Report(Protocol):
    """What a run tells."""

    def update(self, progress: Progress) -> None:
        """Take note of some more items."""
        ...

    def tell(self, text: str) -> None:
        """Tell something that happened."""
        ...

    def close(self) -> None:
        """Tell nothing more."""
        ...


class Silent:
    """Tells nothing."""

    def update(self, progress: Progress) -> None:
        """See ``Report``."""

    def tell(self, text: str) -> None:
        """See ``Report``."""

    def close(self) -> None:
        """See ``Report``."""


class TerminalReport:
    """Writes one line again and again."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._last = 0.0
        self._width = 0

    def update(self, progress: Progress) -> None:
        """See ``Report``; at most five times a second."""
        if (now := time.monotonic()) - self._last < 0.2:
            return
        self._last = now
        left = progress.seconds_left
        done = progress.skipped + progress.read
        share = f"{min(100, 100 * done // progress.total)} %  " if progress.total else ""
        line = (
            f"{share}{progress.rows + progress.known} items  {progress.rate:.1f}/s  "
            f"{sum(progress.errors.values())} errors  {'' if left is None else f'{duration(left)} left'}"
        )
        self._write(line)

    def tell(self, text: str) -> None:
        """See ``Report``."""
        self._write("")
        self._file.write(f"\r{text}\n")
        self._width = 0
        self._file.flush()

    def close(self) -> None:
        """Clear the line."""
        self._write("")
        self._file.write("\r")
        self._file.flush()

    def _write(self, line: str) -> None:
        self._file.write("\r" + line.ljust(self._width))
        self._width = len(line)
        self._file.flush()


class JsonReport:
    """Writes a line of JSON at most every ``EVERY`` seconds, and one for each event."""

    def __init__(self, file: TextIO, *, every: float = EVERY) -> None:
        self._file, self._every = file, every
        self._last = time.monotonic()

    def update(self, progress: Progress) -> None:
        """See ``Report``."""
        if (now := time.monotonic()) - self._last < self._every:
            return
        self._last = now
        left = progress.seconds_left
        self._line(
            {
                "event": "progress",
                "rows": progress.rows,
                "known": progress.known,
                "errors": sum(progress.errors.values()),
                "shards": progress.shards,
                "rows_per_second": round(progress.rate, 2),
                "seconds": round(progress.seconds, 1),
                "seconds_left": None if left is None else round(left),
            }
        )

    def tell(self, text: str) -> None:
        """See ``Report``."""
        self._line({"event": "message", "message": text})

    def close(self) -> None:
        """See ``Report``."""

    def _line(self, value: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(value) + "\n")
        self._file.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run did, and what the corpus holds after it.

    Attributes:
        rows: Items with vectors that this run computed.
        known: Items that earlier runs had computed.
        errors: Items without a vector by kind, of this run and of earlier ones.
        cut: Texts that were longer than ``max_length``, of this run.
        shards: Shards that this run finished.
        seconds: How long it took.
        complete: Whether every shard is done that this run was to do.
        out: The corpus.
        errors_in: Folder of the files that say of each item without a vector why.
    """

    rows: int
    known: int
    errors: Mapping[str, int]
    cut: int
    shards: int
    seconds: float
    complete: bool
    out: str
    errors_in: str

    def json(self) -> str:
        """Return it as a line of JSON."""
        return json.dumps({"event": "end", **asdict(self), "errors": dict(self.errors)})

    def text(self) -> str:
        """Return it as lines for people, with a table of the errors."""
        rate = f" ({self.rows / self.seconds:.1f}/s)" if self.rows and self.seconds else ""
        earlier = f", {self.known} by earlier runs" if self.known else ""
        lines = [f"{self.rows} items embedded in {duration(self.seconds)}{rate}{earlier}: {self.out}"]
        if self.cut:
            lines.append(f"{self.cut} texts were longer than max_length and were cut.")
        if total := sum(self.errors.values()):
            lines += [f"{total} items have no vector; {self.errors_in} says why:", table(self.errors)]
        if not self.complete:
            lines.append("Not everything is done. Run the same command again to go on.")
        return "\n".join(lines)


def table(errors: Mapping[str, int]) -> str:
    """Return errors by kind as a table, most first."""
    width = max(map(len, errors))
    digits = len(str(max(errors.values())))
    rows = sorted(errors.items(), key=lambda item: (-item[1], item[0]))
    return "\n".join(f"  {kind:<{width}}  {count:>{digits}}  {KINDS.get(kind, '')}" for kind, count in rows)


def duration(seconds: float) -> str:
    """Return a duration in the two largest units: ``2 h 05 min``, ``41 s``."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
