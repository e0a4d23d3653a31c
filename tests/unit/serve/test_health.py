"""The health port of a server: what it says from the start of its process to its end."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_engine import wait_until
from vllm_jina_embed.serve import health
from vllm_jina_embed.serve.command import Watch


@pytest.mark.parametrize(
    ("word", "live", "ready"),
    [("starting", 200, 503), ("ready", 200, 200), ("broken", 503, 503), ("stopping", 200, 503)],
)
def test_what_each_path_says(word: str, live: int, ready: int) -> None:
    """A server that starts is not to be started again, and gets no requests; a broken one neither."""
    for path, code in (("/health", live), ("/ready?verbose", ready)):
        status, told = health.answer(path, lambda: (word, ""), 12.34)
        assert (status, told) == (code, {"status": word, "seconds": 12.3})


def test_a_reason_and_other_paths() -> None:
    assert health.answer("/ready", lambda: ("broken", "why"), 0)[1]["reason"] == "why"
    assert health.answer("/", lambda: ("ready", ""), 0)[0] == 404


@pytest.fixture
def server() -> Iterator[Callable[[int, bytes], int]]:
    """Start servers that answer everything with a status and a body; give their port."""
    started: list[HTTPServer] = []

    def start(code: int, body: bytes) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(code)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        started.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=started[-1].serve_forever, daemon=True).start()
        return int(started[-1].server_address[1])

    yield start
    for one in started:
        one.shutdown()
        one.server_close()


def test_a_server_that_was_ready_is_asked(server: Callable[[int, bytes], int]) -> None:
    """Its reason is passed on; a port where nothing listens any more, or that speaks no HTTP, is broken."""
    told = [health.asked("127.0.0.1", server(*one), is_https=False) for one in ((200, b""), (503, b'{"reason": "r"}'))]
    assert told == [("ready", ""), ("broken", "r")]
    assert health.asked("127.0.0.1", server(500, b"[]"), is_https=False) == ("broken", "its /health answers 500")
    assert health.asked("127.0.0.1", server(200, b""), is_https=True)[0] == "broken"
    word, reason = health.asked("127.0.0.1", free_port(), is_https=False)
    assert (word, "does not answer" in reason) == ("broken", True)


PROGRAM = """
import json, pathlib, signal, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
options = json.load(sys.stdin)
note = pathlib.Path(options["note"])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(note.read_text()))
        self.end_headers()
    def log_message(self, *args):
        pass
while not note.exists():
    time.sleep(0.01)
HTTPServer((options["host"], options["port"]), Handler).serve_forever()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_the_whole_life_of_a_server(tmp_path: Path) -> None:
    """Starting, ready, broken, ready again, stopping; then nothing listens."""
    port, note = free_port(), tmp_path / "note"
    options: dict[str, object] = {"note": str(note), "host": "127.0.0.1", "port": free_port(), "passed": []}
    watch = Watch(options, "Ready", health_port=port, command=(sys.executable, "-c", PROGRAM))
    seen: list[Any] = []
    failures: list[BaseException] = []

    def live() -> None:
        try:
            wait_until(lambda: asked(port, "ready") == (503, "starting"), seconds=120)
            seen.append(asked(port, "health"))
            for code, expected in (("200", (200, "ready")), ("503", (503, "broken")), ("200", (200, "ready"))):
                note.write_text(code)
                wait_until(lambda expected=expected: asked(port, "ready") == expected, seconds=120)
                seen.append(asked(port, "health"))
        except BaseException as error:
            failures.append(error)
        finally:
            signal.pthread_kill(watched, signal.SIGTERM)  # wakes a main thread that waits

    watched = threading.get_ident()
    thread = threading.Thread(target=live)
    thread.start()
    assert watch.run() == 0
    thread.join()
    assert not failures, failures
    assert seen == [(200, "starting"), (200, "ready"), (503, "broken"), (200, "ready")]
    assert watch.status() == ("stopping", "")
    assert asked(port, "health") is None


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def asked(port: int, path: str) -> tuple[int, str] | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as response:
            return response.status, json.load(response)["status"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["status"]
    except OSError:
        time.sleep(0.01)
        return None
