"""Every line of a bash block names what is there: our command and its options, targets of make, modules and files.

Nothing is run here: most lines need a network, a GPU or hours. ``tests/real/test_docs.py`` runs some of the others.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.shell_blocks import commands, lines
from vllm_jina_embed import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
VALUES = {"KEY": "key", "SLURM_ARRAY_TASK_ID": "1", "HEAD": "host"}
"""Of the variables that a shell would have."""


def faults(page: Path) -> Iterator[str]:
    """Yield what a page's bash blocks name and the repository has not."""
    for words in commands(page):
        line = [string.Template(word).safe_substitute(VALUES) for word in words]
        end = line.index("--") if line[0] == "serve" and "--" in line else len(line)
        try:
            cli._parsed(line[:end])
        except SystemExit:
            yield f"vllm-jina-embed {' '.join(words)}"
    for words in lines(page):
        if words[0] == "make":
            yield from (f"make {name}" for name in words[1:] if re.fullmatch(r"[a-z-]+", name) and name not in TARGETS)
        for module in re.findall(r"-m (benchmarks\.\S+)", " ".join(words)):
            if not (ROOT / f"{module.replace('.', '/')}.py").is_file():
                yield f"python -m {module}"
        for file in re.findall(r"(?:^|\s)((?:examples|tests|scripts|docker)/\S+\.\w+)", " ".join(words)):
            if not (ROOT / file).is_file():
                yield file


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_bash_blocks_of_a_page(page: Path) -> None:
    assert list(faults(page)) == []


def test_our_command_is_named_often() -> None:
    """The blocks are found at all."""
    assert sum(len(list(commands(page))) for page in PAGES) > 25


@pytest.mark.parametrize(
    "line",
    [
        "vllm-jina-embed serve demo --metrix", "KEY=1 vllm-jina-embed embd folder --out x", "make docks",
        "python -m benchmarks.nothing", "python examples/99_nothing.py", "vllm-jina-embed embed a --out b --shard 1",
    ],
)  # fmt: skip
def test_a_planted_line_is_seen(tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```bash\nmake docs  # a comment\n{line}\n```\n")
    (fault,) = faults(page)
    assert fault in line
