"""Run the command, and count the items that it embeds: ``python -m tests.support.counted_run SETTINGS ARGUMENT ...``.

SETTINGS is the JSON of ``Settings``. The count is in a file that is mapped into memory: it survives a kill and a full
disk.
"""

from __future__ import annotations

import json
import mmap
import struct
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.fake_engine import FakeEngine
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.cli import main
from vllm_jina_embed.corpus import work
from vllm_jina_embed.corpus.journal import Journal
from vllm_jina_embed.corpus.parquet_parts import ParquetParts
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.errors import EngineError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the command is run.

    Attributes:
        count: File of 8 bytes: how many items were given to the embedder.
        window: Items that are embedded together.
        fake: Whether the engine is one in memory.
        hold: After so many items no further ones are embedded before the file ``release`` is there; 0 never waits.
        release: See ``hold``.
        lose: After so many items the engine is lost; 0 keeps it.
        fault: One of ``FAULTS``, which a test must see; empty for none.
    """

    count: str
    window: int
    fake: bool
    hold: int = 0
    release: str = ""
    lose: int = 0
    fault: str = ""


class Counter:
    """Counts the items of this process in its file."""

    def __init__(self, settings: Settings) -> None:
        with Path(settings.count).open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)
        self._settings, self._lock = settings, threading.Lock()

    def add(self, number: int) -> None:
        """Count items, and do what is to be done after so many."""
        settings = self._settings
        with self._lock:
            (before,) = struct.unpack("q", self._memory)
            self._memory[:] = struct.pack("q", before + number)
        if settings.lose and before + number > settings.lose:
            raise EngineError("the engine is lost.")
        while settings.hold and before + number > settings.hold and not Path(settings.release).exists():
            time.sleep(0.01)


def count(path: Path) -> int:
    """Return what a file says."""
    (number,) = struct.unpack("q", path.read_bytes())
    return int(number)


def _forget(journal: Journal, number: int, record: Any) -> None:
    """Say that a shard is done, and do not write it down."""
    journal.close()


def _double(parts: ParquetParts, results: Any) -> None:
    """Write one row twice."""
    _ADD(parts, [*results[:1], *results])


def _be_silent(journal: Journal, result: Any) -> None:
    """Do not note a bad item that the embedder found."""
    if result.error.kind != "long" or "max_length is" not in str(result.error):
        _NOTE(journal, result)


_ADD, _NOTE = ParquetParts.add, Journal.note
FAULTS: dict[str, tuple[Any, str, Any]] = {
    "a journal that forgets": (Journal, "finish", _forget),
    "a row that is doubled": (ParquetParts, "add", _double),
    "an error that is not noted": (Journal, "note", _be_silent),
}


def run(settings: Settings, arguments: list[str]) -> int:
    """Run the command with every item counted once, whatever is computed of it."""
    counter, outcome = Counter(settings), JinaEmbedder.outcome

    def counted(self: JinaEmbedder, items: list[Any], *rest: Any, multi_vector: bool = False, **options: Any) -> Any:
        if not multi_vector:
            counter.add(len(items))
        return outcome(self, items, *rest, multi_vector=multi_vector, **options)

    JinaEmbedder.outcome = counted  # type: ignore[method-assign, assignment]
    work.WINDOW = work.AHEAD = settings.window
    if settings.fault:
        setattr(*FAULTS[settings.fault])
    if settings.fake:
        JinaEmbedder._pool = EnginePool(FakeEngine)
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(Settings(**json.loads(sys.argv[1])), sys.argv[2:]))
