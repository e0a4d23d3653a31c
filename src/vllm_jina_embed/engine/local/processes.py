"""Start vLLM's processes so that they end with the application, ignore its terminal and skip its main module.

Only the processes that the starting thread starts are changed, not the application's others.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker, spawn
from pathlib import Path
from typing import Any

from ...errors import ConfigError, EngineError, ForkedError
from .arguments import variables

MAIN = "vllm_jina_embed.plugin.main_module"
"""Module that spawned processes import in place of the application's main module."""

PARENT_VARIABLE = "JINA_EMBED_ENGINE_PARENT"
"""Environment variable with the id of the process that starts vLLM's processes; only ``MAIN`` reads it."""

FOLDER_VARIABLE = "JINA_EMBED_ENGINE_FOLDER"
"""Environment variable with the folder for temporary files of vLLM's processes."""
SOCKETS_VARIABLE = "VLLM_RPC_BASE_PATH"
"""vLLM's environment variable for the folder of its sockets."""
LONGEST = 64
"""Most characters of the folder's path: the kernel allows 107 for a socket's path, and vLLM's names have 37."""

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

_lock = threading.Lock()
_starting: set[int] = set()  # threads that start an engine now
_parent = 0  # the process that started the threads
_half_started = False  # whether this process is a fork of one in which an engine was starting
_preparation_data = spawn.get_preparation_data


def check_process(options: Mapping[str, Any]) -> None:
    """Raise at once where vLLM would fail half a minute later without a reason.

    Args:
        options: Arguments for vLLM, which are pickled for its processes.

    Raises:
        EngineError: This process is not allowed to have children, or is still importing the main module.
        ForkedError: This process was forked while its parent started an engine.
        ConfigError: ``options`` holds an object of the main module, which vLLM's processes do not import.
    """
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False):
        raise EngineError(
            "an engine cannot start while a spawned process imports the application's main module: every process that "
            'is spawned runs that module again. Put the code that starts work under `if __name__ == "__main__":`.'
        )
    if getattr(process, "daemon", False):
        raise EngineError(
            f"an engine cannot start in {process.name!r}: it is a daemonic process, such as a worker of "
            "multiprocessing.Pool or Celery, and those are not allowed to start the processes that vLLM needs. Run "
            "'vllm-jina-embed serve' and use JinaEmbedder.from_server in the workers; or embed in the parent process, "
            "or in workers of concurrent.futures.ProcessPoolExecutor."
        )
    if _half_started:
        raise ForkedError(
            "this process was forked while its parent started an engine, so vLLM cannot be imported here; fork before "
            "or after the start, or start worker processes with 'spawn'."
        )
    if names := [name for name, value in options.items() if _is_of_main(value)]:
        raise ConfigError(
            f"engine_kwargs: {', '.join(names)} refers to the main module, which vLLM's processes do not import; "
            "define it in a module of its own and import it."
        )


def _is_of_main(value: Any) -> bool:
    """Return whether ``value``, or something in it, is pickled as a name of the main module."""
    try:
        return b"__main__" in pickle.dumps(value)
    except Exception:  # vLLM reports what cannot be pickled
        return False


def make_folder() -> str | None:
    """Return a new folder for one start of an engine; None where its path is too long for sockets."""
    folder = tempfile.mkdtemp(prefix="jina-")
    if len(folder) <= LONGEST:
        return folder
    Path(folder).rmdir()
    return None


def end_with_thread(parent: int) -> None:
    """Ask the kernel to kill this process when the thread that started it ends; kill it now if ``parent`` has ended.

    That thread is the engine's loop, which ends after an orderly shutdown, or with the application.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before the prctl call
        os.kill(os.getpid(), signal.SIGKILL)


def begin() -> None:
    """Bind a spawned process of vLLM to its parent, and name it as the parent of the processes that it spawns."""
    end_with_thread(int(os.environ[PARENT_VARIABLE]))
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    tempfile.tempdir = os.environ.get(FOLDER_VARIABLE)


@contextmanager
def engine_processes(folder: str | None = None) -> Iterator[None]:
    """Let processes that this thread starts in this block end with the application, and ignore its terminal.

    - They do not import the application's main module: vLLM needs nothing of it, and a script that starts an engine
      outside of ``if __name__ == "__main__":`` would start it again in each of them.
    - SIGINT is blocked in them, which their handlers do not undo: Ctrl-C reaches every process of a terminal's group.
    - They ask the kernel, before anything else, to end them with this thread.
    - Their sockets and temporary files are in ``folder``, so that those of a killed process can be removed.
    """
    resource_tracker.ensure_running()  # up to Python 3.12, starting it unblocks SIGINT
    thread = threading.get_ident()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    _mark(thread, starting=True)
    try:
        places = {} if folder is None else {FOLDER_VARIABLE: folder, SOCKETS_VARIABLE: folder}
        with variables({PARENT_VARIABLE: str(os.getpid()), **places}):
            yield
    finally:
        _mark(thread, starting=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def guard_advice() -> str:
    """Return what an error of a start says if vLLM's processes may have run the application's main module after all.

    That is so if another library put a function of its own in the place of ours meanwhile; "" if none did.
    """
    if spawn.get_preparation_data is _without_main:
        return ""
    return (
        f" Something else ({getattr(spawn.get_preparation_data, '__module__', None)}) decides how processes are "
        "spawned, so each of vLLM's may have run the application's main module again: put the code that starts work "
        'under `if __name__ == "__main__":`.'
    )


def _mark(thread: int, *, starting: bool) -> None:
    """Add or remove ``thread``; while one is starting an engine, spawned processes are prepared here."""
    global _parent
    with _lock:
        _parent = os.getpid()
        (_starting.add if starting else _starting.discard)(thread)
        spawn.get_preparation_data = _without_main if _starting else _preparation_data


def _without_main(name: str) -> dict[str, Any]:
    """Return what ``multiprocessing`` sends to a spawned process, with our main module in vLLM's processes."""
    data: dict[str, Any] = _preparation_data(name)
    if threading.get_ident() in _starting:
        data.pop("init_main_from_path", None)
        data["init_main_from_name"] = MAIN
    return data


def _forked() -> None:
    """Bind vLLM's own forks to their parent; reset the state in all other forks."""
    global _lock, _half_started, _parent
    _lock = threading.Lock()
    if threading.get_ident() in _starting:
        end_with_thread(_parent)
        _parent = os.getpid()
        tempfile.tempdir = os.environ.get(FOLDER_VARIABLE)
        return
    _half_started = _half_started or bool(_starting)
    _starting.clear()
    spawn.get_preparation_data = _preparation_data


os.register_at_fork(after_in_child=_forked)
