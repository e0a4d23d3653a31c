"""Every store that a corpus can be written to, empty: the name of its table, and what its own client says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.postgres import postgres_server, table


@dataclass(frozen=True, kw_only=True)
class Store:
    """A store of a test.

    Attributes:
        out: What ``embed_corpus`` is given.
        vectors: Returns the embeddings by the rows' ids, as the store's own client gives them; none is there twice.
        remove: Removes the row of an id by the store's own client.
        foreign: Makes a table of the same name that is no corpus.
        has_tokens: Whether it holds multi-vectors.
    """

    out: str
    vectors: Callable[[], dict[str, np.ndarray]]
    remove: Callable[[str], None]
    foreign: Callable[[], None]
    has_tokens: bool = True


def once(pairs: list[tuple[str, Any]]) -> dict[str, np.ndarray]:
    """Return pairs of ids and numbers as a dictionary; an id that is there twice is a failure."""
    found = {name: np.asarray(numbers, dtype=np.float32) for name, numbers in pairs}
    assert len(found) == len(pairs)
    return found


def lancedb(folder: Path) -> Store:
    import lancedb as library

    def open_table() -> Any:
        return library.connect(str(folder)).open_table("pages")

    return Store(
        out=f"lancedb://{folder}/pages",
        vectors=lambda: once([(row["id"], row["embedding"]) for row in open_table().to_arrow().to_pylist()]),
        remove=lambda name: open_table().delete(f"id = '{name}'"),
        foreign=lambda: library.connect(str(folder)).create_table("pages", [{"a": 1}]) and None,
    )


def qdrant(folder: Path) -> Store:
    from qdrant_client import QdrantClient, models

    from vllm_jina_embed.corpus.qdrant import point_id

    def asked(call: Callable[[QdrantClient], Any]) -> Any:
        client = QdrantClient(path=str(folder))
        try:
            return call(client)
        finally:
            client.close()

    def vectors() -> dict[str, np.ndarray]:
        points, _ = asked(lambda client: client.scroll("pages", limit=100_000, with_vectors=True))
        return once([(point.payload["id"], point.vector["embedding"]) for point in points])

    other = models.VectorParams(size=2, distance=models.Distance.DOT)
    return Store(
        out=f"qdrant://{folder}/pages",
        vectors=vectors,
        remove=lambda name: asked(lambda client: client.delete("pages", [point_id(name)])),
        foreign=lambda: asked(lambda client: client.create_collection("pages", other)),
    )


def chroma(folder: Path) -> Store:
    import chromadb

    def collection() -> Any:
        return chromadb.PersistentClient(str(folder)).get_collection("pages", embedding_function=None)

    def vectors() -> dict[str, np.ndarray]:
        found = collection().get(include=["embeddings"])
        return once(list(zip(found["ids"], found["embeddings"], strict=True)))

    return Store(
        out=f"chroma://{folder}/pages",
        vectors=vectors,
        remove=lambda name: collection().delete(ids=[name]),
        foreign=lambda: chromadb.PersistentClient(str(folder)).create_collection("pages") and None,
        has_tokens=False,
    )


@cache
def one_server() -> Any:
    """Return the PostgreSQL that all tests of a corpus share."""
    return postgres_server()


def postgres(folder: Path) -> Store:
    import psycopg

    server = one_server()

    def asked(query: str, *arguments: Any) -> Any:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            cursor = connection.execute(query, arguments)
            return cursor.fetchall() if cursor.description else None

    asked("DROP TABLE IF EXISTS pages CASCADE")

    def vectors() -> dict[str, np.ndarray]:
        rows = asked("SELECT id, embedding::text FROM pages")
        return once([(name, [float(number) for number in text[1:-1].split(",")]) for name, text in rows])

    return Store(
        out=table(server, "pages"),
        vectors=vectors,
        remove=lambda name: asked("DELETE FROM pages WHERE id = %s", name),
        foreign=lambda: asked("CREATE TABLE pages (a integer)"),
    )


STORES = {"lancedb": lancedb, "qdrant": qdrant, "chroma": chroma, "postgres": postgres}
