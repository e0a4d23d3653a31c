"""What pyproject.toml promises, against the pages, the messages and the versions that are tested."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.matrix import ROWS

ROOT = Path(__file__).resolve().parents[2]
PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
COMPATIBILITY = (ROOT / "docs" / "compatibility.md").read_text("utf-8")

BUILDS = {"vllm", "cpu"}
"""Extras that install vLLM itself."""
ALIASES = {"server": "client"}
"""Old names of extras; no page and no message uses them."""


def named_extras() -> set[str]:
    """Return the extras in the pip lines of pages and docstrings, and those that a missing package is reported with."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "src").rglob("*.py")]
    text = "\n".join(page.read_text("utf-8") for page in pages)
    lists = re.findall(r"vllm-jina-embed\[([\w,-]+)\]", text)
    reported = re.findall(r'(?:require|MissingExtraError)\(\s*"([\w-]+)"', text)
    assert len(lists) > 8
    assert len(reported) > 8
    return {name for names in lists for name in names.split(",")} | set(reported)


def matrix_versions() -> list[tuple[int, ...]]:
    """Return the CPU builds of vLLM that the matrix runs, oldest first."""
    return sorted({tuple(map(int, row.build.split("."))) for row in ROWS.values()})


def faults(project: str, compatibility: str) -> Iterator[str]:
    """Yield what the metadata says otherwise than the rest of the repository."""
    metadata = tomllib.loads(project)["project"]
    extras = metadata["optional-dependencies"]
    for name in sorted(named_extras() - (extras.keys() - ALIASES.keys())):
        yield f"extra {name} is named, and is not one to name"
    for old, new in ALIASES.items():
        if extras[old] != [f"vllm-jina-embed[{new}]"]:
            yield f"extra {old} is not {new}"
    everything = set(extras["all"][0].partition("[")[2].rstrip("]").split(","))
    if everything != extras.keys() - BUILDS - ALIASES.keys() - {"all"}:
        yield f"extra all holds {sorted(everything)}"
    oldest, newest = (".".join(map(str, version[:2])) for version in (matrix_versions()[0], matrix_versions()[-1]))
    if extras["vllm"] != [f"vllm>={oldest}"]:
        yield f"extra vllm is {extras['vllm']}; the oldest tested version is {oldest}"
    if f"| vLLM | {oldest} to {newest} (CPU build) |" not in compatibility:
        yield f"docs/compatibility.md does not say that vLLM {oldest} to {newest} is tested"
    classified = re.findall(r"Python :: (3\.\d+)", "\n".join(metadata["classifiers"]))
    row = re.search(r"^\| Python \|.*the light tests ran on ([^;]*?), which", compatibility, re.MULTILINE)
    if row is None or classified != re.findall(r"3\.\d+", row[1]):
        yield f"the classifiers name Python {classified}"


def test_the_metadata_says_what_is_so() -> None:
    assert list(faults(PROJECT, COMPATIBILITY)) == []


@pytest.mark.parametrize(
    ("is_", "planted", "fault"),
    [
        ("chroma,postgres,mteb,mcp,ui,telemetry,cli]", "chroma,postgres,mteb,ui,telemetry,cli]", "extra all holds"),
        ("[langchain,llama-index,", "[vllm,langchain,llama-index,", "extra all holds"),
        ('qdrant = ["', 'store = ["', "extra qdrant is named"),
        ('server = ["vllm-jina-embed[client]"]', 'server = ["httpx"]', "extra server is not client"),
        ('vllm = ["vllm>=0.28"]', 'vllm = ["vllm>=0.26"]', "the oldest tested version is 0.28"),
        ('Python :: 3.13",', 'Python :: 3.13", "Programming Language :: Python :: 3.14",', "classifiers name Python"),
    ],
)
def test_a_planted_mismatch_is_seen(is_: str, planted: str, fault: str) -> None:
    assert PROJECT.count(is_) == 1
    assert fault in "\n".join(faults(PROJECT.replace(is_, planted), COMPATIBILITY))


def test_a_page_that_names_another_range_is_seen() -> None:
    page = COMPATIBILITY.replace("0.28 to", "0.27 to")
    assert "docs/compatibility.md does not say" in "\n".join(faults(PROJECT, page))
