"""One engine per configuration and process, whether vLLM runs in it or in servers.

Everybody with an equal configuration shares the running engine. Users are counted; the last ``release`` closes the
engine, and what is left is closed at exit.
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Callable
from weakref import WeakSet

from .._forks import fork_safe_lock
from .._telemetry import engine_start
from .config import EngineConfig, LocalConfig, RemoteConfig
from .protocol import Engine

Factory = Callable[[EngineConfig], Engine]
_POOLS: WeakSet[EnginePool] = WeakSet()


class EnginePool:
    """Counted engines. ``start`` makes one; it runs at most once per configuration at a time."""

    def __init__(self, start: Factory) -> None:
        _POOLS.add(self)
        self._start = start
        self._lock = fork_safe_lock(self)
        self._engines: dict[EngineConfig, Engine] = {}
        self._users: dict[EngineConfig, int] = {}

    def acquire(self, config: EngineConfig) -> Engine:
        """Return the running engine of ``config`` and count one user; starts it where there is none.

        Raises:
            EngineError: The engine cannot start.
            ForkedError: This process was forked while its parent started an engine.
        """
        with self._lock:
            if config not in self._engines:
                with engine_start(config.told):
                    self._engines[config] = self._start(config)
                self._users[config] = 0
                self._close_first_at_exit()
            self._users[config] += 1
            return self._engines[config]

    def release(self, config: EngineConfig) -> None:
        """Count one user less; the last one closes the engine."""
        with self._lock:
            if config not in self._engines:
                return
            self._users[config] -= 1
            if self._users[config] <= 0:
                self._engines.pop(config).close()

    def running(self) -> int:
        """Return how many engines run."""
        return len(self._engines)

    def close(self) -> None:
        """Close every engine, whoever uses it."""
        with self._lock:
            engines, self._engines = list(self._engines.values()), {}
        with contextlib.ExitStack() as stack:  # one that fails to close keeps none of the others open
            for engine in engines:
                stack.callback(engine.close)

    def _close_first_at_exit(self) -> None:
        """Put ``close`` before what vLLM registered when it started.

        Its own handlers end the engine's process under our feet, or wait for it for ever.
        """
        atexit.unregister(self.close)
        atexit.register(self.close)

    def forget(self) -> None:
        """Drop everything without closing: in a forked child the engines are the parent's."""
        self._engines, self._users = {}, {}


def _start(config: EngineConfig) -> Engine:
    if isinstance(config, RemoteConfig):
        from .remote.engine import RemoteEngine

        return RemoteEngine(config)
    from .local.engine import LocalEngine

    assert isinstance(config, LocalConfig)
    return LocalEngine(config)


def _forget_all() -> None:
    for pool in list(_POOLS):
        pool.forget()


POOL = EnginePool(_start)
os.register_at_fork(after_in_child=_forget_all)


def running_engines() -> int:
    """Return how many engines this process has, servers behind one embedder counted once."""
    return POOL.running()
