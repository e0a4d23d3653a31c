"""Run the command with an engine in memory, as a process of its own: ``python -m tests.support.corpus_run MODEL ...``.

The time that each prompt takes, in seconds, is in the environment (``CORPUS_DELAY``), and so is a file to which every
prompt is noted (``CORPUS_PROMPTS``). With a folder in ``CORPUS_MEET``, two processes begin at the same moment, and
write their first rows at the same moment.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.fake_engine import FakeEngine
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.cli import main
from vllm_jina_embed.corpus import embed, work, writer
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.prompts.base import Prompt


def start(config: Any) -> FakeEngine:
    delay, notes = float(os.environ.get("CORPUS_DELAY", "0")), os.environ.get("CORPUS_PROMPTS")

    def fail(prompt: Prompt) -> None:
        if notes is not None:
            with Path(notes).open("a") as file:
                file.write("1\n")

    return FakeEngine(config, fail=fail, delay=lambda prompt: delay)


def meet(place: str) -> None:
    """Wait until both processes are at a place; a second time there is none to wait for."""
    folder = Path(os.environ["CORPUS_MEET"]) / place
    folder.mkdir(exist_ok=True)
    (folder / str(os.getpid())).touch()
    end = time.monotonic() + 200
    while len(list(folder.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.001)


def meet_twice() -> None:
    """Meet before what is there is looked at, and before the first rows are written."""
    starting, add = embed.starting, writer.Writer._add

    def start_together(folder: Path) -> Any:
        meet("start")
        return starting(folder)

    def add_together(self: writer.Writer, results: Any) -> None:
        meet("rows")
        add(self, results)

    embed.starting, writer.Writer._add = start_together, add_together  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    if "CORPUS_MEET" in os.environ:
        meet_twice()
    work.WINDOW = work.AHEAD = 8
    JinaEmbedder._pool = EnginePool(start)
    sys.exit(main(sys.argv[1:]))
