"""The command line: what it says of itself, and what it says where something is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from vllm_jina_embed import __version__
from vllm_jina_embed.cli import main

_WITHOUT = """
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

missing = sys.argv[1].split()
for name in ("langchain_core", "llama_index", "llama_index.core", "vllm"):
    sys.modules[name] = None if name in missing else ModuleType(name)
    if name not in missing:
        sys.modules[name].__spec__ = ModuleSpec(name, None)
from vllm_jina_embed.cli import main
sys.exit(main(["demo", "--output", sys.argv[2]]))
"""


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"vllm-jina-embed {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["demo", "--colour", "red"],
        ["index", "folder"],
        ["mcp", "index", "--engine-kwargs", "[1]"],
        ["index", "folder", "index", "--engine-kwargs", "dtype=float32"],
    ],
)
def test_wrong_usage_is_refused_with_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: vllm-jina-embed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        (
            "langchain_core llama_index llama_index.core vllm",
            "langchain_core is not installed. Run: pip install 'vllm-jina-embed[langchain,llama-index,vllm]'",
        ),
        (
            "llama_index.core vllm",
            "llama_index.core is not installed. Run: pip install 'vllm-jina-embed[llama-index,vllm]'",
        ),
        ("vllm", "vllm is not installed. Run: pip install 'vllm-jina-embed[vllm]'"),
    ],
)
def test_something_missing_is_one_line_with_the_pip_command(missing: str, line: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, missing, str(tmp_path / "out")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"vllm-jina-embed: {line}\n"
    assert not (tmp_path / "out").exists()


def test_importing_the_command_is_light() -> None:
    """VLLM's processes import the main module again."""
    code = "import sys, vllm_jina_embed.cli; print(any('vllm_jina_embed.demo' in name for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
