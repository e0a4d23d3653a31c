"""A LanceDB table of both kinds of vector: its own MaxSim ranks what a first query selects."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .._extras import require
from .._forks import fork_safe_lock
from ..errors import ConfigError, EngineError, VllmJinaError
from ..inputs import items as inputs
from .batches import Rows, check_id
from .collection import EMBEDDING, METADATA_KEY, MULTI_VECTOR, Hit, Question, differences
from .storage import Storage

if TYPE_CHECKING:
    from lancedb import DBConnection

ID, PAYLOAD, DISTANCE = "id", "payload", "_distance"


class LanceCollection:
    """See ``Collection``. A filter is SQL, in which ``payload`` is JSON: ``json_get_string(payload, 'page') = '3'``."""

    def __init__(
        self,
        place: str | os.PathLike[str] | DBConnection,
        name: str,
        *,
        facts: Mapping[str, Any],
        storage: Storage,
    ) -> None:
        """Keep the parts and open the database; no table is opened.

        Args:
            place: A folder, a URI, or a connection, which stays open.
            name: Of the table.
            facts: Settings that the vectors are made with.
            storage: Its ``datatype`` and ``pool_factor``; the rest is Qdrant's.

        Raises:
            ConfigError: The storage cannot be had, or there is no database at ``place``.
            MissingExtraError: lancedb is not installed.
        """
        require("lancedb", "lancedb")
        if storage.quantization is not None or storage.on_disk:
            raise ConfigError(
                f"{storage!r}: quantization and on_disk are Qdrant's. LanceDB serves from disk; its own index on the "
                "table can quantise."
            )
        self._name, self._facts, self._storage = name, facts, storage
        self._lock = fork_safe_lock(self)
        self._table: Any = None
        if isinstance(place, str | os.PathLike):
            import lancedb

            with self._translated("connect"):
                place = lancedb.connect(os.fspath(place), read_consistency_interval=timedelta(0))
        if not all(hasattr(place, name) for name in ("open_table", "create_table", "table_names")):
            raise ConfigError(f"got a {type(place).__name__} as lancedb; expected a folder, a URI, or a connection.")
        self._database: Any = place

    @property
    def most_numbers(self) -> int | None:
        """See ``Collection``."""
        return None

    def ready(self) -> None:
        """See ``Collection``.

        Raises:
            ConfigError: The table was made with other settings, or by another program.
        """
        with self._translated("open"):
            try:
                self._table = self._database.open_table(self._name)
            except (ValueError, FileNotFoundError):  # there is none; if it cannot be opened, this fails too
                self._table = self._database.create_table(self._name, schema=self._schema())
            stored = (self._table.schema.metadata or {}).get(METADATA_KEY.encode())
        if stored is None:
            raise ConfigError(f"table {self._name!r} exists, and another program created it. Choose another name.")
        if others := differences({**self._facts, "datatype": self._storage.datatype}, json.loads(stored)):
            raise ConfigError(
                f"table {self._name!r} exists and was created with {others}. Choose another name, or pass the settings "
                "that it was created with."
            )

    def write(self, rows: Rows) -> None:
        """See ``Collection``."""
        last = {name: place for place, name in enumerate(rows.ids)}  # of equal ids, the one that came last
        if not last:
            return
        import pyarrow as pa

        schema = self._schema()
        columns = [
            list(last),
            [json.dumps(rows.payloads[place]) for place in last.values()],
            [rows.embeddings[place].tolist() for place in last.values()],
            [rows.multi_vectors[place].tolist() for place in last.values()],
        ]
        with self._translated("write"), self._lock:
            data = pa.table(
                [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
            )
            self._table.merge_insert(ID).when_matched_update_all().when_not_matched_insert_all().execute(data)

    async def awrite(self, rows: Rows) -> None:
        """Await ``write``."""
        await asyncio.to_thread(self.write, rows)

    def remove(self, ids: Iterable[str] | None, only: Any) -> None:
        """See ``Collection``.

        Raises:
            ConfigError: Neither or both are passed.
            InputError: ``ids`` is not a list, or one of the ids is not a string.
        """
        if (ids is None) == (only is None):
            raise ConfigError("delete takes ids or filter=...; pass exactly one of them.")
        where = _checked(only)
        if ids is not None:
            names: list[Any] = list(inputs.listed(ids, "ids"))
            for name in names:
                check_id(name)
            if not names:
                return
            where = _among(names)
        with self._translated("delete"), self._lock:
            self._table.delete(where)

    async def aremove(self, ids: Iterable[str] | None, only: Any) -> None:
        """Await ``remove``."""
        await asyncio.to_thread(self.remove, ids, only)

    def search(self, question: Question) -> list[Hit]:
        """See ``Collection``."""
        only = _checked(question.only)
        with self._translated("search"):
            if question.embedding is None:
                return self._maxsim(question, only, {})
            count = question.count if question.multi_vector is None else question.candidates
            found = self._nearest(EMBEDDING, question.embedding, count, only)
            cosines = {row[ID]: 1 - row[DISTANCE] for row in found}
            if question.multi_vector is None:
                return [_hit(row, {EMBEDDING: cosines[row[ID]]}) for row in found]
            return self._maxsim(question, _among(cosines), cosines) if cosines else []

    async def asearch(self, question: Question) -> list[Hit]:
        """Await ``search``."""
        return await asyncio.to_thread(self.search, question)

    def count(self) -> int:
        """See ``Collection``."""
        with self._translated("count"):
            return int(self._table.count_rows())

    async def acount(self) -> int:
        """Await ``count``."""
        return await asyncio.to_thread(self.count)

    def having(self, key: str, value: str) -> Any:
        """See ``Collection``."""
        return f"json_get_string({PAYLOAD}, {_quoted(key)}) = {_quoted(value)}"

    def close(self) -> None:
        """Let go of the table; a database in a folder needs no closing."""
        self._table = None

    async def aclose(self) -> None:
        """Await ``close``."""
        self.close()

    def _maxsim(self, question: Question, only: str | None, cosines: Mapping[str, float]) -> list[Hit]:
        """Return the best by LanceDB's own MaxSim: its distance is the sum of 1 - cosine over the query's tokens."""
        assert question.multi_vector is not None
        tokens = len(question.multi_vector)
        rows = self._nearest(MULTI_VECTOR, question.multi_vector, question.count, only)
        first = [{EMBEDDING: cosines[row[ID]]} if row[ID] in cosines else {} for row in rows]
        return [
            _hit(row, {**scores, "maxsim": tokens - row[DISTANCE]}) for row, scores in zip(rows, first, strict=True)
        ]

    def _nearest(self, column: str, vector: Any, count: int, only: str | None) -> list[dict[str, Any]]:
        query = self._table.search(vector, vector_column_name=column).distance_type("cosine").limit(count)
        query = query if only is None else query.where(only, prefilter=True)
        rows: list[dict[str, Any]] = query.select([ID, PAYLOAD, DISTANCE]).to_list()
        return rows

    def _schema(self) -> Any:
        import pyarrow as pa

        number = pa.float16() if self._storage.datatype == "float16" else pa.float32()
        facts = {**self._facts, "datatype": self._storage.datatype}
        return pa.schema(
            [
                pa.field(ID, pa.string()),
                pa.field(PAYLOAD, pa.json_()),
                pa.field(EMBEDDING, pa.list_(number, self._facts["dimensions"])),
                pa.field(MULTI_VECTOR, pa.list_(pa.list_(number, self._facts["token_dimensions"]))),
            ],
            metadata={METADATA_KEY: json.dumps(facts)},
        )

    @contextlib.contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        """Turn an error of LanceDB into one of this package.

        Raises:
            EngineError: What happens inside the block fails; LanceDB's own error is the cause.
        """
        try:
            yield
        except VllmJinaError:
            raise
        except Exception as error:  # lancedb's own are ValueError, RuntimeError and OSError; pyarrow's are others
            message = " ".join(str(error).split())[:500]
            raise EngineError(f"LanceDB: {name} failed: {type(error).__name__}: {message}") from error


def _hit(row: Mapping[str, Any], scores: Mapping[str, float]) -> Hit:
    *_, last = scores.values()
    return Hit(id=row[ID], score=last, payload=json.loads(row[PAYLOAD]), scores=scores)


def _checked(only: Any) -> str | None:
    """Return a filter.

    Raises:
        ConfigError: It is not SQL.
    """
    if only is None or isinstance(only, str):
        return only
    raise ConfigError(
        f"got a {type(only).__name__} as filter; LanceDB's are SQL, such as \"json_get_string(payload, 'page') = '3'\"."
    )


def _among(names: Iterable[str]) -> str:
    return f"{ID} IN ({', '.join(map(_quoted, names))})"


def _quoted(text: str) -> str:
    """Return a string of SQL."""
    return "'" + text.replace("'", "''") + "'"
