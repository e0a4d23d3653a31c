"""Terminal output of the demo: stages with a bar and their seconds; other output goes to a file.

Without a terminal (CI, a pipe) each stage is one plain line.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

Advance = Callable[[int], object]
_BAR = "{desc}  {bar:24}  {n_fmt}/{total_fmt}  {elapsed}"
_CLOCK = "{desc}  {elapsed}"


def set_aside(log: Path | None) -> TextIO:
    """Redirect stdout and stderr to ``log`` until the process ends, and return the original stdout.

    File descriptors are redirected, because vLLM's processes inherit them and C++ libraries write to them.

    Args:
        log: File to write to, or None to redirect nothing.

    Returns:
        A text file that writes to the original stdout.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    out = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors="replace", buffering=1)
    if log is not None:
        log.write_bytes(b"")
        file = os.open(log, os.O_WRONLY | os.O_APPEND)  # append: several processes write
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.close(file)
    return out


class Terminal:
    """Prints lines and stages.

    Attributes:
        seconds: Finished stage -> seconds it took.
    """

    def __init__(self, out: TextIO, *, stages: int, lively: bool | None = None) -> None:
        """Keep the stream.

        Args:
            out: Stream to write to.
            stages: Number of stages.
            lively: Whether to redraw lines; None means if ``out`` is a terminal.
        """
        self.seconds: dict[str, float] = {}
        self._out = out
        self._stages = stages
        self._unfinished = False
        self._lively = out.isatty() if lively is None else lively

    def say(self, text: str = "") -> None:
        """Write lines, below an unfinished stage."""
        if self._lively:
            tqdm.write(text, file=self._out)
        else:
            print("\n" * self._unfinished + text, file=self._out, flush=True)
        self._unfinished = False

    @contextmanager
    def stage(self, key: str, title: str, total: int | None = None) -> Iterator[Advance]:
        """Show one stage while it runs.

        Args:
            key: Key in ``seconds``.
            title: Title of the stage.
            total: Number of steps, if they are counted.

        Yields:
            A function to call with the number of finished steps.
        """
        head = f"[{len(self.seconds) + 1}/{self._stages}] {title}"
        began = time.monotonic()
        show = self._bar if self._lively else self._line
        with show(head, total) as advance:
            yield advance
        self.seconds[key] = time.monotonic() - began
        took = f"{self.seconds[key]:.1f} s"
        if self._lively:
            self.say(f"{pad(head, 60)} {took:>7}")
        else:
            print("" if self._unfinished else head, took, file=self._out, flush=True)
            self._unfinished = False

    @contextmanager
    def _line(self, head: str, total: int | None) -> Iterator[Advance]:
        print(f"{head} ...", end="", file=self._out, flush=True)
        self._unfinished = True
        yield lambda count: None

    @contextmanager
    def _bar(self, head: str, total: int | None) -> Iterator[Advance]:
        bar: tqdm[Any] = tqdm(
            desc=head, total=total, file=self._out, leave=False, bar_format=_BAR if total else _CLOCK, miniters=1
        )
        done = threading.Event()
        clock = threading.Thread(target=_tick, args=(bar, done), daemon=True)
        clock.start()
        try:
            yield bar.update
        finally:
            done.set()
            clock.join()
            bar.close()


def _tick(bar: Any, done: threading.Event) -> None:
    """Redraw the clock while no steps are counted, as when vLLM starts."""
    while not done.wait(0.5):
        bar.refresh()


def table(rows: Sequence[Sequence[str]], *, indent: str = "  ") -> str:
    """Align rows in columns, the first two to the left, the others to the right.

    Args:
        rows: Cells; an empty row is a gap.
        indent: Put before each line.

    Returns:
        The lines, joined.
    """
    columns = max(map(len, rows))
    widths = [max((width(row[i]) for row in rows if len(row) > i), default=0) for i in range(columns)]
    lines = []
    for row in rows:
        cells = [pad(cell, widths[i], right=i > 1) for i, cell in enumerate(row)]
        lines.append((indent + "   ".join(cells)).rstrip())
    return "\n".join(lines)


def width(text: str) -> int:
    """Return the columns of a text on a terminal; Chinese and Japanese characters take two."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """Fill a text with spaces; a longer text stays as it is."""
    space = " " * max(0, columns - width(text))
    return space + text if right else text + space
