"""Checks of what vLLM computes on, and of its memory."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._cores import usable_cores
from ..demo.machine import describe
from .finding import Finding, Surroundings

GIB = 1024**3
DEMO_BYTES = 2 * GIB
"""What an engine on the demo checkpoint takes on the CPU, with vLLM's processes; measured, and rounded up."""
MODEL_BYTES = 12 * GIB
"""The same of jina-embeddings-v4: 7.5 GB of weights, 2 GiB for keys and values, and vLLM's processes."""
GPU_SHARE = 0.92
"""Part of a GPU's memory that vLLM takes by default (0.32, 0.33), and that must be free when it starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Main memory, in bytes.

    Attributes:
        total: What the machine or the container has.
        available: What can be used now.
        limit: Of ``ulimit -v``, None where there is none.
    """

    total: int
    available: int
    limit: int | None = None


def check_device(around: Surroundings) -> Finding:
    """Say what vLLM computes on, and check that torch sees the GPU that the machine has."""
    torch = around.probe.of("torch")
    processor = f"{describe()['processor']}, {usable_cores()} cores"
    gpus: list[Any] = list(torch.get("gpus", ()))
    details = {"processor": processor, "gpus": gpus, "cuda": torch.get("cuda")}
    if gpus:
        names = ", ".join(f"{gpu['name']} (compute capability {gpu['capability']})" for gpu in gpus)
        return Finding(check="device", status="ok", summary=f"{names}.", details=details)
    is_for_gpus = torch.get("cuda") or torch.get("hip")
    if around.has_gpu and is_for_gpus and around.site.vllm_builds() and not around.site.is_cpu_build():
        said = " ".join(map(str, torch.get("warnings", ()))).strip()
        summary = f"this machine has a GPU, but torch ({torch['version']}) cannot use it. {said}".strip()
        mend = "Update the driver to one for torch's CUDA; in a container, start it with --gpus all."
        return Finding(
            check="device", status="problem", summary=summary, mend=mend, command="nvidia-smi", details=details
        )
    return Finding(check="device", status="ok", summary=f"CPU: {processor}.", details=details)


def check_memory(around: Surroundings, memory: Memory | None = None) -> Finding:
    """Check that an engine has room: on the GPU where vLLM uses one, else in main memory."""
    memory = memory or main_memory()
    gpus = [] if around.site.is_cpu_build() else list(around.probe.of("torch").get("gpus", ()))
    details = {"total": memory.total, "available": memory.available, "limit": memory.limit}
    usable = min(memory.available, memory.limit if memory.limit is not None else memory.available)
    summary = f"{_gib(usable)} of {_gib(memory.total)} available."
    if memory.limit is not None and memory.limit < DEMO_BYTES:
        summary = f"ulimit -v allows this process {_gib(memory.limit)}; even the demo needs {_gib(DEMO_BYTES)}."
        return Finding(
            check="memory", status="problem", summary=summary, command="ulimit -v unlimited", details=details
        )
    if usable < DEMO_BYTES:
        summary = f"{summary} Even the demo needs {_gib(DEMO_BYTES)}."
        mend = "End other programs, or give the container more (docker run --memory)."
        command = "ps -eo pid,rss,args --sort=-rss | head"
        return Finding(check="memory", status="problem", summary=summary, mend=mend, command=command, details=details)
    for gpu in gpus:
        if gpu["free"] < GPU_SHARE * gpu["total"]:
            return _taken(gpu, details)
    if not gpus and usable < MODEL_BYTES:
        summary = f"{summary} The demo fits; jina-embeddings-v4 needs about {_gib(MODEL_BYTES)} on a CPU."
        return Finding(check="memory", status="note", summary=summary, details=details)
    on_gpu = "".join(f" {_gib(gpu['free'])} of {_gib(gpu['total'])} free on {gpu['name']}." for gpu in gpus)
    return Finding(check="memory", status="ok", summary=f"{summary}{on_gpu}", details=details)


def main_memory(root: Path = Path("/")) -> Memory:
    """Return the memory of this machine, or of this container where it has less.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    total, available = _meminfo(root)
    for limit, used in _cgroups(root):
        total, available = min(total, limit), min(available, max(0, limit - used))
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return Memory(total=total, available=available, limit=None if soft == resource.RLIM_INFINITY else soft)


def _meminfo(root: Path) -> tuple[int, int]:
    """Return total and available bytes of the machine; without /proc all counts as available."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return total, total
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
    return sizes.get("MemTotal", total), sizes.get("MemAvailable", total)


def _cgroups(root: Path) -> list[tuple[int, int]]:
    """Return limit and use in bytes of each control group above this process that has a limit; files count as unused.

    Source: the kernel's documentation of cgroup v2, memory.max, memory.current and inactive_file of memory.stat.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
        own = next(line[3:].strip("/") for line in lines if line.startswith("0::"))
    except (OSError, StopIteration):
        return []
    top = root / "sys/fs/cgroup"
    folders = [top / own, *(top / own).parents]
    found = []
    for folder in folders[: folders.index(top) + 1]:
        try:
            limit, used = (folder / "memory.max").read_text().strip(), int((folder / "memory.current").read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        if limit.isdigit():
            found.append((int(limit), used - int(stat.get("inactive_file", 0))))
    return found


def _taken(gpu: dict[str, float], details: dict[str, int | None]) -> Finding:
    share = int(100 * gpu["free"] / gpu["total"]) / 100
    summary = (
        f"{_gib(gpu['free'])} of {_gib(gpu['total'])} are free on {gpu['name']}, and vLLM wants {GPU_SHARE:.0%} of it."
    )
    mend = f"End what uses it, or pass engine_kwargs={{'gpu_memory_utilization': {max(share - 0.02, 0.01):.2f}}}."
    return Finding(
        check="memory", status="problem", summary=summary, mend=mend, command="nvidia-smi", details=dict(details)
    )


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
