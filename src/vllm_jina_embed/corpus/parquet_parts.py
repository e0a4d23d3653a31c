"""Write the rows of a corpus as Parquet files that pyarrow reads without a copy and others without a conversion.

No vector is null, so that the numbers of a column are one array. The child of a list is called ``element``, as in the
file, so that the schema is the same after a round trip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .._extras import require
from ..errors import ConfigError
from ..pooling.quantization import quantized
from .files import commit, temporary
from .work import Result

DTYPES = ("float32", "float16", "int8", "binary")
GROUP_BYTES = 16 * 1024 * 1024
"""Bytes of embeddings in a row group: 2048 rows of 2048 numbers in float32; five times that while it is written."""
HELD_BYTES = 64 * 1024 * 1024
"""Bytes of vectors in float32, texts, kept columns and images after which a row group ends."""
GROUP_ROWS, MULTI_ROWS = 4096, 512
"""Most rows of a row group, and those with a multi-vector."""
EMBEDDING, BITS, MULTI_VECTOR = "embedding", "embedding_bits", "multi_vector"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the rows of a corpus hold.

    Attributes:
        dimensions: Length of an embedding; None where there is none.
        token_dimensions: Length of a multi-vector's rows; None where there is none.
        dtype: One of ``DTYPES``, of embeddings.
        token_dtype: ``float32`` or ``float16``, of multi-vectors.
        text: Whether there is a column for texts.
        image: Whether there is a column for images.
        kept: Further columns, with their Arrow types.
    """

    dimensions: int | None
    token_dimensions: int | None
    dtype: str = "float32"
    token_dtype: str = "float16"
    text: bool = True
    image: bool = False
    kept: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Check the types.

        Raises:
            ConfigError: ``dtype`` is unknown, or does not fit the length of an embedding.
        """
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype={self.dtype!r} is unknown; choose one of {', '.join(DTYPES)}.")
        if self.dtype == "binary" and self.dimensions is not None and self.dimensions % 8:
            raise ConfigError(
                f"dtype='binary' holds 8 numbers in a byte, and {self.dimensions} dimensions are not a multiple of 8."
            )

    @property
    def vector_bytes(self) -> int:
        """Bytes of a row's embedding."""
        return int((self.dimensions or 0) * {"float32": 4.0, "float16": 2.0, "int8": 1.0, "binary": 1 / 8}[self.dtype])

    @property
    def group_rows(self) -> int:
        """Rows of a row group."""
        if self.token_dimensions is not None:
            return MULTI_ROWS
        return max(1, min(GROUP_ROWS, GROUP_BYTES // max(1, self.vector_bytes)))

    def schema(self) -> Any:
        """Return the Arrow schema."""
        require("corpus", "pyarrow")
        import pyarrow as pa

        fields = [
            pa.field("id", pa.string(), nullable=False),
            pa.field("source", pa.string()),
            pa.field("page", pa.int32()),
            pa.field("kind", pa.dictionary(pa.int32(), pa.string())),
        ]
        fields += [pa.field("text", pa.string())] * self.text + [pa.field("image", pa.binary())] * self.image
        fields += [pa.field(name, kind) for name, kind in self.kept.items()]
        if self.dimensions is not None and self.dtype == "binary":
            fields.append(pa.field(BITS, fixed(pa.uint8(), self.dimensions // 8)))
        elif self.dimensions is not None:
            fields.append(pa.field(EMBEDDING, fixed(_number(self.dtype), self.dimensions)))
        if self.token_dimensions is not None:
            token = fixed(_number(self.token_dtype), self.token_dimensions)
            fields.append(pa.field(MULTI_VECTOR, pa.list_(pa.field("element", token))))
        return pa.schema(fields)

    def table(self, results: Sequence[Result]) -> Any:
        """Return results with vectors as an Arrow table."""
        import pyarrow as pa

        schema = self.schema()
        return pa.table([self._column(field, results) for field in schema], schema=schema)

    def _column(self, field: Any, results: Sequence[Result]) -> Any:
        import pyarrow as pa

        name = field.name
        if name in (EMBEDDING, BITS):
            dtype = "ubinary" if name == BITS else self.dtype
            rows = quantized(np.stack([_array(result.embedding) for result in results]), dtype)
            return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), type=field.type)
        if name == MULTI_VECTOR:
            tokens = [_array(result.multi_vector) for result in results]
            numbers = np.concatenate(tokens).astype(self.token_dtype)
            token = pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), type=field.type.value_type)
            offsets = np.cumsum([0, *map(len, tokens)], dtype=np.int32)
            return pa.ListArray.from_arrays(pa.array(offsets), token, type=field.type)
        return pa.array([_value(name, result) for result in results], field.type)


def _value(name: str, result: Result) -> Any:
    content = result.content
    assert content is not None
    own = {
        "id": result.entry.id,
        "source": result.entry.source,
        "page": result.entry.page,
        "kind": result.kind,
        "text": content.text or None,
        "image": content.file,
    }
    return own[name] if name in own else content.kept.get(name)


def _array(rows: Any) -> np.ndarray:
    return np.asarray(rows, dtype=np.float32)


def fixed(number: Any, length: int) -> Any:
    """Return the Arrow type of lists of ``length`` numbers."""
    import pyarrow as pa

    return pa.list_(pa.field("element", number), length)


def _number(dtype: str) -> Any:
    import pyarrow as pa

    return {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}[dtype]


class Destination(Protocol):
    """Where the rows of a corpus go, shard by shard; writing a shard again changes nothing."""

    def check(self, *, is_known: bool) -> None:
        """Check, where the journal knows of nothing, that nothing is there.

        Raises:
            ConfigError: Something is, or it has other columns.
        """
        ...

    def clear(self) -> None:
        """Remove all rows."""
        ...

    def begin(self, number: int) -> None:
        """Begin a shard."""
        ...

    def add(self, results: Sequence[Result]) -> None:
        """Add rows to it; all of them have vectors."""
        ...

    def finish(self) -> dict[str, Any]:
        """Finish it, and return what its done file says of it."""
        ...

    def is_there(self, number: int, record: Mapping[str, Any]) -> bool:
        """Tell whether the rows of a shard that is done are there."""
        ...

    def remove(self, number: int) -> None:
        """Remove the rows of a shard that there is no more."""
        ...

    def close(self) -> None:
        """Give up the shard that was begun."""
        ...


class ParquetParts:
    """A file ``part-00000.parquet`` for each shard; a row group is written while the next one is computed."""

    def __init__(self, folder: Path, shape: Shape, *, held_bytes: int = HELD_BYTES) -> None:
        self._folder, self._shape, self._most = folder, shape, held_bytes
        self._number, self._held, self._count = -1, 0, 0
        self._tables: list[Any] = []  # of the row group; the results themselves hold more
        self._writer: Any = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="corpus-write")
        self._writing: Future[None] | None = None

    def part(self, number: int) -> Path:
        """Return the path of a shard's file."""
        return self._folder / f"part-{number:05d}.parquet"

    def check(self, *, is_known: bool) -> None:
        """See ``Destination``; the journal has looked into the folder."""

    def clear(self) -> None:
        """See ``Destination``."""
        for path in self._folder.glob("part-*.parquet"):
            path.unlink()

    def begin(self, number: int) -> None:
        """See ``Destination``."""
        self._number, self._tables, self._held, self._count = number, [], 0, 0
        for old in self._folder.glob(f".{self.part(number).name}.*.tmp"):
            old.unlink(missing_ok=True)

    def add(self, results: Sequence[Result]) -> None:
        """See ``Destination``."""
        begin = 0
        for end, result in enumerate(results, 1):
            self._held += result.held_bytes
            self._count += 1
            if self._count == self._shape.group_rows or self._held >= self._most:
                self._tables.append(self._shape.table(results[begin:end]))
                self._write()
                begin = end
        if begin < len(results):
            self._tables.append(self._shape.table(results[begin:]))

    def finish(self) -> dict[str, Any]:
        """See ``Destination``; a shard without rows has no file."""
        path = self.part(self._number)
        if self._tables:
            self._write()
        self._wait()
        if self._writer is None:
            path.unlink(missing_ok=True)
            return {"bytes": 0}
        self._writer.close()
        self._writer = None
        commit(temporary(path), path)
        return {"bytes": path.stat().st_size}

    def is_there(self, number: int, record: Mapping[str, Any]) -> bool:
        """See ``Destination``; a file of another length was cut or replaced."""
        path = self.part(number)
        return (path.stat().st_size if path.exists() else 0) == record.get("bytes")

    def remove(self, number: int) -> None:
        """See ``Destination``."""
        self.part(number).unlink(missing_ok=True)

    def close(self) -> None:
        """See ``Destination``."""
        with suppress(Exception):
            self._wait()
        if self._writer is not None:
            with suppress(Exception):
                self._writer.close()
            self._writer = None
        with suppress(OSError):
            temporary(self.part(self._number)).unlink()
        self._pool.shutdown()

    def _write(self) -> None:
        tables, self._tables, self._held, self._count = self._tables, [], 0, 0
        self._wait()
        self._writing = self._pool.submit(self._write_group, tables)

    def _wait(self) -> None:
        """Wait for the row group before, and raise its error."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def _write_group(self, tables: list[Any]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.concat_tables(tables).unify_dictionaries()
        if self._writer is None:
            has_floats = self._shape.dimensions is not None and self._shape.dtype == "float32"
            self._writer = pq.ParquetWriter(
                temporary(self.part(self._number)),
                table.schema,
                compression="zstd",
                use_dictionary=["id", "source", "kind"],
                use_byte_stream_split=[f"{EMBEDDING}.list.element"] if has_floats else False,
            )
        self._writer.write_table(table, row_group_size=len(table))
