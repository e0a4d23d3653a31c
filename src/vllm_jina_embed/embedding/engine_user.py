"""One user of an engine, which the first call takes from a pool, and of a prompt builder.

Every call runs as one coroutine on the engine's loop; a thread waits for it, a task awaits it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Generic, TypeVar

from .._forks import fork_safe_lock
from ..engine.config import EngineConfig
from ..engine.pool import EnginePool
from ..engine.protocol import Engine
from ..errors import ClosedError, EngineError

B = TypeVar("B")
Result = TypeVar("Result")


class EngineUser(Generic[B]):
    """A user that is counted from its first call until it closes.

    Attributes:
        engine: The running engine; None before the first call and after ``close``.
        builder: Builds prompts; None before the first call, unless it was passed.
    """

    def __init__(
        self, config: EngineConfig, pool: EnginePool, *, owner: str, load: Callable[[], B], builder: B | None = None
    ) -> None:
        """Keep what decides the engine; nothing starts.

        Args:
            config: The engine.
            pool: Where engines come from.
            owner: The user's name in errors.
            load: Returns what builds prompts.
            builder: What ``load`` would return, if it is there already.
        """
        self.engine: Engine | None = None
        self.builder = builder
        self._config, self._pool, self._owner, self._load = config, pool, owner, load
        self._lock = fork_safe_lock(self)
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def close(self) -> None:
        """Give the engine back; its last user stops it. Further calls do nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            engine, self.engine = self.engine, None
        if engine is not None:
            self._pool.release(self._config)

    def ready(self) -> tuple[Engine, B]:
        """Return the running engine and the prompt builder; start what is missing.

        Raises:
            ConfigError: There is no usable tokenizer, vLLM cannot be started with these settings, or the settings were
                pickled and the checkpoint is another one here.
            EngineError: vLLM did not start.
            ClosedError: After ``close``.
        """
        with self._lock:
            self.check_open()
            if self.builder is None:
                self.builder = self._load()
            if self.engine is None:
                self.engine = self._pool.acquire(self._config)
            return self.engine, self.builder

    def check_open(self) -> None:
        """Check that it is not closed.

        Raises:
            ClosedError: It is.
        """
        if self._closed:
            raise ClosedError(f"{self._owner} is closed.")

    def wait(self, future: concurrent.futures.Future[Result]) -> Result:
        """Return what a call on the engine's loop gives; cancel it if this thread stops waiting.

        Raises:
            ClosedError: The engine was closed meanwhile.
        """
        try:
            return future.result()
        except (concurrent.futures.CancelledError, EngineError) as error:
            raise (stop := self._interrupted(error)) from stop.__cause__
        except BaseException:  # Ctrl-C included: take the waiting requests out of the engine
            future.cancel()
            raise

    async def awaited(self, future: concurrent.futures.Future[Result]) -> Result:
        """Await ``wait``."""
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError as error:
            caller = asyncio.current_task()
            if caller is None or caller.cancelling():  # the caller was cancelled, not the engine
                raise
            raise (stop := self._interrupted(error)) from stop.__cause__
        except EngineError as error:
            raise (stop := self._interrupted(error)) from stop.__cause__

    def _interrupted(self, error: BaseException) -> EngineError:
        """Return the error of an unanswered call: ``ClosedError`` if the engine was closed, else the engine's own."""
        if isinstance(error, EngineError) and not self._closed:
            return error
        return ClosedError(f"{self._owner}: the engine was closed before this call was done.")
