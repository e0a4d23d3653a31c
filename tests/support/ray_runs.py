"""Embedders whose engines live in memory, in every process that they are sent to, and a small Ray."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from tests.support.fake_engine import FakeEngine
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.errors import EngineError
from vllm_jina_embed.prompts.base import Prompt

NOTES = "RAY_RUN_NOTES"
"""Variable of the environment with the folder of ``Notes``."""
LOST, DIE = "lost", "die"
"""Files in that folder that end the engine, or its process."""


class Notes:
    """What engines in other processes were given, and what they are told."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder

    def counts(self) -> dict[int, int]:
        """Return how many prompts each process was given."""
        return {int(path.name): path.stat().st_size for path in self.folder.iterdir() if path.name.isdigit()}

    def clear(self) -> None:
        """Forget them."""
        for path in self.folder.iterdir():
            path.unlink()

    def delay(self, seconds: float) -> None:
        """Let every prompt from now on take so long."""
        new = self.folder / ".delay"
        new.write_text(str(seconds))
        new.rename(self.folder / "delay")


def start(config: Any) -> FakeEngine:
    folder = Path(os.environ.get(NOTES, "nowhere"))

    def note(prompt: Prompt) -> EngineError | None:
        if folder.is_dir():
            with (folder / str(os.getpid())).open("a") as file:
                file.write("1")
        if (folder / DIE).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return EngineError("the engine is lost") if (folder / LOST).exists() else None

    def delay(prompt: Prompt) -> float:
        return float((folder / "delay").read_text()) if (folder / "delay").exists() else 0.0

    return FakeEngine(config, fail=note, delay=delay)


class InMemory(JinaEmbedder):
    """Its engines note every prompt of theirs."""

    _pool: ClassVar[EnginePool] = EnginePool(start)


@contextmanager
def small_ray(notes: Notes, *, cpus: int = 4) -> Iterator[Any]:
    """Give a Ray of this machine whose workers see the notes."""
    import ray

    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        object_store_memory=100 * 1024**2,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {NOTES: str(notes.folder)}},
    )
    try:
        yield ray
    finally:
        ray.shutdown()


def wait_for(condition: Any, *, seconds: float = 120) -> None:
    """Return when ``condition`` holds; fail after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.05)
