"""Ctrl-C and SIGTERM: an exception here, and no process left behind, wherever the signal was sent to."""

import signal
import subprocess
import sys

import pytest

_PARENT = """
import multiprocessing, os, signal, sys, time
from vllm_jina_embed.demo.interrupt import children_stop_first

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    try:
        with children_stop_first(lambda line: os.write(1, (line + "\\n").encode())):
            if sys.argv[2] == "late":
                try:
                    os.kill(os.getpid(), int(sys.argv[1]))
                    time.sleep(5)
                finally:
                    child.start()
            child.start()
            os.kill(os.getpid(), int(sys.argv[1]))
            time.sleep(5)
    except KeyboardInterrupt:
        os.write(1, b"interrupted\\n")
    finally:
        child.join(20)
        os.write(1, f"child ended: {child.exitcode}\\n".encode())
"""


def _run(number: int, when: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PARENT, str(int(number)), when], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("when", ["early", "late"])
def test_ctrl_c_ends_children_that_it_did_not_reach_even_those_just_started(when: str) -> None:
    done = _run(signal.SIGINT, when)
    assert done.stderr == ""
    lines = ["Stopping vLLM ...", "child ended: -15", "interrupted"]
    assert sorted(done.stdout.splitlines()) == lines
    assert done.returncode == 0


def test_sigterm_ends_children_and_gives_the_usual_exit_code() -> None:
    done = _run(signal.SIGTERM, "early")
    assert "child ended: -15" in done.stdout
    assert done.returncode == 128 + signal.SIGTERM
