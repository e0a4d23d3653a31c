"""Checks of Python, of this package and of its extras."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from .finding import Finding, Surroundings
from .installed import PACKAGE, pip_line, within

NOT_EXTRAS = {"vllm", "cpu", "all", "server"}
"""Extras that are looked at elsewhere (builds of vLLM), or that only name others."""


def check_python(around: Surroundings, version: str | None = None) -> Finding:
    """Check that Python is in the range of this package; ``version`` is for tests."""
    version = version or platform.python_version()
    wanted = around.site.python_range(PACKAGE)
    details = {"version": version, "system": f"{platform.system()} {platform.machine()}", "wanted": wanted}
    summary = f"Python {version} on {details['system']}."
    if wanted and not within(version, SpecifierSet(wanted)):
        mend = f"Make an environment with Python {wanted}, and install there."
        return Finding(
            check="python", status="problem", summary=f"{summary} Needed: {wanted}.", mend=mend, details=details
        )
    return Finding(check="python", status="ok", summary=summary, details=details)


def check_package(around: Surroundings) -> Finding:
    """Check that this package is installed, with what it always needs."""
    version = around.site.version(PACKAGE)
    if version is None:
        summary = f"{PACKAGE} runs from its files, and is not installed: vLLM cannot find its plugin."
        mend = "Install it into this environment."
        return Finding(check="package", status="problem", summary=summary, mend=mend, command=pip_line(PACKAGE))
    unmet = list(around.site.unmet(around.site.requirements(PACKAGE)))
    details = {"version": version, "python": sys.executable}
    if unmet:
        summary = f"{PACKAGE} {version}; {_described(unmet)}."
        command = pip_line(*(str(need) for need, _ in unmet), options="-U")
        return Finding(check="package", status="problem", summary=summary, command=command, details=details)
    return Finding(check="package", status="ok", summary=f"{PACKAGE} {version}.", details=details)


def extras_of(around: Surroundings) -> list[str]:
    """Return the extras to check, as the metadata names them."""
    return [name for name in around.site.extras(PACKAGE) if name not in NOT_EXTRAS]


def check_extra(around: Surroundings, extra: str) -> Finding:
    """Check what an extra asks for: installed, in range, or not there at all."""
    needs = list(_needs(around, extra))
    versions = {need.name: around.site.version(need.name) for need in needs}
    unmet = list(around.site.unmet(needs))
    check, command = f"extra {extra}", pip_line(f"{PACKAGE}[{extra}]", options="-U")
    if any(version is not None for _, version in unmet):
        summary = f"{_described(unmet)}."
        return Finding(check=check, status="problem", summary=summary, command=command, details=versions)
    if len(unmet) == len(needs):
        return Finding(check=check, status="absent", summary="not installed.", command=command, details=versions)
    if unmet:
        summary = f"installed in part; {_described(unmet)}."
        return Finding(check=check, status="absent", summary=summary, command=command, details=versions)
    summary = ", ".join(f"{name} {version}" for name, version in versions.items()) + "."
    return Finding(check=check, status="ok", summary=summary, details=versions)


def _needs(around: Surroundings, extra: str) -> Iterator[Requirement]:
    """Yield what an extra asks for; an extra that names others asks for theirs."""
    for need in around.site.requirements(PACKAGE, extra):
        if need.name == PACKAGE:
            for other in need.extras:
                yield from _needs(around, other)
        else:
            yield need


def _described(unmet: list[tuple[Requirement, str | None]]) -> str:
    return "; ".join(
        f"{need.name} {'is not installed' if version is None else version}, needed: {need.specifier or 'any version'}"
        for need, version in unmet
    )
