"""Choose where the rows of a corpus go, and where they are read, by the name of the place."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .chroma import ChromaCollection
from .chroma_rows import ChromaRows
from .lance import LanceTable
from .lance_rows import LanceRows
from .parquet_parts import Destination, ParquetParts, Shape
from .postgres import PostgresTable, place_of_table, table_of
from .postgres_rows import PostgresRows
from .qdrant import QdrantPoints
from .qdrant_rows import QdrantRows
from .stored import RowStore

_PLACE = re.compile(r"([a-z][a-z0-9+]*)://(.+)/([^/]+)")
_SERVER = re.compile(r"[A-Za-z0-9.-]+:[0-9]+")
FORMS = (
    "a folder, lancedb://DIR/TABLE, qdrant://HOST:PORT/COLLECTION, qdrant://./DIR/COLLECTION, "
    "chroma://HOST:PORT/COLLECTION, chroma://DIR/COLLECTION or postgresql://USER@HOST:PORT/DATABASE/TABLE"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a corpus goes.

    Attributes:
        name: As it was given.
        folder: Of its journal.
        table: The name of a table, where it is one.
        open: Returns what writes the rows.
        read: Returns what reads them, given the manifest; None for Parquet files.
        is_shared: Whether several processes can have it open.
    """

    name: str
    folder: Path
    table: str | None = None
    open: Callable[[Shape], Destination]
    read: Callable[[Mapping[str, Any]], RowStore] | None = None
    is_shared: bool = True


def place_of(out: str | os.PathLike[str], journal: str | os.PathLike[str] | None = None) -> Place:
    """Return the place of a name.

    Args:
        out: A folder, or a table as in ``FORMS``.
        journal: Folder of the journal; None takes the corpus's own, ``DIR/TABLE.journal`` beside a table,
            and ``TABLE.journal`` here for one of a server.

    Raises:
        ConfigError: It is of another form; names those that there are.
    """
    name = os.fspath(out)
    if "://" not in name:
        folder = Path(name).expanduser().absolute()
        if journal is not None and Path(journal).expanduser().absolute() != folder:
            raise ConfigError(f"journal={os.fspath(journal)!r}: that of a folder of Parquet files is in the folder.")
        return Place(name=name, folder=folder, open=lambda shape: ParquetParts(folder, shape))
    if name.startswith(("postgresql://", "postgres://")):
        url, table = table_of(name)
        own = _journal(journal, f"{table}.journal")
        opened = partial(PostgresTable, url, table), partial(PostgresRows, url, table)
        return Place(name=name, folder=own, table=place_of_table(url, table), open=opened[0], read=opened[1])
    match = _PLACE.fullmatch(name)
    if match is None or match[1] not in ("lancedb", "qdrant", "qdrants", "chroma"):
        raise ConfigError(f"out={name!r}: expected {FORMS}.")
    kind, where, table = match.groups()
    if kind in ("qdrant", "qdrants") and (kind == "qdrants" or not where.startswith(("/", ".", "~"))):
        if "@" in where:
            raise ConfigError("out=... names a user, and a place is written down. Put the key in QDRANT_API_KEY.")
        if kind == "qdrant" and ":" not in where.partition("/")[0]:
            raise ConfigError(
                f"out={name!r} names no port: a server is qdrant://HOST:PORT/{table}, Qdrant's own port being 6333; a "
                f"folder is qdrant://./{where}/{table}."
            )
        return _server(name, table, journal, url=f"{'https' if kind == 'qdrants' else 'http'}://{where}")
    if kind == "chroma" and _SERVER.fullmatch(where):
        return _server(name, table, journal, address=where)
    return _embedded(name, kind, Path(where).expanduser().absolute(), table, journal)


def _server(name: str, table: str, journal: Any, **where: str) -> Place:
    """Return the place of a collection that a server has."""
    write, read = (QdrantPoints, QdrantRows) if "url" in where else (ChromaCollection, ChromaRows)
    return Place(
        name=name,
        folder=_journal(journal, f"{table}.journal"),
        table=name,
        open=lambda shape: write(table, shape, **where),
        read=lambda manifest: read(table, manifest, **where),
    )


def _embedded(name: str, kind: str, folder: Path, table: str, journal: Any) -> Place:
    """Return the place of a table in a folder."""
    path = str(folder)
    writers: dict[str, Callable[[Shape], Destination]] = {
        "lancedb": lambda shape: LanceTable(folder, table, shape),
        "qdrant": lambda shape: QdrantPoints(table, shape, path=path),
        "chroma": lambda shape: ChromaCollection(table, shape, path=path),
    }
    readers: dict[str, Callable[[Mapping[str, Any]], RowStore]] = {
        "lancedb": lambda manifest: LanceRows(folder, table, manifest),
        "qdrant": lambda manifest: QdrantRows(table, manifest, path=path),
        "chroma": lambda manifest: ChromaRows(table, manifest, path=path),
    }
    return Place(
        name=name,
        folder=_journal(journal, folder / f"{table}.journal"),
        table=f"{kind}://{folder}/{table}",
        open=writers[kind],
        read=readers[kind],
        is_shared=kind == "lancedb",
    )


def _journal(journal: Any, default: str | Path) -> Path:
    return Path(journal or default).expanduser().absolute()
