"""Where and how an application may start an engine, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import vllm_jina_embed

pytestmark = [pytest.mark.fire, pytest.mark.siege, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
OURS = (
    "JINA_EMBED_ENGINE_OWNER",
    "JINA_EMBED_ENGINE_PARENT",
    "TOKENIZERS_PARALLELISM",
    "GLIBC_TUNABLES",
    "VLLM_CPU_OMP_THREADS_BIND",
)
OURS += ("VLLM_LOGGING_LEVEL", "VLLM_NO_USAGE_STATS", "VLLM_CPU_OMP_THREADS_BIND")


def test_the_readmes_first_block_runs_as_a_file(tmp_path: Path) -> None:
    """It has no main guard: vLLM's processes do not import it, so it does not start itself again in them."""
    block = re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    (tmp_path / "first.py").write_text(block[1])
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    done = subprocess.run(
        [sys.executable, "first.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["Ein wunderschöner Sonnenuntergang am Strand"] * 2
    assert "Traceback" not in done.stderr


APPLICATION = f"""
import json, os, signal, time, psutil
from vllm_jina_embed import JinaEmbedder
before = {{name: os.environ.get(name) for name in {OURS}}}
engines = lambda: [p.pid for p in psutil.Process().children() if "EngineCore" in " ".join(p.cmdline())]
embedder = JinaEmbedder("demo")
first, pids = embedder.embed_queries(["a red circle"]), engines()
try:
    os.killpg(0, signal.SIGINT)
    time.sleep(60)
    told = "not interrupted"
except KeyboardInterrupt:
    told = "interrupted"
time.sleep(1)
equal, same = bool((embedder.embed_queries(["a red circle"]) == first).all()), engines() == pids != []
open_now = {{name: os.environ.get(name) for name in {OURS}}}
embedder.close()
print(json.dumps([told, equal, same, open_now, {{name: os.environ.get(name) for name in {OURS}}} == before]))
"""


def test_a_script_from_stdin_survives_ctrl_c_and_keeps_its_environment() -> None:
    """`python -` has no file that could be imported; SIGINT goes to its whole process group, as a terminal sends it."""
    with application("-") as process:
        out, _ = process.communicate(APPLICATION, timeout=500)
    told, equal, same, open_now, restored = json.loads(out)
    assert (told, equal, same, restored) == ("interrupted", True, True, True)
    assert {name for name, value in open_now.items() if value is not None} <= {"TOKENIZERS_PARALLELISM"}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_start_that_is_interrupted_leaves_no_process(how: signal.Signals) -> None:
    """Whatever ends the application while vLLM starts; Ctrl-C does not wait until it is up."""
    with application("-c", "from vllm_jina_embed import JinaEmbedder as E; E('demo').embed_queries(['x'])") as process:
        wait_for(lambda: "spawn_main" in names(process.pid))
        process.send_signal(how)
        process.wait(60)
        wait_for(lambda: not session(process.pid), seconds=30)


def environment() -> dict[str, str]:
    """Return this process's environment without what engines of this run have set."""
    source = str(Path(vllm_jina_embed.__file__).parents[1])  # wherever the script is run
    return {**{name: value for name, value in os.environ.items() if name not in OURS}, "PYTHONPATH": source}


@contextmanager
def application(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python in a session of its own, and leave nothing of it."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for left in session(process.pid):
            left.kill()
        process.communicate()


def session(leader: int) -> list[psutil.Process]:
    """Return the running processes of a session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def names(leader: int) -> str:
    """Return the command lines of a session."""
    lines = []
    for process in session(leader):
        try:
            lines.append(" ".join(process.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return "\n".join(lines)


def wait_for(condition: object, *, seconds: float = 300) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
