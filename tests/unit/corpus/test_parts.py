"""Row groups end before their rows fill the memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from vllm_jina_embed.corpus.entries import Content, Entry
from vllm_jina_embed.corpus.parquet_parts import GROUP_BYTES, ParquetParts, Shape
from vllm_jina_embed.corpus.work import Result

TOKENS = np.ones((2, 4), np.float32)


def results(count: int) -> list[Result]:
    content = Content(text="a", file=b"x" * 100)
    entries = [Entry(id=str(number), source="a") for number in range(count)]
    vector = np.ones(4, np.float32)
    return [Result(entry=entry, content=content, embedding=vector, multi_vector=TOKENS) for entry in entries]


@pytest.mark.parametrize(("held_bytes", "groups"), [(1000, [7, 3]), (3 * 149, [3, 3, 3, 1]), (1, [1] * 10)])
def test_images_and_multi_vectors_end_a_row_group(held_bytes: int, groups: list[int], tmp_path: Path) -> None:
    """Each row holds 100 bytes of an image, 48 of vectors and 1 of a text; all rows are there, however they come."""
    for sizes in ([10], [1] * 10, [4, 5, 1]):
        parts = ParquetParts(
            tmp_path, Shape(dimensions=4, token_dimensions=4, image=True, kept={}), held_bytes=held_bytes
        )
        parts.begin(0)
        rows = iter(results(10))
        for size in sizes:
            parts.add([next(rows) for _ in range(size)])
        parts.finish()
        parts.close()
        file = pq.ParquetFile(tmp_path / "part-00000.parquet")
        assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == groups
        assert file.read(["id"])["id"].to_pylist() == [str(number) for number in range(10)]


@pytest.mark.parametrize(("dtype", "rows"), [("float32", 2048), ("float16", 4096), ("binary", 4096)])
def test_embeddings_end_a_row_group(dtype: str, rows: int) -> None:
    shape = Shape(dimensions=2048, token_dimensions=None, dtype=dtype, kept={})
    assert shape.group_rows == rows
    assert shape.group_rows * shape.vector_bytes <= GROUP_BYTES
