"""Choose where the rows of a corpus go by the name of the place."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from .lance import LanceTable
from .parquet_parts import Destination, ParquetParts, Shape
from .qdrant import QdrantPoints

_PLACE = re.compile(r"([a-z][a-z0-9+]*)://(.+)/([^/]+)")
FORMS = "a folder, lancedb://DIR/TABLE, qdrant://HOST:PORT/COLLECTION or qdrant:///DIR/COLLECTION"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a corpus goes.

    Attributes:
        name: As it was given.
        folder: Of its journal.
        table: The name of a table, where it is one.
        open: Returns what writes the rows.
        is_shared: Whether several processes can have it open.
    """

    name: str
    folder: Path
    table: str | None = None
    open: Callable[[Shape], Destination]
    is_shared: bool = True


def place_of(out: str | os.PathLike[str], journal: str | os.PathLike[str] | None = None) -> Place:
    """Return the place of a name.

    Args:
        out: A folder, or a table as in ``FORMS``.
        journal: Folder of the journal; None takes the corpus's own, ``DIR/TABLE.journal`` beside a table,
            and ``COLLECTION.journal`` here for one of a server.

    Raises:
        ConfigError: It is of another form; names those that there are.
    """
    name = os.fspath(out)
    if "://" not in name:
        folder = Path(name).expanduser().absolute()
        if journal is not None and Path(journal).expanduser().absolute() != folder:
            raise ConfigError(f"journal={os.fspath(journal)!r}: that of a folder of Parquet files is in the folder.")
        return Place(name=name, folder=folder, open=lambda shape: ParquetParts(folder, shape))
    match = _PLACE.fullmatch(name)
    if match is None or match[1] not in ("lancedb", "qdrant", "qdrants"):
        raise ConfigError(f"out={name!r}: expected {FORMS}.")
    kind, where, table = match.groups()
    if kind == "qdrants" or (kind == "qdrant" and not where.startswith(("/", ".", "~"))):
        if "@" in where:
            raise ConfigError("out=... names a user, and a place is written down. Put the key in QDRANT_API_KEY.")
        own = Path(journal or f"{table}.journal").expanduser().absolute()
        url = f"{'https' if kind == 'qdrants' else 'http'}://{where}"
        return Place(name=name, folder=own, table=name, open=lambda shape: QdrantPoints(table, shape, url=url))
    folder = Path(where).expanduser().absolute()
    own = Path(journal or folder / f"{table}.journal").expanduser().absolute()
    place = f"{kind}://{folder}/{table}"
    if kind == "qdrant":
        path = str(folder)
        return Place(
            name=name,
            folder=own,
            table=place,
            open=lambda shape: QdrantPoints(table, shape, path=path),
            is_shared=False,
        )
    return Place(name=name, folder=own, table=place, open=lambda shape: LanceTable(folder, table, shape))
