"""Check of the compiler that vLLM's generated code needs."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path

from .finding import Finding, Surroundings

APT = "apt-get install -y"


def check_compiler(
    around: Surroundings, *, which: Callable[[str], str | None] = shutil.which, include: str | None = None
) -> Finding:
    """Check for g++ (vLLM's CPU build: torch compiles the model) or a C compiler (GPUs: Triton), and Python's headers.

    Args:
        around: What to look at.
        which: Returns the path of a program, None where it is not there.
        include: Folder of Python's headers; None for this Python's.
    """
    if not around.site.vllm_builds():
        return Finding(check="compiler", status="absent", summary="not needed without vLLM.")
    cpu = around.site.is_cpu_build()
    found = next((path for name in _names(around.environment, cpu=cpu) if (path := which(name))), None)
    language = "C++" if cpu else "C"
    details = {"compiler": found, "language": language}
    if found is None:
        price = "on a CPU models run uncompiled, at about half the speed" if cpu else "Triton's kernels cannot be built"
        summary = f"there is no {language} compiler: {price}."
        mend = f"Install one, or name yours in {'CXX' if cpu else 'CC'}."
        command = f"{APT} {'g++' if cpu else 'gcc'}"
        return Finding(check="compiler", status="problem", summary=summary, mend=mend, command=command, details=details)
    header = Path(include or sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        summary = f"{found} is there, but Python's headers are not ({header})."
        version = sysconfig.get_python_version()
        command = f"{APT} python{version}-dev"
        return Finding(check="compiler", status="problem", summary=summary, command=command, details=details)
    return Finding(check="compiler", status="ok", summary=f"{found} ({language}).", details=details)


def _names(environment: Mapping[str, str], *, cpu: bool) -> list[str]:
    """Return the programs that are tried: as ``engine/local/arguments.py`` and Triton's ``runtime/build.py`` do."""
    if cpu:
        return [environment.get("CXX", "g++")]
    return [environment["CC"]] if "CC" in environment else ["gcc", "clang"]
