"""What every engine can do, and what decides which engine it is.

Enters: ``Prompt`` objects. Leaves: embeddings. Knows neither vLLM nor HTTP.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from .._forks import fork_safe_lock
from .._secrets import Secret
from ..checkpoints import JINA_V4, JINA_V4_MAX_LENGTH, Checkpoint
from ..errors import ClosedError, ForkedError
from ..pooling import Floats
from ..prompts import Prompt

Result = TypeVar("Result")

ARCHITECTURE = "JinaV4VisionSpanModel"
"""The architecture that ``plugin/`` registers in vLLM's processes and the local engine asks for."""

ADAPTERS_KEY, TASKS_KEY = "jina_adapters", "jina_tasks"
"""Keys of ``hf_overrides``: the folder of a native checkpoint's adapter file, and the tasks in it."""
DEFAULT_TASK_KEY = "jina_multi_vector_task"
"""Key of ``hf_overrides``: whose multi-vectors a request gets that names no task; without it, raw token states."""
TASK_KEY = "jina_task"
"""Key of a request's ``extra_kwargs``: whose multi-vectors it gets."""

URGENT, PATIENT = -1, 0
"""Priorities of requests, lower first: questions that somebody waits for, and everything else.

Zero is vLLM's own default, so that a server's other clients make no questions of their documents.
"""

OWNER_VARIABLE = "JINA_EMBED_ENGINE_OWNER"
"""Environment variable with the id of our server's process: the processes that vLLM starts for it end with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What two callers must have in common to share one engine.

    Attributes:
        location: Folder or hub repository of the checkpoint.
        revision: Commit or tag of a hub repository.
        min_pixels: Lower bound of a picture's area in pixels.
        max_pixels: Upper bound of a picture's area in pixels.
        files: State of the files in a local checkpoint's folder, so that new weights get a new engine.
        max_tokens: Longest prompt in tokens, pictures expanded, unless the options say otherwise.
        tasks: Tasks that the checkpoint has an adapter for; empty where its weights are merged for one.
        options: The engine's own keyword arguments, passed on unchanged.
        servers: URLs of the servers to ask, which must serve ``location``; none for an engine in this process.
        api_key: What the servers want to be shown; a string becomes a ``Secret``.
        logins: User name and password for each of ``servers``, or None; empty where none has any.
        timeout: Seconds that a server may take for one request.
        checkpoint: What the servers must serve; None asks them.
        family: Decides how vLLM is started and what its vectors must be.
    """

    location: str
    revision: str | None
    min_pixels: int
    max_pixels: int
    files: str = ""
    max_tokens: int = JINA_V4_MAX_LENGTH
    tasks: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)
    servers: tuple[str, ...] = ()
    api_key: Secret | str | None = field(default=None, repr=False)
    logins: tuple[Secret | None, ...] = field(default=(), repr=False)
    timeout: float = 60.0
    checkpoint: Checkpoint | None = field(default=None, compare=False)
    family: str = JINA_V4
    options_key: str = field(init=False, default="")

    def __post_init__(self) -> None:
        """Make the options comparable and hashable, and the key secret."""
        object.__setattr__(self, "options_key", json.dumps(self.options, sort_keys=True, default=repr))
        if isinstance(self.api_key, str):
            object.__setattr__(self, "api_key", Secret(self.api_key))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStates:
    """The states of one prompt's tokens.

    Attributes:
        token_ids: Prompt tokens with every picture expanded, ``(n_tokens,)``.
        states: float32 ``(n_tokens, hidden_size)`` after the final norm, never normalised.
    """

    token_ids: tuple[int, ...]
    states: Floats


class Engine(Protocol):
    """One running checkpoint. What is awaited is awaited inside a coroutine that ``run`` was given.

    A task was checked against the checkpoint before; one whose weights are merged for a task needs to do nothing.
    """

    @property
    def max_tokens(self) -> int:
        """Longest prompt in tokens, pictures expanded."""
        ...

    def run(self, job: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        """Start ``job`` on the engine's own loop; callable from any thread."""
        ...

    async def embed(self, prompt: Prompt, *, dimensions: int, task: str, urgent: bool = False) -> Floats:
        """Return the float32 embedding ``(dimensions,)`` of L2 norm 1; urgent ones overtake the others.

        Raises:
            InputError: The engine refuses this prompt.
            EngineDeadError: The engine's process ended, and its restart did not help.
        """
        ...

    async def multi_vector(self, prompt: Prompt, *, task: str, urgent: bool = False) -> Floats:
        """Return one row per token of the prompt, float32 ``(n_tokens, token_dimensions)``, rows of L2 norm 1.

        Raises:
            InputError: The engine refuses this prompt.
            EngineDeadError: The engine's process ended, and its restart did not help.
        """
        ...

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        """Return every token's state."""
        ...

    def close(self) -> None:
        """Stop the engine and free what it holds; further calls do nothing."""
        ...


class LoopThread:
    """An event loop in a daemon thread, so that callers of any thread and any loop share it."""

    def __init__(self, name: str) -> None:
        self._pid = os.getpid()
        self._lock = fork_safe_lock(self)  # nothing is handed to a loop that is about to stop: it would never be done
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, job: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        """Start ``job`` on the loop.

        Raises:
            ForkedError: This process was forked from the one that owns the loop.
            ClosedError: The loop was closed.
        """
        error: Exception = ClosedError("the engine is closed.")
        if os.getpid() != self._pid:
            error = ForkedError(
                "the engine belongs to the parent process and cannot be reached after a fork; start worker processes "
                "with 'spawn', or create the embedder in the worker."
            )
        else:
            with self._lock:
                if not self._closed:
                    return asyncio.run_coroutine_threadsafe(job, self._loop)
        job.close()
        raise error

    def close(self) -> None:
        """Cancel what still runs, then stop the loop; further calls do nothing."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
