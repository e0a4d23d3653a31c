"""The steps of docker/Dockerfile.cpu in a folder and an environment of their own, where no builder is at hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.dockerfiles import Instruction, instructions
from tests.support.servers import SMALL, RealServer, free_port

pytestmark = [pytest.mark.real, pytest.mark.siege]

ROOT = Path(__file__).parents[2]
ROOTS = ("apt-get", "useradd")
"""Commands that need root and Debian: what they are for is looked for instead."""


@pytest.mark.timeout(3600)
def test_the_steps_of_the_cpu_image_give_a_server(tmp_path: Path) -> None:
    """COPY and RUN as they stand, with folders of the image below a temporary one; then its command answers."""
    found = instructions(ROOT / "docker" / "Dockerfile.cpu")
    app, environment = tmp_path / "app", {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    environment |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
    app.mkdir()
    for one in found:
        if one.name == "COPY":
            copy(one, app)
        elif one.name == "ENV":
            for pair in one.rest.split():
                name, _, value = pair.partition("=")
                environment[name] = moved(value, tmp_path).replace("$PATH", environment["PATH"])
        elif one.name == "RUN" and not any(command in one.rest for command in ROOTS):
            step = moved(one.rest, tmp_path).replace("python3", sys.executable, 1)
            done = subprocess.run(["sh", "-ec", step], cwd=app, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
    assert shutil.which("g++"), "the image installs it"
    (entry,) = [one.words for one in found if one.name == "ENTRYPOINT"]
    (model,) = [one.words for one in found if one.name == "CMD"]
    (probe,) = [one.rest.partition("CMD ")[2] for one in found if one.name == "HEALTHCHECK"]
    ports = {port: str(free_port()) for port in ("8000", "8001")}
    line = [ports.get(word, word) for word in entry]
    installed = shutil.which(line[0], path=environment["PATH"])
    assert installed is not None
    assert installed.startswith(str(tmp_path))
    command = [installed, *line[1:], *model, "--", *SMALL]
    python = str(tmp_path / "venv" / "bin" / "python")
    server = RealServer(command, int(ports["8000"]), tmp_path / "log", python=python, **environment)
    with server:
        words = [word.replace("8001", ports["8001"]) for word in json.loads(probe)]
        assert subprocess.run(words, env=environment, timeout=60).returncode == 0


def copy(one: Instruction, app: Path) -> None:
    """Do what COPY does, without what no builder is sent."""
    *sources, target = one.rest.split()
    for source in sources:
        place = app / target / source if target.endswith("/") else app / target
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, place)


def moved(text: str, root: Path) -> str:
    """Return a text with the image's folders below ``root``."""
    return text.replace("/opt/venv", str(root / "venv")).replace("/models", str(root / "models"))
