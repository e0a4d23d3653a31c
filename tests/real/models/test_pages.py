"""What vLLM's pages show with its own code, by this package's examples: on small checkpoints of the same models."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from tests.support.jina_v3 import make_jina_v3
from tests.support.servers import served
from tests.support.vision_rows import make_vision
from tests.support.xlm_roberta import make_xlm_roberta

pytestmark = [pytest.mark.real, pytest.mark.models]

EXAMPLES = Path(__file__).parents[3] / "examples"


class Run:
    """Runs an example with arguments and returns what it prints."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def __call__(self, name: str, *arguments: object) -> str:
        self.monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return self.capsys.readouterr().out


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(capsys, monkeypatch)


@pytest.fixture
def bge(tmp_path: Path) -> Path:
    return make_xlm_roberta(tmp_path / "bge-m3")


@pytest.mark.parametrize("row", ["e5-v", "vlm2vec-qwen2vl"])
def test_text_image_and_both(row: str, tmp_path: Path, run: Run) -> None:
    """vision_language_embedding.py: three modalities, by the model's own prompts."""
    (tmp_path / "models").mkdir()
    said = run("13_text_image_both", make_vision(row, tmp_path / "models"))
    for name in ("text", "image", "text + image"):
        assert f"{name}: 3 vectors of " in said
    assert said.count("a blue star -> ") == 3


def test_multi_vectors_offline_and_over_http(bge: Path, tmp_path: Path, run: Run) -> None:
    """multi_vector_retrieval.py and multi_vector_retrieval_client.py."""
    with served(str(bge), tmp_path / "log", "--multi-vector") as server:
        said = run("14_multi_vectors", bge, server.url)
    assert "equal: True" in said
    assert "server, equal: True" in said


def test_jina_v3_with_32_numbers(tmp_path: Path, run: Run) -> None:
    """embed_jina_embeddings_v3.py and embed_matryoshka_fy.py, with an adapter of its own for each task."""
    said = run("15_tasks_and_lengths", make_jina_v3(tmp_path / "jina-embeddings-v3"))
    assert "tasks: retrieval, text-matching, separation, classification" in said
    numbers = [line.rpartition(" ")[2] for line in said.splitlines() if ", the first " in line]
    assert len(numbers) == len({*numbers}) == 4
    assert "short: (1, 32)" in said


def test_bge_m3_has_one_length(bge: Path, run: Run) -> None:
    """Its page shows the same refusal, as an error of the request."""
    said = run("15_tasks_and_lengths", bge)
    assert f"refused: dimensions=32 is not a Matryoshka size of {bge}; it was trained for the full length alone" in said


def test_clients_of_openai_and_cohere(bge: Path, tmp_path: Path, run: Run) -> None:
    """openai_embedding_client.py and cohere_embed_client.py; bge-m3 takes no image, and says so."""
    with served(str(bge), tmp_path / "log") as server:
        said = run("16_any_client", server.url)
    assert "the same vector: True" in said
    assert "an image: images[0]: got an image; this checkpoint takes texts only" in said
    assert "33 numbers: 400, output_dimension: dimensions=33 is not a Matryoshka size of " in said
