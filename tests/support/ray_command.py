"""Run the command with engines in memory in Ray's workers too: ``python -m tests.support.ray_command embed ...``."""

from __future__ import annotations

import sys

from tests.support.ray_runs import InMemory
from vllm_jina_embed.cli import main
from vllm_jina_embed.corpus import command

if __name__ == "__main__":
    command.JinaEmbedder = InMemory  # type: ignore[misc]
    sys.exit(main(sys.argv[1:]))
