"""Children of ``os.fork`` that a test waits for, and kills when they hang."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable


def in_child(check: Callable[[], object], *, limit: float = 20.0) -> int | str:
    """Return 0 where ``check`` was true in a forked child, 2 where not, 1 where it raised, and ``hung``."""
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if check() else 2
        finally:
            os._exit(code)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hung"
