"""Let the processes of our vLLM server end with their parent.

Symptom: after a SIGKILL or plain SIGTERM of the application, the engine and worker of vLLM 0.32 run on for ever and
keep the memory. Cause: they only notice the parent's end when it shuts them down.
Remove when vLLM ends its processes with their parent.
"""

from __future__ import annotations

import multiprocessing
import os

from ..engine.local.processes import end_with_thread
from ..engine.plugin_contract import OWNER_VARIABLE


def end_with_parent() -> None:
    """Bind a process of our server to its parent.

    ``OWNER_VARIABLE`` names the parent; each child puts its own id there for its children. The processes of an
    application's engine are bound when they begin (``engine/local/processes.py``).
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None and os.environ.get(OWNER_VARIABLE) == str(parent.pid):
        end_with_thread(parent.pid)
        os.environ[OWNER_VARIABLE] = str(os.getpid())
