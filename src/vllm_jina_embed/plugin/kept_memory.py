"""Let a worker on a CPU keep freed memory, from its first step on.

By default the C library returns each large block to the system, which clears it again for the next layer: a tenth of
the time of an image. While weights load that is right, since each matrix is packed into another block: kept blocks
would take as much memory again as the model.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

from ..engine.plugin_contract import ALLOCATOR, RETURN_MEMORY

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Of mallopt(3): free bytes at the heap's end from which they are returned, and how many blocks lie outside of it."""


def keep_after_loading(model: Any) -> None:
    """Keep memory from the first step of ``model`` on, where the application started this process for that."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's alone
    if mallopt is None or os.environ.get(ALLOCATOR) != RETURN_MEMORY:
        return

    def keep(*_: Any) -> None:
        hook.remove()
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)

    hook = model.register_forward_pre_hook(keep)
