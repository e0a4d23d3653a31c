"""Embed a corpus: one function, which the command calls."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal

from ..pooling.token_reduction import check_factor
from .destinations import Place, place_of
from .entries import Columns
from .folders import PdfEntries
from .job import Job, Kinds, Stop, checked_shard, checked_vectors, positive
from .journal import ERRORS, Journal
from .kept import Check
from .locking import locked, starting
from .manifest import check_manifest, is_other, manifest_of
from .parquet_parts import Destination
from .plan import Plan
from .ray_shards import RayActors, write_on_ray
from .reports import Report, Silent, Summary
from .sources import Source, check_extras, sources_of, total_size
from .writer import Writer

ROWS_PER_FILE = 8192
"""Items of a shard: what a crash may cost, and what is in one file."""


def embed_corpus(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Sequence[Source],
    out: str | os.PathLike[str] | Place,
    *,
    embedder: Any,
    columns: Columns | None = None,
    vectors: Kinds | None = None,
    pool_factor: int = 1,
    dtype: str | None = None,
    prompt_name: str = "passage",
    rows_per_file: int = ROWS_PER_FILE,
    shard: tuple[int, int] = (1, 1),
    limit: int | None = None,
    overwrite: bool | Literal["others"] = False,
    retry_errors: bool = False,
    report: Report | None = None,
    stop: Stop | None = None,
    journal: str | os.PathLike[str] | None = None,
    ray: RayActors | None = None,
) -> Summary:
    """Embed every item of some folders and tables, and write the vectors in shards; an interrupted run goes on.

    What an earlier run of the same sources and settings has finished is not computed again, unless its items are
    others now. One bad item stops no other: it is noted with its reason.

    Args:
        sources: Folders, files (images, texts, PDFs, JSONL, CSV, Parquet) and patterns.
        out: The folder of the corpus; or ``lancedb://DIR/TABLE``, ``qdrant://HOST:PORT/COLLECTION`` or
            ``chroma://HOST:PORT/COLLECTION`` (servers), ``qdrant://./DIR/COLLECTION`` or ``chroma://DIR/COLLECTION``
            (embedded), or ``postgresql://USER@HOST:PORT/DATABASE/TABLE``, each with a folder ``NAME.journal``.
        embedder: A ``JinaEmbedder``; it stays open.
        columns: How tables and PDFs are read, and what is kept of them.
        vectors: What to compute of each item; None takes embeddings, or multi-vectors where the model has those alone.
        pool_factor: About how many tokens of a multi-vector become one row; 1 keeps each.
        dtype: ``float32``, ``float16``, ``int8`` or ``binary``, of embeddings; None is float32. Multi-vectors are
            float16 unless this is ``float32``.
        prompt_name: ``passage`` or ``query``.
        rows_per_file: Items of a shard.
        shard: Which of how many processes this is, from 1; each takes every n-th shard.
        limit: Read only so many items.
        overwrite: Whether to begin anew where a corpus is; ``others`` does so if it was made with other settings.
        retry_errors: Whether to compute shards again that have errors.
        report: What is told while it runs; None tells nothing.
        stop: Once it is set, the run ends after the current shard.
        journal: Folder of the journal of a table.
        ray: Computes the shards in actors of Ray; None in this process. What is written is the same; the sources and
            ``out`` must be at the same paths on every machine.

    Raises:
        ConfigError: A setting is wrong, or ``out`` holds a corpus with others; names them.
        WriteError: The disk is full, for example; finished shards are kept.
        EngineError: The engine cannot answer; finished shards are kept.
    """
    job = Job(
        sources=_sources(sources),
        place=out if isinstance(out, Place) else place_of(out, journal),
        embedder=embedder,
        columns=columns or Columns(),
        vectors=checked_vectors(embedder, vectors, check_factor(pool_factor), prompt_name),
        dtype=dtype,
        rows_per_file=positive("rows_per_file", rows_per_file),
        shard=checked_shard(shard),
        limit=None if limit is None else positive("limit", limit),
        retry_errors=retry_errors,
        report=report or Silent(),
        stop=stop,
    )
    return _run(job, overwrite=overwrite, ray=ray)


def _sources(sources: Any) -> list[Source]:
    """Return what was found already, or what is named."""
    is_found = isinstance(sources, list) and bool(sources) and all(isinstance(source, Source) for source in sources)
    return sources if is_found else sources_of(sources)


def _run(job: Job, *, overwrite: bool | Literal["others"], ray: RayActors | None) -> Summary:
    """Embed what is not done."""
    folder = job.place.folder
    check_extras(job.sources, skip=folder)
    journal = Journal(folder)
    with ExitStack() as stack:
        share = stack.enter_context(locked(folder, job.shard, alone=bool(overwrite)))
        shape = job.shape()
        with starting(folder):
            destination = job.place.open(shape)
            stack.callback(destination.close)
            _start(destination, journal, manifest_of(job, shape), overwrite=overwrite)
        share()
        pdfs = stack.enter_context(PdfEntries())
        stack.enter_context(journal)
        stack.callback(job.report.close)
        job.progress.total = total_size(job.sources, skip=folder)
        planned = Plan(job, journal, destination).parts(pdfs)
        if ray is None:
            Writer(job, journal, destination).write(planned, Check(shape.kept))
        else:
            write_on_ray(planned, pdfs, job, shape, ray)
    return _summary(job)


def _start(
    destination: Destination, journal: Journal, own: Mapping[str, Any], *, overwrite: bool | Literal["others"]
) -> None:
    """Go on with the corpus that is there, or begin a new one.

    Raises:
        ConfigError: It was made with other settings, or what is there is not a corpus.
    """
    if overwrite == "others":
        overwrite = is_other(journal.manifest(), own)
    if overwrite and journal.manifest() is not None:
        with journal.writing():
            destination.clear()
        journal.clear()
    stored = journal.manifest()
    check_manifest(stored, own, journal.folder)
    destination.check(is_known=stored is not None)
    journal.start(own)


def _summary(job: Job) -> Summary:
    return Summary(
        rows=job.progress.rows,
        known=job.progress.known,
        errors=dict(job.errors),
        cut=job.cut,
        shards=job.progress.shards,
        seconds=round(job.progress.seconds, 3),
        complete=job.complete,
        out=job.place.name,
        errors_in=str(job.place.folder / ERRORS),
    )
