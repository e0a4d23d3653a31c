"""The command line: what it says of itself, and what it says where something is missing."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import pytest

from vllm_jina_embed import __version__
from vllm_jina_embed._usage import SHELLS
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


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["doctr"], "Did you mean doctor?"),
        (["serach", "corpus", "query"], "Did you mean search?"),
        (["doctor", "--jsn"], "vllm-jina-embed doctor: error: unrecognized arguments: --jsn. Did you mean --json?"),
        (["serve", "demo", "--multi-vectors"], "Did you mean --multi-vector?"),
        (["--print-completion", "bsh"], "Did you mean bash?"),
    ],
)
def test_what_is_nearest_to_a_wrong_word_is_named(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err.endswith(f"{line}\n")


@pytest.mark.parametrize("arguments", [["xyz"], ["doctor", "--colour"], ["doctor", "stray"]])
def test_nothing_is_named_where_nothing_is_near(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "Did you mean" not in capsys.readouterr().err


@pytest.mark.skipif(find_spec("shtab") is None, reason="shtab is an extra")
@pytest.mark.parametrize("shell", SHELLS)
def test_completion_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--print-completion", shell])
    assert end.value.code == 0
    assert "multi-vector" in capsys.readouterr().out


@pytest.mark.skipif(find_spec("shtab") is None or not which("bash"), reason="shtab is an extra")
@pytest.mark.parametrize(
    ("words", "completed"),
    [(["doc"], {"doctor"}), (["doctor", "--q"], {"--quick"}), (["index", "read"], {"readme.txt"})],
)
def test_bash_completes_commands_options_and_files(words: list[str], completed: set[str], tmp_path: Path) -> None:
    """In a real bash, by the function that a shell calls when Tab is pressed."""
    (tmp_path / "readme.txt").touch()
    command = [sys.executable, "-m", "vllm_jina_embed.cli", "--print-completion", "bash"]
    script = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    line = ["vllm-jina-embed", *words]
    ask = f"""{script}
COMP_WORDS=({" ".join(line)}); COMP_CWORD={len(line) - 1}; COMP_LINE="{" ".join(line)}"; COMP_POINT=${{#COMP_LINE}}
function=$(complete -p vllm-jina-embed | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
$function vllm-jina-embed "{line[-1]}" "{line[-2]}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert set(done.stdout.split()) == completed, done.stderr
