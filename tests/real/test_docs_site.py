"""The docs site as `make docs` builds it, in an environment of its own: strictly, with its links checked."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.wide

ROOT = Path(__file__).parents[2]
LEFT = shutil.ignore_patterns(".venv*", ".git", "site", ".matrix", ".models", ".*_cache", "__pycache__", "demo-output")


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("built") / "site"
    done = run(["make", "docs", f"SITE={site}", f"PYTHON={sys.executable}"], ROOT)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "WARNING -" not in done.stdout
    assert "0 dead links" in done.stdout
    return site


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    loaded = r'<(?:script|img|iframe)[^>]*src="(?:https?:)?//|<link[^>]*rel="?stylesheet"?[^>]*href="(?:https?:)?//'
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    assert [page for page in pages if re.search(loaded, page.read_text("utf-8"))] == []


def test_the_search_finds_pages_and_names_of_the_api(site: Path) -> None:
    """And none of the files that pages link to."""
    entries = json.loads((site / "search" / "search_index.json").read_text("utf-8"))["docs"]
    places = {entry["location"] for entry in entries}
    assert {"quickstart/", "media/#limits", "api/#vllm_jina_embed.JinaEmbedder.embed_queries"} <= places
    assert not [place for place in places if place.startswith("source/")]


def test_a_page_shows_its_drawings_and_the_files_that_it_names(site: Path) -> None:
    assert (site / "performance" / "index.html").read_text("utf-8").count('class="bar ours"') == 15
    assert 'href="../source/tests/real/test_faithful.py/"' in (site / "models" / "index.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "planted", "seen"),
    [
        ("media.md", "\n[gone](server.md#nowhere)\n", "does not contain an anchor '#nowhere'"),
        ("media.md", "\n[gone](nowhere.md)\n", "nowhere.md"),
        ("api.md", "\n::: vllm_jina_embed.Nobody\n", "vllm_jina_embed.Nobody"),
    ],
)
def test_a_planted_fault_fails_the_build(site: Path, tmp_path: Path, name: str, planted: str, seen: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=LEFT)
    with (copy / "docs" / name).open("a", encoding="utf-8") as page:
        page.write(planted)
    python = str(ROOT / ".venv-docs" / "bin" / "python")
    done = run([python, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")], copy)
    assert done.returncode != 0
    assert seen in done.stdout
