"""An engine in memory: every prompt has its own unit vector, and failures and delays are told to it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from vllm_jina_embed._arrays import Floats
from vllm_jina_embed._telemetry import add_tokens
from vllm_jina_embed.engine.config import EngineConfig
from vllm_jina_embed.engine.loop import LoopThread
from vllm_jina_embed.engine.protocol import TokenStates
from vllm_jina_embed.errors import ClosedError
from vllm_jina_embed.prompts.base import Prompt

Result = TypeVar("Result")


def vector_of(prompt: Prompt, dimensions: int) -> Floats:
    """Return the vector that ``FakeEngine`` gives for ``prompt``."""
    digest = hashlib.sha256(repr(prompt.token_ids).encode())
    for image in prompt.images:
        digest.update(repr(image.size).encode())
        digest.update((image if image.width * image.height < 1_000_000 else image.resize((64, 64), 0)).tobytes())
    values = np.random.default_rng(int.from_bytes(digest.digest()[:8], "big")).normal(size=dimensions)
    return np.asarray(values / np.linalg.norm(values), dtype=np.float32)


def raw_of(prompt: Prompt, dimensions: int) -> Floats:
    """Return what ``FakeEngine`` gives where nothing is normalised; its length is the number of tokens."""
    return vector_of(prompt, dimensions) * np.float32(len(prompt.token_ids))


def logit_of(prompt: Prompt) -> float:
    """Return the number that ``FakeEngine`` gives for the prompt of a pair, mostly between -4 and 4."""
    return 4 * float(vector_of(prompt, 4)[0])


def wait_until(condition: Callable[[], object], *, seconds: float = 10) -> None:
    """Return when ``condition`` holds; fail after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.002)


class FakeEngine:
    """Implements the ``Engine`` protocol.

    Attributes:
        max_tokens: As in ``Engine``.
        in_flight: As in ``Engine``.
        token_dimensions: Length of a multi-vector's rows.
        prompts: What was embedded, in the order of arrival.
        tasks: The task of each.
        urgent: Which of them were to overtake the others.
        most_at_once: Most prompts that were inside at the same time.
        most_pixels: Most pixels that were inside at the same time.
        cancelled: How many prompts were cancelled.
        closed: How often it was closed.
    """

    def __init__(
        self,
        config: EngineConfig | None = None,
        *,
        max_tokens: int = 4096,
        in_flight: int = 512,
        token_dimensions: int = 64,
        fail: Callable[[Prompt], Exception | None] = lambda prompt: None,
        delay: Callable[[Prompt], float] = lambda prompt: 0.0,
        until: Callable[[FakeEngine], bool] = lambda engine: True,
    ) -> None:
        self.config = config
        self.max_tokens = max_tokens
        self.in_flight = in_flight
        self.token_dimensions = token_dimensions
        self.prompts: list[Prompt] = []
        self.tasks: list[str] = []
        self.urgent: list[bool] = []
        self.most_at_once = self.most_pixels = 0
        self.cancelled = 0
        self.closed = 0
        self._fail, self._delay, self._until = fail, delay, until
        self._inside: list[Prompt] = []
        self._lock = threading.Lock()
        self._thread: LoopThread | None = None

    def run(self, job: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        """Start ``job`` on a loop of its own, which the first call starts."""
        if self.closed:
            job.close()
            raise ClosedError("the engine is closed.")
        with self._lock:  # the windows of a stream come from two threads at once
            if self._thread is None:
                self._thread = LoopThread("fake-engine")
        return self._thread.run(job)

    async def embed(
        self, prompt: Prompt, *, dimensions: int, task: str, urgent: bool = False, normalize: bool = True
    ) -> Floats:
        """Wait, fail, or return the prompt's own vector."""
        await self._work(prompt, task, urgent)
        return vector_of(prompt, dimensions) if normalize else raw_of(prompt, dimensions)

    async def multi_vector(self, prompt: Prompt, *, task: str, urgent: bool = False) -> Floats:
        """Wait, fail, or return each token's own vector of ``token_dimensions`` numbers, images not expanded."""
        await self._work(prompt, task, urgent)
        rows = [vector_of(replace(prompt, token_ids=(number,)), self.token_dimensions) for number in prompt.token_ids]
        return np.stack(rows)

    async def both(
        self, prompt: Prompt, *, dimensions: int, task: str, urgent: bool = False, normalize: bool = True
    ) -> tuple[Floats, Floats]:
        """Wait, fail, or return what ``embed`` and ``multi_vector`` do; one prompt."""
        rows = await self.multi_vector(prompt, task=task, urgent=urgent)
        return vector_of(prompt, dimensions) if normalize else raw_of(prompt, dimensions), rows

    async def token_weights(self, prompt: Prompt, *, task: str) -> Floats:
        """Wait, fail, or return the place of each token, a third of them with no weight."""
        await self._work(prompt, task, False)
        places = np.arange(1, 1 + len(prompt.token_ids), dtype=np.float32)
        return places * (places % 3 > 0)

    async def logit(self, prompt: Prompt, *, urgent: bool = False) -> float:
        """Wait, fail, or return the prompt's own number."""
        await self._work(prompt, "", urgent)
        return logit_of(prompt)

    async def _work(self, prompt: Prompt, task: str, urgent: bool) -> None:
        self.prompts.append(prompt)
        self.tasks.append(task)
        self.urgent.append(urgent)
        self._inside.append(prompt)
        self.most_at_once = max(self.most_at_once, len(self._inside))
        self.most_pixels = max(self.most_pixels, sum(i.width * i.height for p in self._inside for i in p.images))
        try:
            await asyncio.sleep(self._delay(prompt))
            while not self._until(self):  # what a test waits for before anything is answered
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._inside.remove(prompt)
        if (error := self._fail(prompt)) is not None:
            raise error
        add_tokens(len(prompt.token_ids))

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        """Return one state per token of the prompt, images not expanded."""
        self.prompts.append(prompt)
        add_tokens(len(prompt.token_ids))
        states = [vector_of(replace(prompt, token_ids=(number,)), 16) for number in prompt.token_ids]
        return TokenStates(token_ids=prompt.token_ids, states=np.stack(states))

    def close(self) -> None:
        """Stop the loop; counts every call."""
        self.closed += 1
        if self._thread is not None:
            self._thread.close()
