"""Run the command doctor: all checks in order, and its exit code."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from ..checkpoints.files import hub
from .basics import check_extra, check_package, check_python, extras_of
from .builds import check_torch, check_vllm
from .compiler import check_compiler
from .device import check_device, check_memory
from .disk import check_cache, check_temp
from .engine import check_engine
from .finding import Finding, Surroundings
from .installed import Site
from .model import check_model, needs_hub
from .network import HubAnswer, ask_hub, check_hub, check_serve_port
from .plugin import check_plugin, check_runner
from .probe import COMPANIONS
from .probing import probe
from .report import cleaned, count, write
from .server import check_server

Check = Callable[[], Finding]
GPU_FILES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd")
"""Devices of NVIDIA's and AMD's drivers."""
SLOW = {
    "model": "Looking for the model ...",
    "server": "Asking the server ...",
    "engine": "Starting an engine on the demo checkpoint, 20 to 60 s (--quick leaves it out) ...",
}
"""What is shown while a check takes long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody means to do with this installation, which is checked too.

    Attributes:
        quick: Whether to leave out the start of an engine.
        port: Port of ``serve`` that should be free; None for its default, about which there is only a note.
        model: A model that should be found.
        server: URL of a server that should answer; with ``model``, what it should serve.
        api_key: Key of the server.
    """

    quick: bool = False
    port: int | None = None
    model: str | None = None
    server: str | None = None
    api_key: str | None = field(default=None, repr=False)


def doctor(wanted: Wanted, *, as_json: bool = False) -> int:
    """Check this installation, write what was found to stdout, and return the exit code.

    Args:
        wanted: What to check beside the installation.
        as_json: Whether to write JSON.

    Returns:
        0 where nothing is wrong, 1 where there is a problem.
    """
    site = Site()
    _progress("Importing torch and vLLM, if they are installed ...")
    around = Surroundings(site=site, probe=probe(stages(site)), environment=os.environ, has_gpu=has_gpu())
    secrets = {**around.environment, "--api-key (API_KEY)": wanted.api_key or ""}
    findings = []
    for name, check in checks(around, wanted):
        if name in SLOW:
            _progress(SLOW[name])
        findings.append(cleaned(run(name, check), secrets))
    _progress("")
    write(findings, sys.stdout, as_json=as_json)
    return 1 if count(findings, "problem") else 0


def stages(site: Site) -> list[str]:
    """Return what to import: what is installed."""
    torch = [name for name in ("torch", *COMPANIONS) if site.version(name) is not None]
    return [*torch, *(["vllm", "plugin", "runner"] if site.vllm_builds() else [])]


def checks(around: Surroundings, wanted: Wanted) -> Iterator[tuple[str, Check]]:
    """Yield the checks with their names, in the order in which they are shown."""
    model, server = wanted.model, wanted.server

    @cache
    def answer() -> HubAnswer:
        return ask_hub(hub())

    yield "python", partial(check_python, around)
    yield "package", partial(check_package, around)
    for extra in extras_of(around):
        yield f"extra {extra}", partial(check_extra, around, extra)
    yield "vllm", partial(check_vllm, around, is_client=server is not None)
    yield "torch", partial(check_torch, around)
    yield "device", partial(check_device, around)
    yield "memory", partial(check_memory, around)
    yield "plugin", partial(check_plugin, around)
    yield "runner", partial(check_runner, around)
    yield "compiler", partial(check_compiler, around)
    yield "cache", lambda: check_cache(around, hub().folder)
    yield "temp", partial(check_temp, around)
    if model is None or server is not None:  # a server has the files of what it serves itself
        yield "hub", lambda: check_hub(around, answer())
    else:
        yield "hub", lambda: check_hub(around, answer(), is_needed=needs_hub(model, answer().hub))
        yield "model", lambda: check_model(around, model, answer())
    yield "port", partial(check_serve_port, around, wanted.port)
    if server is not None:
        yield "server", partial(check_server, around, server, api_key=wanted.api_key, model=model)
    if not wanted.quick:
        yield "engine", partial(check_engine, around)


def run(name: str, check: Check) -> Finding:
    """Return what a check finds; where it fails itself, a note that says so."""
    try:
        return check()
    except Exception as error:  # one broken thing must not hide the others
        summary = f"this check failed itself ({type(error).__name__}: {error}); please report it."
        return Finding(check=name, status="note", summary=summary)


def has_gpu(files: Sequence[str] = GPU_FILES) -> bool:
    """Return whether the machine seems to have a GPU, by its drivers' program and devices."""
    return shutil.which("nvidia-smi") is not None or any(Path(file).exists() for file in files)


def _progress(line: str) -> None:
    """Show what takes long on one line of a terminal; "" clears it."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()
