"""What the demo writes: plain lines without a terminal, and nobody else's output."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from vllm_jina_embed.demo.terminal import Terminal, pad, table, width


def test_without_a_terminal_a_stage_is_one_plain_line() -> None:
    out = io.StringIO()
    terminal = Terminal(out, stages=2)
    with terminal.stage("work", "Working", 3) as advance:
        advance(3)
    assert out.getvalue().startswith("[1/2] Working ... ")
    assert out.getvalue().endswith(" s\n")
    assert "\r" not in out.getvalue()
    assert list(terminal.seconds) == ["work"]


def test_what_is_said_during_a_stage_stands_on_lines_of_its_own() -> None:
    out = io.StringIO()
    terminal = Terminal(out, stages=2)
    with pytest.raises(RuntimeError), terminal.stage("work", "Working"):
        raise RuntimeError
    terminal.say("The demo failed.")
    assert out.getvalue() == "[1/2] Working ...\nThe demo failed.\n"
    assert terminal.seconds == {}


def test_on_a_terminal_the_bar_gives_way_to_the_finished_line() -> None:
    out = io.StringIO()
    with Terminal(out, stages=1, lively=True).stage("work", "Working", 2) as advance:
        advance(2)
    assert "[1/1] Working  " in out.getvalue().split("\r")[1]
    assert "0/2" in out.getvalue()
    last = out.getvalue().rsplit("\r", 1)[1]
    assert last.startswith("[1/1] Working ")
    assert last.endswith(" s\n")


def test_chinese_and_japanese_take_two_columns() -> None:
    assert width("夕日 ü") == 6
    assert pad("夕日", 6) == "夕日  "
    assert pad("夕日", 6, right=True) == "  夕日"
    assert pad("long", 2) == "long"


def test_a_table_lines_its_columns_up() -> None:
    assert table([("a", "b", "1.0"), (), ("夕日", "b", "10.0")], indent="") == "a      b    1.0\n\n夕日   b   10.0"


_NOISY = """
import os, subprocess, sys
from pathlib import Path
from vllm_jina_embed.demo.terminal import set_aside
log = Path(sys.argv[1]) if sys.argv[1] else None
out = set_aside(log)
print("python stdout"); print("python stderr", file=sys.stderr)
os.write(2, b"library\\n")
subprocess.run([sys.executable, "-c", "print('child')"], check=True)
print("ours", file=out)
"""


def _run_noisy(log: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", _NOISY, log], capture_output=True, text=True, check=True)


def test_output_of_libraries_and_child_processes_goes_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "vllm.log"
    done = _run_noisy(str(log))
    assert done.stdout == "ours\n"
    assert done.stderr == ""
    assert sorted(log.read_text().split("\n")) == ["", "child", "library", "python stderr", "python stdout"]


def test_without_a_log_everything_stays_where_it_was() -> None:
    done = _run_noisy("")
    assert "child" in done.stdout
    assert "library" in done.stderr
