"""The process that watches over a server, with small programs in the server's place."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from vllm_jina_embed import ConfigError, EngineError
from vllm_jina_embed.serve import command as serve
from vllm_jina_embed.serve.command import Watch, drain_seconds

pytestmark = [
    pytest.mark.fire,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc"),
]

STUBBORN = """
import json, os, pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
options = json.load(sys.stdin)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(options["note"]).write_text(f"{os.getpid()} {child.pid}")
time.sleep(600)
"""


def watch(program: str, note: Path) -> Watch:
    return Watch({"note": str(note), "host": "127.0.0.1", "port": 9, "passed": []}, "Ready", command=command(program))


def command(program: str) -> tuple[str, ...]:
    return sys.executable, "-c", program


def when_there(note: Path, number: int) -> threading.Thread:
    """Send this process a signal once the server's process runs."""

    def send() -> None:
        while not (note.exists() and note.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def runs(pid: str) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_does_not_listen_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As vLLM's while it starts: within the patience, and nothing of it stays."""
    monkeypatch.setattr(serve, "PATIENCE", 0.5)
    note = tmp_path / "note"
    before = signal.getsignal(number)
    thread = when_there(note, number)
    if number == signal.SIGTERM:
        assert watch(STUBBORN, note).run() == 0
    else:
        with pytest.raises(KeyboardInterrupt):
            watch(STUBBORN, note).run()
    thread.join()
    assert [pid for pid in note.read_text().split() if runs(pid)] == []
    assert signal.getsignal(number) is before


def test_a_server_that_ends_by_itself_is_an_error(tmp_path: Path) -> None:
    """vLLM's ends with exit code 0 after its engine died."""
    with pytest.raises(EngineError, match="ended by itself"):
        watch("pass", tmp_path / "note").run()
    with pytest.raises(EngineError, match="exit code -9"):
        watch("import os; os.kill(os.getpid(), 9)", tmp_path / "note").run()


@pytest.mark.parametrize("code", [1, 2])
def test_what_the_server_says_by_its_exit_code_is_passed_on(tmp_path: Path, code: int) -> None:
    assert watch(f"import sys; sys.exit({code})", tmp_path / "note").run() == code


def test_the_folder_of_its_sockets_is_removed(tmp_path: Path) -> None:
    note = tmp_path / "note"
    program = f"import os, pathlib; pathlib.Path({str(note)!r}).write_text(os.environ['VLLM_RPC_BASE_PATH']); exit(1)"
    assert watch(program, note).run() == 1
    assert not Path(note.read_text()).exists()


@pytest.mark.parametrize(
    ("passed", "seconds"),
    [([], 0), (["--shutdown-timeout", "60"], 60), (["--shutdown_timeout=5"], 5), (["--shutdown-timeout"], 0)],
)
def test_a_server_that_drains_has_the_time_for_it(passed: list[str], seconds: float) -> None:
    assert drain_seconds(passed) == seconds


def test_a_port_that_is_taken_is_told_before_the_start() -> None:
    """Else another's socket is called ready, and its answers are taken for the model's."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"'127.0.0.1', port {port}: .*Choose another --port"):
            serve.serve("demo", port=port)
    serve.check_port("127.0.0.1", port)
    for host, number in (("127.0.0.1", 70_000), ("no such host", 8000)):
        with pytest.raises(ConfigError, match="cannot listen"):
            serve.check_port(host, number)
