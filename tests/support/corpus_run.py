"""Run the command with an engine in memory, as a process of its own: ``python -m tests.support.corpus_run MODEL ...``.

The time that each prompt takes, in seconds, is in the environment (``CORPUS_DELAY``), and so is a file to which every
prompt is noted (``CORPUS_PROMPTS``).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from tests.support.fake_engine import FakeEngine
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.cli import main
from vllm_jina_embed.corpus import work
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.prompts.base import Prompt


def start(config: Any) -> FakeEngine:
    delay, notes = float(os.environ.get("CORPUS_DELAY", "0")), os.environ.get("CORPUS_PROMPTS")

    def fail(prompt: Prompt) -> None:
        if notes is not None:
            with Path(notes).open("a") as file:
                file.write("1\n")

    return FakeEngine(config, fail=fail, delay=lambda prompt: delay)


if __name__ == "__main__":
    work.WINDOW = work.AHEAD = 8
    JinaEmbedder._pool = EnginePool(start)
    sys.exit(main(sys.argv[1:]))
