"""The package as a whole: what importing it loads, its version, its wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import vllm_jina_embed

PACKAGE = Path(vllm_jina_embed.__file__).parent
ROOT = PACKAGE.parent.parent
HEAVY = (
    "vllm",
    "torch",
    "torchvision",
    "transformers",
    "langchain",
    "langchain_core",
    "llama_index",
    "httpx",
    "qdrant_client",
    "mteb",
    "mcp",
    "nicegui",
)


def heavy_modules_after(code: str, path: str = "") -> list[str]:
    """Give the names of HEAVY that a new Python holds after running the code."""
    program = f"{code}\nimport sys\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    return done.stdout.split()


def test_importing_the_package_loads_nothing_heavy() -> None:
    """Neither vLLM nor torch, transformers, a framework or an HTTP client."""
    assert heavy_modules_after("import vllm_jina_embed") == []


@pytest.mark.wide
@pytest.mark.parametrize("name", HEAVY)
def test_the_boundary_test_sees_a_planted_import(name: str, tmp_path: Path) -> None:
    """A stand-in of each heavy module is reported when something imports it."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    assert name in heavy_modules_after(f"import vllm_jina_embed, {name}", str(tmp_path))


def test_the_version_is_the_distributions() -> None:
    """__version__ and the metadata agree."""
    assert vllm_jina_embed.__version__ == version("vllm-jina-embed")


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    """Data too: the demo checkpoint, templates and py.typed, not only modules."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("vllm_jina_embed/")}
    sources = {file.relative_to(PACKAGE.parent).as_posix() for file in PACKAGE.rglob("*") if file.is_file()}
    assert "vllm_jina_embed/py.typed" in shipped
    assert shipped == {name for name in sources if "__pycache__" not in name}
