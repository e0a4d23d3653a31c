"""vLLM's processes end with the application that started them.

Symptom: after a SIGKILL or plain SIGTERM of the application, vLLM 0.32's engine and worker run on for ever and keep
the memory. Cause: they learn of the parent's end only when it shuts them down.
Remove when vLLM ends its processes with their parent.
"""

from __future__ import annotations

import multiprocessing
import os

from ..engine.local.processes import end_with_thread
from ..engine.plugin_contract import OWNER_VARIABLE


def end_with_parent() -> None:
    """Bind a process of our server to its parent.

    ``OWNER_VARIABLE`` names the process whose children are meant; each of them names itself to its own. The processes
    of an engine in an application were bound when they began (``engine/local/processes.py``).
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None and os.environ.get(OWNER_VARIABLE) == str(parent.pid):
        end_with_thread(parent.pid)
        os.environ[OWNER_VARIABLE] = str(os.getpid())
