"""Read the rows of a corpus from its Parquet files, and compare every vector with a query, a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._arrays import Floats
from .parquet_parts import BITS, EMBEDDING, MULTI_VECTOR
from .places import Placed, best_of, cosines, floats_of
from .stored import Query, Row

VECTORS = (EMBEDDING, BITS, MULTI_VECTOR)


class ParquetRows:
    """The rows of some files; see ``RowStore``. A row's key is its id."""

    def __init__(self, parts: Sequence[Path], settings: Mapping[str, Any], count: int) -> None:
        self.parts = tuple(parts)
        self._settings, self._count = settings, count

    def count(self) -> int:
        """See ``RowStore``."""
        return self._count

    def rows(self) -> Iterator[Row]:
        """See ``RowStore``."""
        import pyarrow.parquet as pq

        for part in self.parts:
            file = pq.ParquetFile(part)
            names = _plain(file)
            for group in range(file.num_row_groups):
                yield from map(row_of, file.read_row_group(group, columns=names).to_pylist())

    def embeddings(self) -> Iterator[Floats]:
        """Yield the embeddings of each row group, float32 ``(n, dimensions)``, in the order of the rows."""
        for _, _, rows in self._embeddings():
            yield rows

    def nearest(self, query: Query) -> list[Row]:
        """See ``RowStore``; equal ones in the order of the corpus."""
        if query.embedding is None:
            return self._rows(self._by_tokens(query, None))
        found = self._by_embedding(query)
        if query.multi_vector is not None:
            found = self._by_tokens(query, {place for _, place in found})
        return self._rows(found)

    def get(self, keys: Sequence[str]) -> list[Row]:
        """See ``RowStore``; every row is read once."""
        wanted = set(keys)
        found = {row.id: row for row in self.rows() if row.id in wanted}
        return [found[key] for key in keys]

    def close(self) -> None:
        """See ``RowStore``."""

    def _groups(self, column: str) -> Iterator[tuple[int, int, Any]]:
        """Yield the number of each part and row group, and a column of it as one array."""
        import pyarrow.parquet as pq

        for number, part in enumerate(self.parts):
            file = pq.ParquetFile(part)
            for group in range(file.num_row_groups):
                yield number, group, file.read_row_group(group, columns=[column]).column(0).combine_chunks()

    def _embeddings(self) -> Iterator[tuple[int, int, Floats]]:
        dtype, dimensions = self._settings["dtype"], int(self._settings["dimensions"])
        for number, group, column in self._groups(BITS if dtype == "binary" else EMBEDDING):
            numbers = column.flatten().to_numpy(zero_copy_only=True).reshape(len(column), -1)
            yield number, group, floats_of(numbers, dtype, dimensions)

    def _by_embedding(self, query: Query) -> list[Placed]:
        assert query.embedding is not None
        best: list[Placed] = []
        for number, group, rows in self._embeddings():
            scores = cosines(rows, query.embedding, self._settings)
            best = best_of(best, scores, number, group, query.selected)
        return best

    def _by_tokens(self, query: Query, among: set[tuple[int, int, int]] | None) -> list[Placed]:
        from ..scoring.maxsim import maxsim

        assert query.multi_vector is not None
        best: list[Placed] = []
        for number, group, column in self._groups(MULTI_VECTOR):
            chosen = [at for at in range(len(column)) if among is None or (number, group, at) in among]
            if not chosen:
                continue
            tokens = column.flatten()
            numbers = tokens.flatten().to_numpy(zero_copy_only=True).reshape(-1, tokens.type.list_size)
            ends = np.asarray(column.offsets) - int(column.offsets[0].as_py())
            items = [numbers[ends[at] : ends[at + 1]].astype(np.float32) for at in chosen]
            best = best_of(best, maxsim([query.multi_vector], items)[0], number, group, query.count, chosen)
        return best

    def _rows(self, found: list[Placed]) -> list[Row]:
        """Return the rows at these places, each row group read once."""
        import pyarrow.parquet as pq

        rows: dict[tuple[int, int, int], dict[str, Any]] = {}
        for number, group in sorted({place[:2] for _, place in found}):
            file = pq.ParquetFile(self.parts[number])
            table = file.read_row_group(group, columns=_plain(file))
            for _, place in found:
                if place[:2] == (number, group):
                    (rows[place],) = table.slice(place[2], 1).to_pylist()
        return [row_of(rows[place], score) for score, place in found]


def _plain(file: Any) -> list[str]:
    return [name for name in file.schema_arrow.names if name not in VECTORS]


def row_of(values: Mapping[str, Any], score: float | None = None) -> Row:
    """Return a row of the columns that ``Shape`` names, without the vectors."""
    known = {"id", "source", "page", "kind", "text", "image"}
    return Row(
        id=values["id"],
        source=values["source"],
        page=values["page"],
        kind=values["kind"],
        text=values.get("text") or "",
        image=values.get("image"),
        kept={name: value for name, value in values.items() if name not in known},
        score=score,
    )
