"""The notebook of examples/ as it is committed: what was printed elsewhere is not part of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.ipynb"))


def faults(notebook: dict[str, Any]) -> Iterator[str]:
    """Yield what a run or an editor left in a notebook."""
    for cell in notebook["cells"]:
        if cell.get("outputs"):
            yield f"{cell['id']} has outputs"
        if cell.get("execution_count") is not None:
            yield f"{cell['id']} is numbered"
        if cell["metadata"]:
            yield f"{cell['id']} has metadata"
    if notebook["metadata"] != {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }:
        yield "metadata names a machine's own kernel or Python"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    """And says how to run it with the real weights, as the programs beside it do."""
    text = path.read_text("utf-8")
    assert list(faults(json.loads(text))) == []
    assert "With a GPU and the real weights" in text


def test_there_is_one() -> None:
    assert [path.name for path in NOTEBOOKS] == ["19_images_to_answers.ipynb"]


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        ({"outputs": [{"output_type": "stream", "name": "stdout", "text": ["x"]}]}, "has outputs"),
        ({"execution_count": 3}, "is numbered"),
        ({"metadata": {"collapsed": True}}, "has metadata"),
    ],
)
def test_what_a_run_leaves_is_seen(planted: dict[str, Any], fault: str) -> None:
    notebook = json.loads(NOTEBOOKS[0].read_text("utf-8"))
    cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    cell.update(planted)
    assert list(faults(notebook)) == [f"{cell['id']} {fault}"]


def test_the_kernel_of_a_machine_is_seen() -> None:
    notebook = json.loads(NOTEBOOKS[0].read_text("utf-8"))
    notebook["metadata"]["language_info"]["version"] = "3.11.7"
    assert list(faults(notebook)) == ["metadata names a machine's own kernel or Python"]
