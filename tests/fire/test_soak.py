"""Thousands of mixed requests on one engine that is killed and interrupted meanwhile: none wrong, lost or hung."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.fire, pytest.mark.siege]

ROOT = Path(__file__).parents[2]
SHARED = Path("/dev/shm")
SECONDS_PER_REQUEST = 0.5
"""Far more than one takes, restarts included, on two busy cores."""


@pytest.mark.timeout(0)  # the application has a limit of its own, by the number of requests
def test_mixed_requests_survive_kills_forks_and_ctrl_c(pytestconfig: pytest.Config) -> None:
    """Cancelled calls, bad items, forks, two kills of the engine and one SIGINT to the application's group."""
    requests = pytestconfig.getoption("--requests")
    before = shared_memory()
    with tempfile.TemporaryDirectory(prefix="soak") as folder:
        figures = run(requests, Path(folder))
        files_left = sorted(path.name for path in Path(folder).iterdir() if path.name != "cache")
    figures["files left"] = files_left
    figures["shared memory left"] = sorted(shared_memory() - before - in_use())
    print("\n| what | figure |\n|---|---|")
    print("\n".join(f"| {name} | {value} |" for name, value in figures.items()))
    assert figures["done"] == requests
    nothing = {"wrong", "lost", "hung over 30 s", "engine lost by the interrupt", "processes left"}
    assert {name: figures[name] for name in nothing} == dict.fromkeys(nothing, 0), figures["failures"]
    assert (figures["kills"], figures["interrupts"]) == (2, 1)
    first, last = figures["memory of the first tenth, MB"], figures["memory of the last tenth, MB"]
    assert last <= 1.05 * first
    libraries = [["GarbageCollectorThread", "TMonitor", "_MainThread"], ["GarbageCollectorThread", "_MainThread"]]
    assert figures["threads left"] in libraries, "pyzmq has one, and tqdm one for all its bars"
    assert figures["sockets and shared memory left"] == []
    assert figures["shared memory left"] == []
    assert files_left == []


def run(requests: int, folder: Path) -> dict[str, Any]:
    """Return the figures of the application; whatever happens, none of its processes is left."""
    environment = {**os.environ, "TMPDIR": str(folder), "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache")}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, str(Path(__file__).with_name("soak_application.py")), str(requests)]
    application = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        out, _ = application.communicate(timeout=600 + SECONDS_PER_REQUEST * requests)
    except subprocess.TimeoutExpired:
        os.killpg(application.pid, signal.SIGKILL)
        application.wait()
        raise
    end = time.monotonic() + 30
    while (alive := session(application.pid)) and time.monotonic() < end:
        time.sleep(0.1)  # Python's own process that watches over shared memory ends after the application
    for process in alive:
        process.kill()
    assert application.returncode == 0
    assert [process.pid for process in alive] == []
    figures: dict[str, Any] = json.loads(out.splitlines()[-1])
    return figures


def session(leader: int) -> list[psutil.Process]:
    """Return the running processes of a session."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def shared_memory() -> set[str]:
    """Return the names in shared memory; loky's are of other programs on this machine, the application has none."""
    names = {path.name for path in SHARED.iterdir()} if SHARED.is_dir() else set()
    return {name for name in names if not name.startswith("sem.loky-")}


def in_use() -> set[str]:
    """Return the names in shared memory that other processes of this machine have mapped."""
    names: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            names |= {line.rpartition("/dev/shm/")[2] for line in maps.read_text().splitlines() if "/dev/shm/" in line}
        except OSError:
            continue
    return names
