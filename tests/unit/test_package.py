"""The package as a whole: what importing it loads, which file may import what, its public names, its wheel."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import resolve_name
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
)

# Which files alone may import a module, even inside a function. demo/ and cli.py stand above the package's picture.
ABOVE = ("demo/", "cli.py")
ONLY_IN = {
    "vllm": ("engine/local/", "plugin/", "serve/"),
    "torch": ("engine/local/", "plugin/", "serve/", "scoring/maxsim_torch.py"),
    "qdrant_client": ("late_interaction/",),
    "transformers": ("engine/local/", "plugin/"),
    "httpx": ("engine/remote/",),
    "langchain_core": ("langchain/",),
    "llama_index": ("llama_index/",),
    "mteb": ("mteb.py",),
    "mcp": ("mcp/server.py",),
    "pypdfium2": ("mcp/reading.py",),
    "vllm_jina_embed.mteb": (),
    "vllm_jina_embed.mcp": ("mcp/",),
    "vllm_jina_embed.langchain": ("langchain/",),
    "vllm_jina_embed.llama_index": ("llama_index/",),
    "vllm_jina_embed.plugin": ("plugin/",),
    "vllm_jina_embed.cli": (),
    "vllm_jina_embed.engine": ("engine/", "embedder.py", "embedding/pipeline.py", "settings.py", "plugin/", "serve/"),
}


def heavy_modules_after(code: str, path: str = "") -> list[str]:
    """Give the names of HEAVY that a new Python holds after running the code."""
    program = f"{code}\nimport sys\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    return done.stdout.split()


def imported(file: Path, source: str) -> Iterator[str]:
    """Give the absolute names of what a file of the package imports, at its top or inside."""
    package = ".".join(["vllm_jina_embed", *file.relative_to(PACKAGE).parent.parts])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def trespasses(file: Path, source: str) -> list[str]:
    """Give the names that this file imports and may not."""
    place = file.relative_to(PACKAGE).as_posix()
    forbidden = [name for name, allowed in ONLY_IN.items() if not place.startswith((*allowed, *ABOVE))]
    return [
        f"{place}: {got}" for got in imported(file, source) for name in forbidden if f"{got}.".startswith(f"{name}.")
    ]


def test_importing_the_package_loads_nothing_heavy() -> None:
    """Neither vLLM nor torch, transformers, a framework or an HTTP client."""
    assert heavy_modules_after("import vllm_jina_embed") == []


@pytest.mark.parametrize("name", HEAVY)
def test_the_boundary_test_sees_a_planted_import(name: str, tmp_path: Path) -> None:
    """A stand-in of each heavy module is reported when something imports it."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    assert name in heavy_modules_after(f"import vllm_jina_embed, {name}", str(tmp_path))


def test_each_file_imports_only_what_the_picture_allows() -> None:
    """vLLM only in engine/local, plugin and serve, a framework only in its folder, and nobody looks up."""
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 10
    assert [line for file in files for line in trespasses(file, file.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("embedder.py", "import vllm"),
        ("pooling/single_vector.py", "from torch.nn import functional"),
        ("langchain/embeddings.py", "from vllm.inputs import TokensPrompt"),
        ("langchain/embeddings.py", "from ..engine.local.engine import LocalEngine"),
        ("llama_index/embedding.py", "from ..langchain import VllmJinaEmbeddings"),
        ("embedder.py", "from . import cli"),
        ("engine/local/engine.py", "def start():\n    import httpx"),
    ],
)
def test_the_picture_is_guarded(place: str, line: str) -> None:
    """An import against the direction is reported, at the top or inside a function."""
    assert len(trespasses(PACKAGE / place, line)) == 1


def test_public_names_exist() -> None:
    """Each name in __all__ is there, and JinaEmbedder and MediaPolicy are among them."""
    assert {"JinaEmbedder", "MediaPolicy", "VllmJinaError"} <= set(vllm_jina_embed.__all__)
    assert [name for name in vllm_jina_embed.__all__ if not hasattr(vllm_jina_embed, name)] == []


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
