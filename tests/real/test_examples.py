"""Every example runs as it stands, offline, and shows what it promises."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from vllm_jina_embed import JinaEmbedder

pytestmark = pytest.mark.real

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("[0-9]*.py"))
SAYS = {
    "01_first_vectors": [
        "浜辺に沈む美しい夕日 -> a sunset (image)",
        "a blue star -> a blue star (image)",
        "un bosque -> a forest (image)",
        "a green table -> a green table (German text)",
    ],
    "02_langchain_one_store": [
        "浜辺に沈む美しい夕日 -> diary.txt",
        "ein blauer Stern -> logo",
        "another forest -> walk",
    ],
    "03_llama_index_one_index": ["浜辺に沈む美しい夕日 -> diary", "ein blauer Stern -> logo", "another forest -> walk"],
    "04_both_on_one_engine": ["dimensions: 128 and 64", "threads: 9 answers", "event loop: True"],
    "05_queries_by_image": [
        "Chroma: forest.png, forest.png",
        "Chroma: blue star.png",
        "Qdrant: forest.png, forest.png",
        "Qdrant: blue star.png",
    ],
    "06_caches": [
        "16 items in",
        "equal bit for bit: True",
        "LangChain keeps roles apart: True",
        "LlamaIndex keeps roles apart: True",
    ],
    "07_langchain_agent": ["[1] logo", "Our logo", "<image image/jpeg>", "answer: The logo is a blue star [1]."],
    "08_llama_index_agent": ["[1] logo", "Our logo", "<image image/jpeg>", "answer: The logo is a blue star [1]."],
    "09_rag_over_a_pdf": ["it was given text and image", "[report.pdf, page 1]"],
    "10_evaluation": ["DemoImages: "],
    "11_late_interaction": [
        "LangChain: 3 items",
        "浜辺に沈む美しい夕日 -> diary",
        "ein grüner T -> catalogue",
        "data:image/p -> logo",
        "filtered -> logo",
        "浜辺に沈む美しい夕日 -> diary",
        "ein grüner Tisch -> catalogue",
        "an image -> logo",
        "MaxSim without an index: [[",
    ],
    "12_served": [
        "Ready: http://127.0.0.1:",
        "serves: demo, 128 numbers",
        "ein blauer Stern -> blue star",
        "un círculo rojo -> red circle",
        "森 -> forest",
        "both frameworks, equal: True",
    ],
    "13_text_image_both": [
        "text: 3 vectors of 128 numbers",
        "a blue star -> blue star",
        "image: 3 vectors of 128 numbers",
        "a red circle -> red circle",
        "text + image: 3 vectors of 128 numbers",
        "a green table -> green table",
    ],
    "14_multi_vectors": ["shapes: (", "MaxSim: [", "equal: True"],
    "15_tasks_and_lengths": [
        "tasks: retrieval, text-matching, code",
        "retrieval: 128 numbers, the first",
        "input_type='search_query' is the query's prompt: True",
        "short: (1, 32)",
        "{'truncate': 'END'} [",
        "{'long_text': 'chunks'} [",
    ],
    "16_any_client": [
        "the same vector: True",
        "'float': 128, 'int8': 128, 'uint8': 128, 'binary': 16, 'ubinary': 16",
        "an image: 128",
        "33 numbers: 400, output_dimension: dimensions=33 is not a Matryoshka size of demo",
    ],
    "17_second_look": [
        "LangChain: 浜辺に沈む美しい夕日 -> diary ",
        "LangChain: ein grüner Tisch -> catalogue ",
        "LangChain: una estrella azul -> logo ",
        "LlamaIndex: 浜辺に沈む美しい夕日 -> diary ",
        "LlamaIndex: ein grüner Tisch -> catalogue ",
        "LlamaIndex: una estrella azul -> logo ",
    ],
    "18_what_matched": [
        "blue star {'embedding': 0.",
        "'maxsim': ",
        "by embedding alone: blue star",
        "by maxsim alone: blue star",
        "patches: 7 x 10",
        "matches patch (",
        "the sum is the score: True",
    ],
}
FIRST = tuple(name for name in EXAMPLES if name < "05")
"""Those of the frameworks that everybody begins with; the others run in the wide tests."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of an example, which may import its neighbours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(FOLDER))
    return tmp_path


def run(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "argv", [name])
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FIRST else pytest.mark.wide) for name in EXAMPLES]
)
def test_an_example_shows_what_it_promises(
    name: str,
    demo_embedder: JinaEmbedder,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the engine that runs already; what is expected comes in this order."""
    said = run(name, capsys, monkeypatch)
    place = -1
    for text in SAYS[name]:
        place = said.find(text, place + 1)
        assert place >= 0, f"{text!r} is missing or too early in:\n{said}"


@pytest.mark.wide
def test_the_evaluation_finds_the_images(
    demo_embedder: JinaEmbedder, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figure that it prints is the recall that the demo promises."""
    said = run("10_evaluation", capsys, monkeypatch)
    assert float(said.split("DemoImages: ")[1].split()[0]) >= 0.95


@pytest.mark.wide
def test_the_answer_shows_its_page(
    demo_embedder: JinaEmbedder, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The HTML file holds the page's image; another question opens another page."""
    run("09_rag_over_a_pdf", capsys, monkeypatch)
    page = (folder / "answer.html").read_text(encoding="utf-8")
    assert page.count("<img src='data:image/png;base64,") == 1
    assert "report.pdf, page 1" in page
    for question, number in (("una tabla amarilla", 4), ("a green pie chart", 2)):
        monkeypatch.setattr(sys, "argv", ["09", "report.pdf", question])
        runpy.run_path(str(FOLDER / "09_rag_over_a_pdf.py"), run_name="__main__")
        assert f"[report.pdf, page {number}]" in capsys.readouterr().out


def test_examples_are_numbered_and_fit_on_a_screen() -> None:
    """None is left out of these tests, and each says how to run it with the real weights."""
    assert set(SAYS) == set(EXAMPLES)
    numbers = sorted(int(path.name[:2]) for path in FOLDER.glob("[0-9]*"))  # with the notebook, see test_notebook.py
    assert numbers == list(range(1, len(numbers) + 1))
    for path in FOLDER.glob("*.py"):
        code = path.read_text(encoding="utf-8")
        assert len(code.splitlines()) <= 80, path.name
        assert path.name == "make_report.py" or "With a GPU and the real weights" in code, path.name
