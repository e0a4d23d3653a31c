"""The lines of the pages' bash blocks, as words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

BASH = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = "vllm-jina-embed"


def lines(page: Path) -> Iterator[list[str]]:
    """Yield the words of each line of a page's bash blocks, without comments; a line that goes on counts as one."""
    for block in BASH.findall(page.read_text(encoding="utf-8")):
        for line in re.split(r"\n| && ", block.replace("\\\n", " ")):
            if words := shlex.split(line, comments=True):
                yield words


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words behind our command's name, wherever it stands in a line."""
    for words in lines(page):
        if COMMAND in words:
            yield words[words.index(COMMAND) + 1 :]
