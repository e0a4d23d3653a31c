"""Divide a corpus into shards, and say which of them are to be computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeAlias

from .entries import Entry
from .folders import PdfEntries
from .job import Job
from .journal import Digest, Journal
from .parquet_parts import Destination
from .sources import entries


@dataclass(frozen=True, slots=True)
class Begin:
    """Stands before the first entry of a shard."""

    number: int


@dataclass(frozen=True, slots=True)
class End:
    """Stands behind the last entry of a shard."""

    number: int
    count: int
    digest: str


Part: TypeAlias = Entry | Begin | End


class Plan:
    """The shards of a job that are to be computed."""

    def __init__(self, job: Job, journal: Journal, destination: Destination) -> None:
        self._job, self._journal, self._destination = job, journal, destination

    def parts(self, pdfs: PdfEntries) -> Iterator[Part]:
        """Yield the entries of the shards that are to be computed, each shard with its begin and end."""
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

    def _shard(self, number: int, shard: Iterator[Entry]) -> Iterator[Part]:
        """Yield the entries of one shard and its marks, or nothing if it is done."""
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
            self._job.report.tell(f"shard {number}: its items or their files are others now; it is computed again.")
            shard = iter(listed)
        digest, count = Digest(), 0
        yield Begin(number)
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
