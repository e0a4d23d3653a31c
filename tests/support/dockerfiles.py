"""Reads Dockerfiles: instructions with their continued lines, and commands in exec form."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile."""

    name: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The words of an exec form.

        Raises:
            ValueError: It is a shell form.
        """
        words = json.loads(self.rest)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(self.rest)
        return words


def instructions(path: Path) -> list[Instruction]:
    """Return the instructions of a Dockerfile in order; comments are left out."""
    return parsed(path.read_text("utf-8"))


def parsed(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = []
    for line in joined.splitlines():
        name, _, rest = line.strip().partition(" ")
        found.append(Instruction(name, rest.strip()))
    return found
