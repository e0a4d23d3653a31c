"""Collects the prompts of one turn of the event loop into one request; no prompt waits for others to come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Generic, TypeVar

from ..._arrays import Floats
from ..._telemetry import add_tokens
from ...errors import EngineError
from ...prompts.base import Prompt

Key = TypeVar("Key")
Answers = Sequence[Floats | Exception]
Entry = tuple[Prompt, "asyncio.Future[Floats]", Context]

MOST_PROMPTS = 32
"""Prompts of one request."""
MOST_TOKENS = 2048
"""Tokens of one request, so that those which wait in a server are done within a timeout; a longer prompt goes alone."""


class Batches(Generic[Key]):
    """Collects prompts of equal keys and sends them by ``send``, which returns one answer or error per prompt."""

    def __init__(self, send: Callable[[Key, list[Prompt]], Awaitable[Answers]]) -> None:
        self._send = send
        self._waiting: dict[Key, list[Entry]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, key: Key, prompt: Prompt) -> Floats:
        """Return the answer for one prompt."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Floats] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._flush)
        self._waiting.setdefault(key, []).append((prompt, future, copy_context()))
        answer = await future
        if not prompt.images:  # those of images are in the server's answer
            add_tokens(len(prompt.token_ids))
        return answer

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for key, entries in waiting.items():
            for batch in _cut([entry for entry in entries if not entry[1].done()]):
                # The trace of a request is that of its first prompt.
                task = asyncio.get_running_loop().create_task(self._run(key, batch), context=batch[0][2])
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                for _, future, _ in batch:
                    future.add_done_callback(partial(_cancel_idle, task, batch))

    async def _run(self, key: Key, batch: list[Entry]) -> None:
        try:
            answers: Answers = await self._send(key, [prompt for prompt, *_ in batch])
            if len(answers) != len(batch):
                raise EngineError(f"got {len(answers)} answers to {len(batch)} prompts.")
        except asyncio.CancelledError:
            for _, future, _ in batch:
                future.cancel()
            raise
        except Exception as error:
            answers = [error] * len(batch)
        for (_, future, _), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


def _cut(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Yield ``entries`` in order, in batches that keep both limits."""
    batch: list[Entry] = []
    tokens = 0
    for entry in entries:
        length = MOST_TOKENS if entry[0].images else len(entry[0].token_ids)  # an image goes alone
        if batch and (len(batch) == MOST_PROMPTS or tokens + length > MOST_TOKENS):
            yield batch
            batch, tokens = [], 0
        batch.append(entry)
        tokens += length
    if batch:
        yield batch


def _cancel_idle(task: asyncio.Task[None], batch: list[Entry], _: object) -> None:
    """Take a request back when nobody waits for any of its prompts."""
    if all(future.cancelled() for _, future, _ in batch):
        task.cancel()
