"""Write the rows of a corpus into a LanceDB table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from .._extras import require
from ..errors import ConfigError
from .batched import BATCH_BYTES, BatchedTable
from .parquet_parts import Shape
from .store_errors import WritingStore
from .work import Result

BATCH = 1024
"""Rows that are added together at most; each time is a version of the table."""
SHARD = "shard"
"""Column with the number of a row's shard, by which a shard is written again."""
METADATA = "metadata"
"""Column with ``source``, ``page``, ``kind`` and the kept columns once more, where the frameworks' stores want them."""


class LanceTable(BatchedTable):
    """The columns of a Parquet part in a table, and the number of the shard; see ``Destination``."""

    def __init__(self, folder: str | os.PathLike[str], name: str, shape: Shape) -> None:
        """Open the database; the table is made with the first rows.

        Raises:
            ConfigError: A kept column has the name of one that the table has for itself.
            MissingExtraError: lancedb is not installed.
            WriteError: There can be no database.
        """
        if SHARD in shape.kept:
            raise ConfigError(f"keep={SHARD!r}: the table has a column of that name. Rename it in the source.")
        require("lancedb", "lancedb")
        import lancedb

        self.place = f"lancedb://{os.fspath(folder)}/{name}"
        super().__init__(shape, most=BATCH, most_bytes=4 * BATCH_BYTES)
        self._name = name
        self._table: Any = None
        with WritingStore(self.place):
            self._database = lancedb.connect(os.fspath(folder))
            with suppress(ValueError, FileNotFoundError):  # there is none
                self._table = self._database.open_table(name)
        self._has_metadata = METADATA not in shape.kept and (
            self._table is None or METADATA in self._table.schema.names  # tables of 0.1.0 have none
        )

    def check(self, *, is_known: bool) -> None:
        """Check that a table is this corpus's own.

        Raises:
            ConfigError: There is one and the journal knows of none, or it has other columns.
        """
        if self._table is None:
            return
        if not is_known:
            raise ConfigError(f"{self.place!r} exists, and another program made it. Choose another name.")
        theirs, own = self._table.schema.names, self._schema().names
        if theirs != own:
            raise ConfigError(f"{self.place!r} has the columns {theirs}; expected {own}. Choose another name.")

    def clear(self) -> None:
        """Remove the table."""
        if self._table is not None:
            with WritingStore(self.place):
                self._database.drop_table(self._name)
            self._table = None
            self._has_metadata = METADATA not in self._shape.kept

    def is_there(self, number: int, record: Mapping[str, Any]) -> bool:
        """See ``Destination``."""
        if self._table is None:
            return not record.get("rows")
        with WritingStore(self.place):
            return int(self._table.count_rows(f"{SHARD} = {number}")) == record.get("rows")

    def remove(self, number: int) -> None:
        """See ``Destination``."""
        if self._table is not None:
            with WritingStore(self.place):
                self._table.delete(f"{SHARD} = {number}")

    def _schema(self) -> Any:
        import pyarrow as pa

        schema = self._shape.schema().append(pa.field(SHARD, pa.int32()))
        if not self._has_metadata:
            return schema
        # pandas refuses what LanceDB makes of a dictionary over several fragments; LlamaIndex's store asks for pandas.
        schema = schema.set(schema.get_field_index("kind"), pa.field("kind", pa.string()))
        return schema.append(pa.field(METADATA, pa.struct([schema.field(name) for name in self._named()])))

    def _named(self) -> list[str]:
        """Return the columns that ``METADATA`` has once more."""
        return ["source", "page", "kind", *self._shape.kept]

    def _write(self, rows: Sequence[Result]) -> None:
        import pyarrow as pa

        schema = self._schema()
        table = self._shape.table(rows).append_column(SHARD, pa.array([self._number] * len(rows), pa.int32()))
        if self._has_metadata:
            kind = schema.field(METADATA).type
            columns = [table[field.name].combine_chunks().cast(field.type) for field in kind]
            table = table.append_column(METADATA, pa.StructArray.from_arrays(columns, fields=list(kind))).cast(schema)
        with WritingStore(self.place):
            if self._table is None:
                self._table = self._made(schema)
            self._table.add(table)

    def _made(self, schema: Any) -> Any:
        try:
            return self._database.create_table(self._name, schema=schema, exist_ok=True)
        except Exception as error:
            try:
                return self._database.open_table(self._name)  # another process with --shard K/N made it meanwhile
            except Exception:
                raise error from None
