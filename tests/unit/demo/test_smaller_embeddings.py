"""The benchmarks of smaller types and of first stages: their arithmetic, written out."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import first_stage, smaller_embeddings
from benchmarks.first_stage import Encoding, means
from tests.unit.scoring.test_maxsim import by_definition, multi_vectors
from vllm_jina_embed.pooling.quantization import DTYPES, calibrated, default_ranges, quantized


def unit_rows(count: int, seed: int, dimensions: int = 64) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_are_those_of_the_numbers(dtype: str) -> None:
    """Bits by counting, and numbers by what they stand for: near float32's, in each type."""
    queries, items = unit_rows(3, 1), unit_rows(20, 2)
    found = smaller_embeddings.scores(queries, items, dtype)
    if "binary" in dtype:
        for q, query in enumerate(queries):
            for i, item in enumerate(items):
                assert found[q, i] == -sum((a >= 0) != (b >= 0) for a, b in zip(query, item, strict=True))
        return
    step = 2 / 255 if dtype in ("int8", "uint8") else 0.001
    assert np.abs(found - queries @ items.T).max() < step * np.sqrt(64)  # each number is off by half a step at most
    if dtype in ("int8", "uint8"):
        numbers = smaller_embeddings.stands_for(quantized(items, dtype), dtype, default_ranges(64))
        assert np.abs(numbers - items).max() < step / 2 + 1e-6
        ranges = calibrated(np.concatenate([queries, items]))
        closer = smaller_embeddings.scores(queries, items, dtype, ranges)
        assert np.abs(closer - queries @ items.T).mean() < np.abs(found - queries @ items.T).mean()


@pytest.mark.parametrize(("dtype", "size"), [("float32", 256), ("float16", 128), ("int8", 64), ("ubinary", 8)])
def test_sizes_are_those_of_the_arrays(dtype: str, size: int) -> None:
    assert smaller_embeddings.size(dtype, 64) == size == quantized(unit_rows(1, 1), dtype)[0].nbytes


def test_the_table_has_a_line_for_each_type_and_a_share_for_each_corpus() -> None:
    queries, items = unit_rows(5, 1), unit_rows(60, 2)
    lines = smaller_embeddings.table([(queries, items), (queries, items[:30])])
    assert len(lines) == 2 + len(DTYPES) + 2
    assert lines[2] == "| float32 | 256 | 256 MB | 1.000 | 1.000 |"
    assert {line.count("|") for line in lines} == {6}


def test_an_encoding_is_that_of_the_paper_written_out() -> None:
    """One repetition: a query's rows are added up in each cell, an item's have their mean, and no cell is empty."""
    encoding = Encoding(repetitions=1, planes=2, projected=8)
    (rows,) = multi_vectors([6], seed=3)
    rng = np.random.default_rng(first_stage.SEED)
    planes = rng.normal(size=(16, 2)).astype(np.float32)
    projection = rng.choice([-1, 1], size=(16, 8)).astype(np.float32) / np.sqrt(np.float32(8))
    cells = [sum(2**bit for bit in range(2) if row @ planes[:, bit] > 0) for row in rows]
    query, item = [], []
    for cell in range(4):
        inside = [row for row, place in zip(rows, cells, strict=True) if place == cell]
        query.append(np.sum(inside, axis=0) if inside else np.zeros(16))
        nearest = min(range(6), key=lambda number: (bin(cells[number] ^ cell).count("1"), number))
        item.append(np.mean(inside, axis=0) if inside else rows[nearest])
    assert len({*cells}) < 4 or encoding.dimensions == 32
    for parts, is_query in ((query, True), (item, False)):
        wanted = np.concatenate([part @ projection for part in parts])
        assert encoding.of([rows], is_query=is_query)[0] == pytest.approx(wanted, abs=1e-5)


def test_a_longer_encoding_is_nearer_to_maxsim() -> None:
    """Where a few rows of a query and an item are alike, as the paper promises."""
    items = multi_vectors([8] * 60, seed=4)
    queries = [np.stack([items[place][0], items[place][3]]) for place in range(20)]
    exact = by_definition(queries, items)

    def fit(scores: np.ndarray) -> float:
        return float(np.corrcoef(scores.ravel(), exact.ravel())[0, 1])

    short, long = (Encoding(repetitions=count, planes=3, projected=16) for count in (1, 30))
    fits = [fit(one.of(queries, is_query=True) @ one.of(items, is_query=False).T) for one in (short, long)]
    assert fits[1] > fits[0]
    assert fits[1] > 0.5
    assert means(items).shape == (60, 16)
