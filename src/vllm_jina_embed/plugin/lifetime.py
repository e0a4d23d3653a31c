"""vLLM's processes end with the application that started them.

Symptom: after a SIGKILL or plain SIGTERM of the application, vLLM 0.32's engine and worker run on for ever and keep
the memory. Cause: they learn of the parent's end only when it shuts them down.
Remove when vLLM ends its processes with their parent.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

from ..engine.base import OWNER_VARIABLE

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def end_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends; only in our engines' processes.

    That thread is the engine's loop, which ends after an orderly shutdown, or with the application.
    """
    parent = multiprocessing.parent_process()
    if OWNER_VARIABLE not in os.environ or parent is None or parent.pid is None:
        return
    die_with(parent.pid)


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent's thread that started it ends; on Linux."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the request
        os.kill(os.getpid(), signal.SIGKILL)
