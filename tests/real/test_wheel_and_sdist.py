"""The wheel and the sdist: what is in them, that one makes the other, and that the command runs from the wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

pytestmark = [pytest.mark.real, pytest.mark.wide, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
PACKAGED = {".py", ".json", ".safetensors", ".tmpl", ".txt", ".css"}
"""Kinds of files that the package has: modules, the demo's checkpoint and phrases, its report, the page's style."""
LOCAL = {"__pycache__", ".git", ".venv", ".env", ".pytest_cache", ".mypy_cache", ".ruff_cache", "demo-output", "site"}


@dataclass(frozen=True, slots=True)
class Built:
    """What a build made: two files."""

    wheel: Path
    sdist: Path


def build(source: Path, out: Path, *targets: str) -> None:
    """Build by the backend that pyproject.toml names, without another environment."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    done = subprocess.run(
        [*command, *(part for target in targets for part in ("-t", target))], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    out = tmp_path_factory.mktemp("built")
    build(ROOT, out, "wheel", "sdist")
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return Built(wheel, sdist)


def contents(wheel: Path) -> dict[str, int]:
    """Return the files of a wheel with their checksums."""
    with zipfile.ZipFile(wheel) as archive:
        return {one.filename: one.CRC for one in archive.infolist()}


def names_in(sdist: Path) -> list[PurePosixPath]:
    """Return the files of an sdist, below its folder."""
    with tarfile.open(sdist) as archive:
        return [PurePosixPath(*PurePosixPath(one.name).parts[1:]) for one in archive.getmembers() if one.isfile()]


def wheel_faults(names: Iterable[str]) -> Iterator[str]:
    """Yield what is in a wheel and is neither the package nor its metadata."""
    for path in map(PurePosixPath, names):
        if path.parts[0] == "vllm_jina_embed":
            if path.suffix not in PACKAGED and path.name != "py.typed":
                yield f"{path} is not a kind of file that the package has"
        elif not path.parts[0].endswith(".dist-info"):
            yield f"{path} is not in the package"
        if LOCAL & set(path.parts) or {"tests", "conftest.py"} & set(path.parts) or path.name.startswith("test_"):
            yield f"{path} is local, or a test"


def sdist_faults(names: Iterable[PurePosixPath]) -> Iterator[str]:
    """Yield what is in an sdist and pyproject.toml does not name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    known = {name.strip("/") for name in included} | {"PKG-INFO", "pyproject.toml", ".gitignore"}
    for path in names:
        if path.parts[0] not in known or LOCAL & set(path.parts) or path.suffix in {".log", ".pyc"}:
            yield f"{path} is local"


def test_the_wheel_holds_the_package_alone(built: Built) -> None:
    """All of its files, and its type information."""
    names = contents(built.wheel)
    assert list(wheel_faults(names)) == []
    source = ROOT / "src"
    there = {path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path.relative_to(source).as_posix() for path in there} <= names.keys()
    assert "vllm_jina_embed/py.typed" in names


def test_the_sdist_holds_what_the_tests_need_and_nothing_local(built: Built) -> None:
    names = names_in(built.sdist)
    assert list(sdist_faults(names)) == []
    assert {"src", "tests", "docs", "examples", "locks", "Makefile", "LICENSE"} <= {path.parts[0] for path in names}


def test_the_sdist_makes_the_same_wheel(built: Built, tmp_path: Path) -> None:
    """Bit for bit, with its list of files."""
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    build(unpacked, tmp_path / "again", "wheel")
    assert contents(next((tmp_path / "again").glob("*.whl"))) == contents(built.wheel)


def test_local_files_and_tests_are_seen(tmp_path: Path) -> None:
    """Planted beside the package's modules and in the folders of the sdist."""
    for name in ("src", "pyproject.toml", "README.md", "LICENSE"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    package = tmp_path / "src" / "vllm_jina_embed"
    for name in ("notes.log", "test_planted.py", "doctor/kept.sqlite"):
        (package / name).touch()
    build(tmp_path, tmp_path / "out", "wheel", "sdist")
    (wheel,), (sdist,) = (tmp_path / "out").glob("*.whl"), (tmp_path / "out").glob("*.tar.gz")
    assert sorted(line.split()[0].rpartition("/")[2] for line in wheel_faults(contents(wheel))) == [
        "kept.sqlite", "notes.log", "test_planted.py",
    ]  # fmt: skip
    assert list(sdist_faults(names_in(sdist))) == ["src/vllm_jina_embed/notes.log is local"]


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a folder of its own, before everything else on the path."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), str(built.wheel)]
    subprocess.run(command, check=True, timeout=300)
    return folder


def run(installed: Path, work: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command of the wheel, beside the libraries of this environment."""
    environment = os.environ | {"PYTHONPATH": str(installed)}
    where = [sys.executable, "-c", "import vllm_jina_embed; print(vllm_jina_embed.__file__)"]
    place = subprocess.run(where, cwd=work, env=environment, capture_output=True, text=True, check=True).stdout
    assert place.startswith(str(installed))
    command = [str(installed / "bin" / "vllm-jina-embed"), *arguments]
    return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=1500)


@pytest.mark.siege
def test_the_demo_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "demo", "--output", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "report.html").stat().st_size > 100_000


@pytest.mark.siege  # test_doctor_wheel.py plants its problems in every run
def test_doctor_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    """The plugin that vLLM loads is the wheel's, and the engine gives the known vectors."""
    done = run(installed, tmp_path, "doctor", "--json", "--model", "demo")
    findings = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
    for check in ("package", "vllm", "plugin", "model", "engine"):
        assert findings[check]["status"] == "ok", findings[check]
