"""Every Python block of README.md and docs/ runs, block after block per page, as a reader would paste them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from PIL import Image

from tests.support.servers import RealServer, served
from tests.support.shell_blocks import commands
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.checkpoints.rankers import RANKERS
from vllm_jina_embed.checkpoints.registry import ROWS
from vllm_jina_embed.cli import main

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
CHAPTERS = [
    "Install", "First vectors", "Images", "One ranking", "Text and image together", "Queries by image", "Stores",
    "Caches", "Agents", "Errors", "Closing",
]  # fmt: skip
FIRST = ("README", "quickstart", "langchain", "llama-index")
"""Pages that everybody begins with; the others run in the wide tests."""
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^\s*(```|~~~)\s*(py|python)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Python code of a page.

    Attributes:
        code: The lines between the fences.
        line: Where the first of them stands in the page, from 0.
    """

    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(code=found[1], line=text.count("\n", 0, found.start(1))) for found in BLOCK.finditer(text)]


@pytest.fixture
def as_cloned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what pages name, as working directory; what they write stays there."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    if (ROOT / "examples").exists():
        shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(page: Path) -> dict[str, Any]:
    """Run the blocks of a page in one namespace; tracebacks show the page's own lines.

    The rows that it registers are forgotten after it.
    """
    namespace: dict[str, Any] = {"__name__": f"page_{page.stem}"}
    with patch.dict(ROWS), patch.dict(RANKERS), ExitStack() as stack:
        for block in blocks(page):
            exec(compile("\n" * block.line + block.code, str(page), "exec"), namespace)
        for value in namespace.values():
            if callable(close := getattr(value, "close", None)) and not isinstance(value, type):
                stack.callback(close)
    return namespace


@pytest.fixture(scope="module")
def documented_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """The server that server.md tells to start."""
    with served("demo", tmp_path_factory.mktemp("server") / "log", port=8765) as server:
        yield server


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if page.stem in FIRST else pytest.mark.wide, id=page.stem)
        for page in PAGES
        if blocks(page)
    ],
)
def test_every_block_of_a_page_runs(
    page: Path, demo_embedder: JinaEmbedder, as_cloned: Path, request: pytest.FixtureRequest
) -> None:
    if "127.0.0.1:8765" in page.read_text(encoding="utf-8"):
        request.getfixturevalue("documented_server")
    run(page)


@pytest.mark.wide
def test_the_curl_line_gives_a_vector(documented_server: RealServer) -> None:
    """Pasted into a shell, and with nothing but a URL, a header and a body."""
    (line,) = re.findall(r"^curl (.*)$", (ROOT / "docs" / "server.md").read_text(encoding="utf-8"), re.MULTILINE)
    url, _, header, _, body = shlex.split(line)
    name, _, value = header.partition(": ")
    question = urllib.request.Request(url, data=body.encode(), headers={name: value})
    with urllib.request.urlopen(question, timeout=60) as answer:
        assert len(json.load(answer)["data"][0]["embedding"]) == 64


@pytest.mark.parametrize(
    ("page", "starts", "written"),
    [
        ("quickstart", ["embed ~/documents --out corpus", "search corpus"], ["results.html"]),
        ("corpus", ["embed ~/documents --out corpus", "search corpus"], ["corpus/manifest.json", "results.html"]),
        ("corpus", ["embed ~/documents --out lancedb:", "search lancedb:"], ["database/pages.lance"]),
        ("corpus", ["embed ~/documents --out chroma:"], ["database/chroma.sqlite3"]),
        ("mcp", ["index ~/documents"], ["home/documents-index"]),
    ],
)
def test_lines_of_a_shell_that_need_no_network_run(
    page: str,
    starts: list[str],
    written: list[str],
    demo_embedder: JinaEmbedder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As they stand, with the demo's model, on the engine that runs; ``tests/unit/test_shell_blocks.py`` reads all."""
    documents = tmp_path / "home" / "documents"
    documents.mkdir(parents=True)
    (documents / "invoice.txt").write_text("The invoice from May. A shard is a part of a corpus.")
    shutil.copy(ROOT / "docs" / "sunset.png", documents)
    with Image.open(ROOT / "docs" / "sunset.png") as image:
        image.convert("RGB").save(tmp_path / "photo.jpg")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    here = {"jinaai/jina-embeddings-v4-vllm-retrieval": "demo", "512": "128"}
    found = list(commands(ROOT / "docs" / f"{page}.md"))
    for start in starts:
        lines = [words for words in found if " ".join(words).startswith(start)]
        assert lines, start
        for words in lines:
            line = [os.path.expanduser(here.get(word, word)) for word in words]  # noqa: PTH111
            assert main(line) == 0, words
    assert [name for name in written if not (tmp_path / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_block_hides_from_these_tests(page: Path) -> None:
    """By another spelling of its fence."""
    assert len(FENCE.findall(page.read_text(encoding="utf-8"))) == len(blocks(page))


def test_both_frameworks_have_the_same_chapters() -> None:
    """Who knows one page knows his way about the other."""
    first, second = (
        re.findall(r"^## (.*)$", (ROOT / "docs" / name).read_text(encoding="utf-8"), re.MULTILINE)
        for name in ("langchain.md", "llama-index.md")
    )
    assert first == second
    assert first == CHAPTERS
    for name in ("langchain.md", "llama-index.md"):
        assert len(blocks(ROOT / "docs" / name)) >= len(CHAPTERS) - 1  # all but Install


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """In the repository."""
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if not target.startswith("http")]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_the_readme_finds_a_german_text_by_a_japanese_question_and_by_an_image(
    demo_embedder: JinaEmbedder, as_cloned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace = run(ROOT / "README.md")
    sunset = "Ein wunderschöner Sonnenuntergang am Strand"
    assert capsys.readouterr().out.splitlines()[:3] == [sunset, sunset, sunset]
    assert namespace["items"].shape == (2, 128)
    assert (namespace["questions"] @ namespace["items"].T).argmax() == 1
