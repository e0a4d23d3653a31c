"""Write the shards of a run, each with its done file last."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any

from .entries import Entry
from .folders import PdfEntries
from .job import Job
from .journal import Digest, Journal
from .kept import Check
from .parquet_parts import Destination
from .sources import entries
from .work import Result, embedded, loaded

BATCH = 256
"""Rows that go to the destination together."""


@dataclass(frozen=True, slots=True)
class End:
    """Stands behind the last entry of a shard."""

    number: int
    count: int
    digest: str


class Writer:
    """Writes the shards of a job, each with its done file last."""

    def __init__(self, job: Job, journal: Journal, destination: Destination) -> None:
        self._job, self._journal, self._destination = job, journal, destination
        self._began = time.monotonic()
        self._open = False
        self._kinds: Counter[str] = Counter()
        self._rows = self._cut = 0
        self._next: list[int] = []

    def write(self, pdfs: PdfEntries, check: Check) -> None:
        """Embed and write every shard that is not done."""
        job = self._job
        waiting: list[Result] = []
        tell = partial(job.report.update, job.progress)
        parts = embedded(loaded(self._planned(pdfs), check), job.vectors, tell=tell)
        with closing(parts):
            for part in parts:
                if not self._open:
                    self._begin(self._next[0])
                if isinstance(part, End):
                    self._add(waiting)
                    waiting = []
                    self._finish(part)
                else:
                    self._take(part, waiting)
                    if len(waiting) == BATCH:
                        self._add(waiting)
                        waiting = []

    def _planned(self, pdfs: PdfEntries) -> Iterator[Entry | End]:
        """Yield the entries of the shards that are to be computed, each shard with its end."""
        job = self._job
        rest = islice(entries(job.sources, job.columns, pdfs, skip=job.place.folder.resolve()), job.limit)
        own, processes = job.shard
        number = 0
        for first in rest:
            if job.stop is not None and job.stop.is_set():
                job.complete = False
                return
            shard = chain([first], islice(rest, job.rows_per_file - 1))
            if number % processes != own - 1:
                job.progress.skipped += sum(entry.size for entry in shard)
            else:
                yield from self._shard(number, shard)
            number += 1
        self._remove_rest(number)

    def _shard(self, number: int, shard: Iterator[Entry]) -> Iterator[Entry | End]:
        """Yield the entries of one shard and its end, or nothing if it is done."""
        record = self._journal.done(number)
        if record is not None and not self._is_good(number, record):
            record = None
        if record is not None:
            listed = list(shard)
            digest = Digest()
            for entry in listed:
                digest.add(entry)
            if digest.text() == record.get("digest"):
                self._skip(record, listed)
                return
            self._job.report.tell(f"shard {number}: its items are others now; it is computed again.")
            shard = iter(listed)
        digest, count = Digest(), 0
        self._next.append(number)
        for entry in shard:
            digest.add(entry)
            count += 1
            yield entry
        yield End(number, count, digest.text())

    def _is_good(self, number: int, record: Mapping[str, Any]) -> bool:
        """Tell whether a shard that is done need not be computed again."""
        if not self._destination.is_there(number, record):
            self._job.report.tell(f"shard {number}: its rows are not what was written; it is computed again.")
            return False
        return not (self._job.retry_errors and record.get("errors"))

    def _skip(self, record: Mapping[str, Any], listed: Sequence[Entry]) -> None:
        job = self._job
        job.progress.skipped += sum(entry.size for entry in listed)
        job.progress.known += int(record["rows"])
        job.errors.update(record["kinds"])

    def _begin(self, number: int) -> None:
        self._open, self._began = True, time.monotonic()
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

    def _add(self, results: list[Result]) -> None:
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
        self._open = False
        self._next.pop(0)
        job.errors.update(self._kinds)
        job.cut += self._cut
        job.progress.shards += 1

    def _remove_rest(self, count: int) -> None:
        """Remove shards of items that there are no more; with a limit nobody knows."""
        own, processes = self._job.shard
        if self._job.limit is not None:
            return
        for number in self._journal.numbers():
            if number >= count and number % processes == own - 1:
                with self._journal.writing():
                    self._journal.remove(number)
                    self._destination.remove(number)
