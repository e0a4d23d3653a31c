"""Write the shards of a run, each with its done file last."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from functools import partial

from .job import Job
from .journal import Journal
from .kept import Check
from .parquet_parts import Destination
from .plan import Begin, End, Part
from .work import Result, embedded, loaded

BATCH, BATCH_BYTES = 256, 32 * 1024 * 1024
"""Rows that go to the destination together, and their bytes after which no further one joins."""


class Writer:
    """Writes shards, each with its done file last."""

    def __init__(self, job: Job, journal: Journal, destination: Destination) -> None:
        self._job, self._journal, self._destination = job, journal, destination
        self._began = time.monotonic()
        self._kinds: Counter[str] = Counter()
        self._rows = self._cut = self._held = 0

    def write(self, planned: Iterable[Part], check: Check) -> None:
        """Embed and write the shards of a plan."""
        job = self._job
        waiting: list[Result] = []
        tell = partial(job.report.update, job.progress)
        parts = embedded(loaded(planned, check), job.vectors, tell=tell)
        with closing(parts):
            for part in parts:
                if isinstance(part, Result):
                    self._take(part, waiting)
                    if len(waiting) == BATCH or self._held >= BATCH_BYTES:
                        self._add(waiting)
                        waiting = []
                elif isinstance(part, Begin):
                    self._begin(part.number)
                elif isinstance(part, End):
                    self._add(waiting)
                    waiting = []
                    self._finish(part)

    def _begin(self, number: int) -> None:
        self._began = time.monotonic()
        self._kinds, self._rows, self._cut = Counter(), 0, 0
        self._journal.begin(number)
        with self._journal.writing():
            self._destination.begin(number)

    def _take(self, result: Result, waiting: list[Result]) -> None:
        job = self._job
        job.progress.read += result.entry.size
        if result.error is not None:
            self._kinds[result.error.kind] += 1
            job.progress.errors[result.error.kind] += 1
            self._journal.note(result)
        elif result.content is not None:
            self._rows += 1
            self._cut += result.was_cut
            job.progress.rows += 1
            waiting.append(result)
            self._held += result.held_bytes

    def _add(self, results: list[Result]) -> None:
        self._held = 0
        with self._journal.writing():
            self._destination.add(results)

    def _finish(self, end: End) -> None:
        job = self._job
        with self._journal.writing():
            facts = self._destination.finish()
        record = {
            "shard": end.number,
            "first": end.number * job.rows_per_file,
            "items": end.count,
            "rows": self._rows,
            "errors": sum(self._kinds.values()),
            "kinds": dict(self._kinds),
            "cut": self._cut,
            "seconds": round(time.monotonic() - self._began, 3),
            "digest": end.digest,
            **facts,
        }
        self._journal.finish(end.number, record)
        job.errors.update(self._kinds)
        job.cut += self._cut
        job.progress.shards += 1
