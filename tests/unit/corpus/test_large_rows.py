"""Rows with large texts, images and multi-vectors: what is held or sent at a time is bounded by its bytes."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed.corpus import parquet_rows, work
from vllm_jina_embed.corpus.batched import BatchedTable
from vllm_jina_embed.corpus.entries import Columns, Content, Entry
from vllm_jina_embed.corpus.folders import PdfEntries
from vllm_jina_embed.corpus.parquet_parts import ParquetParts, Shape
from vllm_jina_embed.corpus.sources import entries, sources_of
from vllm_jina_embed.corpus.work import Result, Vectors, embedded, loaded

SHAPE = Shape(dimensions=4, token_dimensions=None, image=True, kept={"notes": pa.list_(pa.string())})


def row(number: int, **content: Any) -> Result:
    entry = Entry(id=str(number), source="a")
    content = {"kept": {"notes": None}, **content}
    return Result(entry=entry, content=Content(**content), embedding=np.ones(4, np.float32))


class Noted(BatchedTable):
    """Notes the ids of each batch."""

    def __init__(self, **options: Any) -> None:
        super().__init__(SHAPE, most=4, **options)
        self.batches: list[list[str]] = []

    def remove(self, number: int) -> None:
        """There is nothing to remove."""

    def _write(self, rows: Any) -> None:
        self.batches.append([row.entry.id for row in rows])


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([1] * 9, [4, 4, 1]),
        ([300] * 5, [2, 2, 1]),  # 400 in base64, and 16 of numbers
        ([2000, 1, 1, 2000, 2000, 1], [1, 2, 1, 1, 1]),  # one that is larger alone goes alone
    ],
)
def test_a_batch_of_a_store_ends_by_rows_or_bytes(sizes: list[int], batches: list[int]) -> None:
    """However they come, every row is written once and in order."""
    for step in (1, 2, len(sizes)):
        table = Noted(most_bytes=1000)
        table.begin(0)
        for first in range(0, len(sizes), step):
            part = range(first, min(first + step, len(sizes)))
            table.add([row(number, file=b"x" * sizes[number]) for number in part])
        table.finish()
        assert [len(batch) for batch in table.batches] == batches
        assert [name for batch in table.batches for name in batch] == [str(number) for number in range(len(sizes))]


@pytest.mark.parametrize(
    "content", [{"text": "x" * 900}, {"file": b"x" * 900}, {"kept": {"notes": ["x" * 450, "x" * 450]}}]
)
def test_texts_images_and_kept_columns_end_a_row_group(content: dict[str, Any], tmp_path: Path) -> None:
    parts = ParquetParts(tmp_path, SHAPE, held_bytes=1800)
    parts.begin(0)
    parts.add([row(number, **content) for number in range(5)])
    parts.finish()
    parts.close()
    file = pq.ParquetFile(tmp_path / "part-00000.parquet")
    assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [2, 2, 1]


@pytest.mark.parametrize(("multi", "windows"), [(False, 1), (True, 5)])
def test_long_texts_with_multi_vectors_are_embedded_a_few_at_a_time(
    multi: bool, windows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4,000 bytes are about 1,000 tokens, and what two of them take fills a window."""
    listed = [Entry(id=str(at), source="a", load=lambda: Content(text="word " * 800)) for at in range(10)]
    sizes: list[int] = []
    with in_memory([])(write_folder(tmp_path / "model"), dimensions=32) as embedder:

        class Counted:
            settings = embedder.settings

            def outcome(self, items: Any, *arguments: Any, **options: Any) -> Any:
                sizes.append(len(items))
                return embedder.outcome(items, *arguments, **options)

        token_bytes = 4 * embedder.settings.checkpoint.token_dimensions
        monkeypatch.setattr(work, "WINDOW_BYTES", 2 * (4000 + 1000 * token_bytes))
        vectors = Vectors(embedder=Counted(), embedding=not multi, multi_vector=multi)
        results = [result for result in embedded(loaded(listed), vectors) if isinstance(result, Result)]
    assert [result.entry.id for result in results] == [str(at) for at in range(10)]
    assert (len(sizes), sum(sizes)) == (windows, 10)


def test_a_table_of_large_rows_is_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three row groups, of which the last has small rows; every row is the one of its id."""
    monkeypatch.setattr(parquet_rows, "BATCH_BYTES", 100_000)
    sizes = [20_000] * 20 + [10] * 200
    rng = np.random.default_rng(0)
    texts = [rng.bytes(size // 2).hex() for size in sizes]
    table = pa.table({"id": [str(at) for at in range(220)], "text": texts})
    with pq.ParquetWriter(tmp_path / "a.parquet", table.schema) as writer:
        for first, last in ((0, 10), (10, 20), (20, 220)):
            writer.write_table(table.slice(first, last - first))
    read: list[int] = []
    batches = parquet_rows._batches

    def noted(*arguments: Any) -> Any:
        for rows in batches(*arguments):
            read.append(sum(len(json.dumps(row)) for row in rows))
            yield rows

    monkeypatch.setattr(parquet_rows, "_batches", noted)
    with PdfEntries() as pdfs:
        listed = list(entries(sources_of(tmp_path / "a.parquet"), Columns(), pdfs))
        found = [part[1].text for part in loaded(listed) if isinstance(part, tuple)]  # type: ignore[union-attr]
    assert found == texts
    assert max(read) < 120_000


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_long_row_of_csv_is_not_kept_until_it_is_its_turn(end: str, tmp_path: Path) -> None:
    """A shard of them would fill the memory of a run that goes on; quotes and line breaks stay what they are."""
    long = 'He said "no", twice;' + end + "x" * 300_000 + " Größe "
    rows = [["a", "short"], ["b", long], ["c", "two" + end + "lines"], ["d", long]]
    with (tmp_path / "a.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, lineterminator=end).writerows([["id", "text"], *rows])
    with PdfEntries() as pdfs:
        listed = list(entries(sources_of(tmp_path / "a.csv"), Columns(), pdfs))
        found = [[part[0].id, part[1].text] for part in loaded(listed) if isinstance(part, tuple)]  # type: ignore[union-attr]
    assert found == rows
    assert all(len(pickle.dumps(entry)) < 2000 for entry in listed)
    assert abs(sum(entry.size for entry in listed) - (tmp_path / "a.csv").stat().st_size) < 20
