"""The notebook of examples/ runs from top to bottom, offline, and each answer cites the images that show it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.wide, pytest.mark.timeout(1200)]

NOTEBOOK = Path(__file__).parents[2] / "examples" / "19_images_to_answers.ipynb"
CELL_SECONDS = 900
"""How long a cell may take: one starts an engine, which takes minutes on a busy machine."""


def kernel(folder: Path) -> str:
    """Write the specification of a kernel that runs this Python, and return its name."""
    from ipykernel.kernelspec import write_kernel_spec

    write_kernel_spec(folder / "kernels" / "this-python")
    return "this-python"


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each cell printed, by the cell's id, and under ``images`` how many images the last ones showed."""
    import nbformat
    from nbclient import NotebookClient

    work = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(work))
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        asked = nbformat.v4.new_code_cell("import sys; print(sys.executable)", id="python")
        notebook.cells.insert(0, asked)
        NotebookClient(
            notebook, timeout=CELL_SECONDS, kernel_name=kernel(work), resources={"metadata": {"path": str(work)}}
        ).execute()
    outputs = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    texts = {name: "".join(one.get("text", "") for one in shown) for name, shown in outputs.items()}
    images = [one for one in outputs["cited"] if "image/png" in one.get("data", {})]
    return {**texts, "images": str(len(images))}


def test_it_runs_on_the_python_of_the_tests(printed: dict[str, str]) -> None:
    assert printed["python"].strip() == sys.executable


def test_the_folder_is_embedded_and_found_by_words_and_by_an_image(printed: dict[str, str]) -> None:
    assert "7 items embedded" in printed["embed"]
    firsts = re.findall(r"^(.+) -> (photo-\d\.png) \(0\.\d\d\)$", printed["search"], re.MULTILINE)
    assert firsts == [
        ("a blue star", "photo-1.png"),
        ("浜辺に沈む美しい夕日", "photo-5.png"),
        ("ein gelbes Balkendiagramm", "photo-7.png"),
        ("une table verte", "photo-4.png"),
    ]
    (forests,) = re.findall(r"^another forest -> (.+)$", printed["search"], re.MULTILINE)
    assert sorted(forests.split()) == ["photo-2.png", "photo-6.png"]


def test_answers_cite_the_images_that_show_it(printed: dict[str, str]) -> None:
    """Both forests, and nothing where the folder holds no such image."""
    answers = dict(line.split(" -> ") for line in printed["ask"].splitlines())
    assert answers["ein blauer Stern"] == "blue star: [photo-1.png]"
    assert sorted(answers["a forest"].split()) == ["[photo-2.png]", "[photo-6.png]", "forest:"]
    assert answers["浜辺に沈む美しい夕日"] == "sunset at the beach: [photo-5.png]"
    assert answers["a pink pie chart"] == "None of these images shows that."
    assert len(answers) == 4


def test_the_cited_images_are_shown(printed: dict[str, str]) -> None:
    assert printed["images"] == "4"
    assert sorted(line.split(" -> ")[1] for line in printed["cited"].splitlines()) == [
        "photo-1.png",
        "photo-2.png",
        "photo-5.png",
        "photo-6.png",
    ]
