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

_PLACE = re.compile(r"([a-z][a-z0-9+]*)://(.+)/([^/]+)")
FORMS = "a folder or lancedb://DIR/TABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a corpus goes.

    Attributes:
        name: As it was given.
        folder: Of its journal.
        table: The name of a table, where it is one.
        open: Returns what writes the rows.
    """

    name: str
    folder: Path
    table: str | None = None
    open: Callable[[Shape], Destination]


def place_of(out: str | os.PathLike[str], journal: str | os.PathLike[str] | None = None) -> Place:
    """Return the place of a name.

    Args:
        out: A folder, or ``lancedb://DIR/TABLE``.
        journal: Folder of the journal; None takes the corpus's own, and ``DIR/TABLE.journal`` beside a table.

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
    if match is None or match[1] != "lancedb":
        raise ConfigError(f"out={name!r}: expected {FORMS}.")
    where, table = Path(match[2]).expanduser().absolute(), match[3]
    own = where / f"{table}.journal" if journal is None else Path(journal).expanduser().absolute()
    place = f"lancedb://{where}/{table}"
    return Place(name=name, folder=own, table=place, open=lambda shape: LanceTable(where, table, shape))
