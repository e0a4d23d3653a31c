"""vLLM's processes end with the application that started them.

Symptom: after a SIGKILL or plain SIGTERM of the application, vLLM 0.32's engine and worker run on for ever and keep
the memory. Cause: they learn of the parent's end only when it shuts them down.
Remove when vLLM ends its processes with their parent.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

VARIABLE = "VLLM_JINA_EMBED_OWNER"
"""Set by the application to its process id: only engines that we started end with their parent."""

POLL_SECONDS = 0.25
GRACE_SECONDS = 1.0
"""Time for an orderly end, which an application that still can has asked for before it ends."""

_watching = False


def end_with_parent() -> None:
    """Watch the parent from a daemon thread; does nothing outside our engine's processes."""
    global _watching
    parent = multiprocessing.parent_process()
    if VARIABLE not in os.environ or parent is None or parent.pid is None or _watching:
        return
    _watching = True
    threading.Thread(target=_watch, args=(parent.pid,), name="end-with-parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
