"""Find the files of a corpus, and yield their items as entries in an order that stays."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from .._extras import require
from ..errors import ConfigError, MissingExtraError
from ..inputs.policy import MediaPolicy
from .entries import Columns, Entry, bad, item_error
from .folders import PdfEntries, image_entry, text_entries
from .kinds import ItemError
from .names import escape
from .parquet_rows import PARQUET, parquet_entries
from .seen import Seen
from .tables import CSV, JSON_LINES, csv_entries, json_entries
from .walking import IMAGES, PDF, TEXTS, walk

TOGETHER = 64
"""Entries whose ids are looked up together."""
TABLES = (*JSON_LINES, *CSV, *PARQUET)
SUFFIXES = (*IMAGES, *TEXTS, PDF, *TABLES)
_READERS: dict[str, Callable[[Path, str, Columns], Iterator[Entry]]] = {
    **dict.fromkeys(IMAGES, image_entry),
    **dict.fromkeys(TEXTS, text_entries),
    **dict.fromkeys(JSON_LINES, json_entries),
    **dict.fromkeys(CSV, csv_entries),
    **dict.fromkeys(PARQUET, parquet_entries),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A folder or some files that a corpus is read from.

    Attributes:
        root: Folder that the names of its files are relative to, links resolved.
        files: The files; None for all below ``root``.
        prefix: Stands before each name, so that those of several sources differ.
        suffixes: Of the files below ``root`` that are read.
    """

    root: Path
    files: tuple[Path, ...] | None = None
    prefix: str = ""
    suffixes: tuple[str, ...] = SUFFIXES

    def described(self) -> dict[str, object]:
        """Return what tells it from others, for JSON."""
        return {
            "root": escape(self.root),
            "files": None if self.files is None else [escape(path.relative_to(self.root)) for path in self.files],
            "prefix": self.prefix,
        }

    def paths(self, skip: Path | None) -> Iterator[Path | Entry]:
        """Yield its files in an order that stays; for a folder that cannot be read, an error."""
        if self.files is not None:
            yield from self.files
            return
        for path, error in walk(self.root, self.suffixes, skip=skip):
            if error is None:
                yield path
            else:
                name = escape(path.relative_to(self.root).as_posix())
                yield bad(name, name, item_error(error, "unreadable"))

    def name(self, path: Path) -> str:
        """Return what the places of a file begin with."""
        return self.prefix + escape(path.relative_to(self.root).as_posix())


def sources_of(
    names: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], suffixes: tuple[str, ...] = SUFFIXES
) -> list[Source]:
    """Return the sources that are named.

    Args:
        names: Folders, files, and patterns (``docs/**/*.pdf``), in which ``**`` goes into subfolders.
        suffixes: Of the files below folders that are read.

    Raises:
        ConfigError: There is nothing of that name, or a file of another kind; names the kinds.
    """
    if isinstance(names, str | os.PathLike):
        names = [names]
    found = [replace(_source(os.fspath(name)), suffixes=suffixes) for name in names]
    if not found:
        raise ConfigError("there is no source; name a folder, a file or a pattern.")
    if len(found) == 1:
        return found
    return [
        replace(one, prefix=f"{escape(one.root.name)}/") if one.files is None or len(one.files) > 1 else one
        for one in found
    ]


def _source(name: str) -> Source:
    path = Path(name).expanduser()
    if path.is_dir():
        return Source(root=path.resolve())
    if path.exists():
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"{name!r} is a file of another kind; expected one of {', '.join(SUFFIXES)}.")
        return Source(root=path.parent.resolve(), files=(path.parent.resolve() / path.name,))
    matches = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(str(path)) else []  # noqa: PTH207
    files = [Path(match) for match in matches if Path(match).suffix.lower() in SUFFIXES and not Path(match).is_dir()]
    if not files:
        raise ConfigError(f"there is no file or folder {name!r}, and no file that it matches as a pattern.")
    plain = path.parts[: next(at for at, part in enumerate(path.parts) if glob.has_magic(part))]
    root = Path(*plain).resolve() if plain else Path.cwd()
    return Source(root=root, files=tuple(root / file.absolute().relative_to(Path(*plain).absolute()) for file in files))


def entries(
    sources: Iterable[Source], columns: Columns, pdfs: PdfEntries, *, skip: Path | None = None
) -> Iterator[Entry]:
    """Yield every item of the sources; what cannot be read, and an id that was there before, as an error.

    Args:
        sources: Where to read.
        columns: How to read tables and PDFs.
        pdfs: Reads PDFs; open until the last entry is loaded.
        skip: A folder inside to pass over: the corpus itself.

    Raises:
        MissingExtraError: A reader's library is not installed.
    """
    with Seen() as seen:
        found = _all(sources, columns, skip, pdfs)
        while some := list(islice(found, TOGETHER)):
            for entry, is_new in zip(some, seen.add([entry.id for entry in some]), strict=True):
                if is_new:
                    yield entry
                else:
                    error = ItemError(f"an item before it has the id {entry.id!r}.", kind="duplicate")
                    yield bad(entry.id, entry.source, error, size=entry.size)


def _all(sources: Iterable[Source], columns: Columns, skip: Path | None, pdfs: PdfEntries) -> Iterator[Entry]:
    for source in sources:
        own = columns if source.files is not None else replace(columns, media=_inside(source, columns))
        for path in source.paths(skip):
            if isinstance(path, Entry):
                yield replace(path, id=source.prefix + path.id, source=source.prefix + path.source)
                continue
            name = source.name(path)
            suffix = path.suffix.lower()
            try:
                if suffix == PDF:
                    yield from pdfs(path, name, own)
                else:
                    yield from _READERS[suffix](path, name, own)
            except MissingExtraError:
                raise
            except Exception as error:  # one bad file ends no other
                is_table = suffix in TABLES  # of which rows were read before
                problem = item_error(error, "row" if is_table else "unreadable")
                yield bad(name, name, problem, size=0 if is_table else _size(path))


def _inside(source: Source, columns: Columns) -> MediaPolicy:
    """Return the limits of a folder, whose links must not lead out of it."""
    return replace(columns.media, allowed_root=source.root)


def total_size(sources: Iterable[Source], *, skip: Path | None = None) -> int:
    """Return about how many bytes the files of the sources have together."""
    total = 0
    for source in sources:
        for path in source.paths(skip):
            if isinstance(path, Path):
                total += _size(path)
    return total


def _size(path: Path) -> int:
    """Return the bytes of a file; 0 where nobody knows."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def check_extras(sources: Iterable[Source], *, skip: Path | None = None) -> None:
    """Check, before an engine starts, that what reads the sources is installed.

    Raises:
        MissingExtraError: There is a PDF or a Parquet file, and its reader is missing.
    """
    needed = {PDF: "pypdfium2", **dict.fromkeys(PARQUET, "pyarrow")}
    for source in sources:
        for path in source.paths(skip):
            if isinstance(path, Path) and (module := needed.pop(path.suffix.lower(), None)):
                require("corpus", module)
