"""Build an index: a corpus in a folder of its own, with the images and texts in it.

    places.lance      the table: the rows of a corpus, with their images as files
    places.journal    its journal; ``corpus.journal`` describes it

It is built beside the old index, whose shards are taken over where their files are the same, and put in its place once
it is whole. A run that fails leaves the old index, and the shards that it finished for the next run.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from ..corpus import Columns, embed_corpus
from ..corpus.destinations import Place
from ..corpus.journal import MANIFEST, Journal
from ..corpus.lance import LanceTable
from ..corpus.locking import LOCK, locked
from ..corpus.lookup import lookup_of
from ..corpus.reports import Report
from ..corpus.sources import Source, sources_of
from ..corpus.store_errors import WritingStore
from ..corpus.walking import IMAGES, PDF, TEXTS
from ..errors import ConfigError, InputError, WriteError
from ..frameworks.shown_text import visible
from .opening import TABLE, is_index, is_old_index, opened
from .places import page_id, place_id
from .proof import is_proved

ROWS_PER_FILE = 256
"""Items of a shard, which a run that fails computes again."""
COLUMNS = Columns(keep=("text", "image"), pages="pieces")
NEW, OLD = "index", "old"
"""The index that is built and the one that it replaces, in the folder beside it."""


def build(
    folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    index: str | os.PathLike[str],
    embedder: Any,
    left_out: dict[str, str] | None = None,
    *,
    report: Report | None = None,
) -> int:
    """Write an index of the images, texts and PDFs of some folders, and return its number of places.

    Args:
        folders: The folders, with their subfolders.
        index: The folder of the index; missing parents are created, and an existing index is replaced.
        embedder: A ``JinaEmbedder``.
        left_out: Filled with the id and the reason of each file and page that cannot be embedded.
        report: What is told while it runs.

    Raises:
        ConfigError: ``index`` cannot become an index, or the embedder makes none; nothing was computed.
        InputError: There is nothing to index.
        WriteError: The disk is full, for example; says what was kept.
    """
    _check_embedder(embedder)
    sources = _sources(folders)
    place = _checked(Path(index))
    beside = _beside(place)
    with ExitStack() as stack:
        stack.enter_context(_write_errors(place))
        stack.enter_context(locked(beside, (1, 1)))
        stack.callback(_remove_empty, beside)
        _take_over(place, embedder)
        count = _embed(sources, place, embedder, {} if left_out is None else left_out, report)
        if not count:
            shutil.rmtree(beside / NEW)
            raise InputError("there is no image, text or PDF to index.")
        _swap(beside / NEW, place, beside / OLD)
    return count


def _embed(sources: list[Source], place: Path, embedder: Any, left_out: dict[str, str], report: Report | None) -> int:
    """Embed what is not there yet, and return the number of places."""
    new = _beside(place) / NEW
    out = Place(
        name=str(place),
        folder=new / f"{TABLE}.journal",
        table=f"lancedb://{place}/{TABLE}",
        open=lambda shape: LanceTable(new, TABLE, shape),
    )
    what: dict[str, Any] = {"columns": COLUMNS, "rows_per_file": ROWS_PER_FILE, "report": report}
    try:
        summary = embed_corpus(sources, out, embedder=embedder, overwrite="others", **what)
    finally:
        _note(Journal(out.folder), left_out)
    if not summary.rows + summary.known:
        return 0
    with opened(new) as corpus:
        table: Any = corpus.store.table  # type: ignore[attr-defined]
        with WritingStore(f"lancedb://{new}/{TABLE}"), warnings.catch_warnings(action="ignore"):
            # It warns of readers of an older version; nobody reads this table yet.
            table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
        return len({place_id(row) for row in lookup_of(corpus).rows(light=True)})


def _check_embedder(embedder: Any) -> None:
    """Check that an embedder makes vectors for an index.

    Raises:
        ConfigError: The checkpoint's name is not valid Unicode on one line, or its vectors are not normalised.
    """
    if visible(embedder.model) != embedder.model:
        raise ConfigError(f"the checkpoint's path {embedder.model!r} is not valid Unicode on one line; rename it.")
    if not embedder.settings.normalize:
        raise ConfigError("normalize=False: an index holds vectors of L2 norm 1. Pass an embedder without it.")


def _sources(folders: Any) -> list[Source]:
    """Return what is read: images, texts and PDFs, and no tables.

    Raises:
        ConfigError: One is not a folder.
    """
    named = [folders] if isinstance(folders, str | os.PathLike) else list(folders)
    for folder in named:
        if not Path(folder).is_dir():
            raise ConfigError(f"{os.fspath(folder)!r} is not a folder.")
    return sources_of(named, suffixes=(*IMAGES, *TEXTS, PDF))


def _beside(place: Path) -> Path:
    """Return the folder beside an index in which the next one is built; no run reads it, since it is hidden."""
    return place.parent / f".{place.name}-new"


def _checked(index: Path) -> Path:
    """Return the folder's full path, after every check that is possible before hours of computing.

    Raises:
        ConfigError: An index cannot be written there.
    """
    try:
        full = index.resolve()
        is_own = is_index(full) or is_old_index(full)
        if full.exists() and not is_own and (not full.is_dir() or any(full.iterdir())):
            raise ConfigError(f"{str(index)!r} exists and is not an index; give the path of a new folder.")
        if full.is_mount():
            raise ConfigError(f"{str(index)!r} is a mount point; give the path of a folder below it.")
        full.parent.mkdir(parents=True, exist_ok=True)
        beside = _beside(full)
        if beside.exists() and (beside.is_symlink() or not beside.is_dir() or beside.stat().st_uid != os.getuid()):
            raise ConfigError(f"{str(beside)!r} is not a folder that this command wrote; remove it.")
        beside.mkdir(exist_ok=True)
        strange = [path.name for path in beside.iterdir() if path.name not in (NEW, OLD, LOCK)]
        if strange:
            raise ConfigError(f"{str(beside)!r} holds {strange[0]!r}, which this command did not write; remove it.")
    except (OSError, ValueError, RuntimeError) as error:  # no right to write, a path with NUL, a link to itself
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"an index cannot be written to {str(index)!r} ({error}).") from error
    return full


def _take_over(place: Path, embedder: Any) -> None:
    """Begin with what an earlier run has computed, if its vectors are what the model gives now."""
    new = _beside(place) / NEW
    shutil.rmtree(_beside(place) / OLD, ignore_errors=True)
    if not new.exists() and is_index(place):
        shutil.copytree(place, new, symlinks=True, copy_function=_linked)
    if new.exists() and not is_proved(new, embedder):
        shutil.rmtree(new)


def _linked(path: str, new: str) -> None:
    """Give a file a second name: neither LanceDB nor a journal changes one that it has written."""
    try:
        os.link(path, new, follow_symlinks=False)
    except OSError:  # a file system without
        shutil.copy2(path, new, follow_symlinks=False)


def _note(journal: Journal, left_out: dict[str, str]) -> None:
    """Note the reasons of the shards that are done, one for each place."""
    with suppress(OSError):
        for number in journal.numbers():
            for error in journal.errors(number):
                left_out.setdefault(page_id(error["id"]) if error["page"] else error["id"], error["message"])


@contextmanager
def _write_errors(place: Path) -> Iterator[None]:
    """Turn a failed write into an error that says where, why, and what was kept."""
    try:
        yield
    except (WriteError, OSError) as error:
        cause = error.__cause__ if isinstance(error, WriteError) and error.__cause__ is not None else error
        why = (cause.strerror if isinstance(cause, OSError) else None) or " ".join(str(cause).split())[:300].rstrip(".")
        message = f"the index {str(place)!r} cannot be written ({why})."
        if (_beside(place) / NEW / f"{TABLE}.journal" / MANIFEST).exists():
            message += f" Finished shards are kept in {str(_beside(place))!r}: make room and run the command again."
        raise WriteError(message) from cause


def _swap(new: Path, place: Path, old: Path) -> None:
    """Put the new index in the place of the old one, which comes back if that fails."""
    if not place.exists():
        new.rename(place)
        return
    place.rename(old)
    try:
        new.rename(place)
    except OSError:
        old.rename(place)
        raise


def _remove_empty(beside: Path) -> None:
    """Remove the folder beside the index, unless an unfinished one is in it."""
    if not (beside / NEW).exists():
        shutil.rmtree(beside, ignore_errors=True)
