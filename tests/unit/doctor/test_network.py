"""The checks of the hub and of a port, against sockets that answer, refuse and say nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vllm_jina_embed.checkpoints.files import Hub
from vllm_jina_embed.doctor.finding import Surroundings
from vllm_jina_embed.doctor.installed import Site
from vllm_jina_embed.doctor.network import ask_hub, check_hub, check_serve_port
from vllm_jina_embed.doctor.probing import Probe

AROUND = Surroundings(site=Site([]), probe=Probe(), environment={})


class _Answer(BaseHTTPRequestHandler):
    status = 200
    seen: list[str | None]

    def do_HEAD(self) -> None:
        self.seen.append(self.headers["Authorization"])
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def answer() -> type[_Answer]:
    return type("Answer", (_Answer,), {"seen": []})


@pytest.fixture
def endpoint(answer: type[_Answer]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A cache with one model, and one whose download had only begun."""
    file = tmp_path / "models--jinaai--jina-embeddings-v4" / "snapshots" / "abc" / "config.json"
    file.parent.mkdir(parents=True)
    file.touch()
    (tmp_path / "models--BAAI--bge-m3" / "blobs").mkdir(parents=True)
    return tmp_path


def hub(endpoint: str, folder: Path, *, is_offline: bool = False) -> Hub:
    return Hub(endpoint=endpoint, folder=folder, is_offline=is_offline)


def test_a_hub_that_answers(endpoint: str, filled: Path) -> None:
    finding = check_hub(AROUND, ask_hub(hub(endpoint, filled)))
    assert (finding.status, finding.summary) == ("ok", f"{endpoint} answers; 1 model in {filled}.")


@pytest.mark.parametrize(("status", "found"), [(404, "ok"), (401, "ok"), (407, "note"), (503, "note")])
def test_an_error_of_the_hub_itself_is_an_answer(
    answer: type[_Answer], endpoint: str, tmp_path: Path, status: int, found: str
) -> None:
    answer.status = status
    assert check_hub(AROUND, ask_hub(hub(endpoint, tmp_path))).status == found


def test_a_login_is_used_and_not_shown(answer: type[_Answer], endpoint: str, tmp_path: Path) -> None:
    finding = check_hub(AROUND, ask_hub(hub(endpoint.replace("://", "://me:hunter2secret@"), tmp_path)))
    assert finding.status == "ok"
    assert answer.seen == ["Basic bWU6aHVudGVyMnNlY3JldA=="]
    assert "hunter2secret" not in repr(finding)


def test_an_endpoint_that_is_not_a_url(tmp_path: Path) -> None:
    finding = check_hub(AROUND, ask_hub(hub("me:hunter2secret@mirror", tmp_path)))
    assert (finding.status, finding.command) == ("problem", "unset HF_ENDPOINT")
    assert "hunter2secret" not in repr(finding)


@pytest.mark.parametrize("name", ["http://127.0.0.1:9", "http://no-such-name.invalid"])
def test_a_hub_that_cannot_be_reached(name: str, tmp_path: Path, filled: Path) -> None:
    """A note: the demo and folders need none. A problem where a model was named that only the hub has."""
    empty = ask_hub(hub(name, tmp_path / "empty"))
    for is_needed, status in ((False, "note"), (True, "problem")):
        finding = check_hub(AROUND, empty, is_needed=is_needed)
        assert (finding.status, finding.command) == (status, f"curl -sSI --max-time 10 {name}")
    note = check_hub(AROUND, ask_hub(hub(name, filled)))
    assert (note.status, note.command) == ("note", "export HF_HUB_OFFLINE=1")
    assert check_hub(AROUND, ask_hub(hub(name, filled)), is_needed=True).status == "problem"


def test_a_hub_that_says_nothing_is_not_waited_for(silent: str, tmp_path: Path) -> None:
    began = time.monotonic()
    finding = check_hub(AROUND, ask_hub(hub(silent, tmp_path), seconds=0.3), is_needed=True)
    assert finding.status == "problem"
    assert time.monotonic() - began < 30


def test_a_name_that_is_looked_up_for_ever_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No timeout of a socket ends the look-up of its name."""
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: done.wait(300))
    try:
        finding = check_hub(AROUND, ask_hub(hub("http://slow-name.invalid", tmp_path), seconds=0.3))
        assert not done.is_set()
    finally:
        done.set()
    assert finding.status == "note"
    assert "no answer within 0.3 s" in finding.summary


def test_a_hub_that_is_switched_off(tmp_path: Path, filled: Path) -> None:
    """It is not asked."""
    empty = ask_hub(hub("http://127.0.0.1:9", tmp_path / "empty", is_offline=True))
    assert empty.is_silent
    assert empty.reason == ""
    for is_needed, status in ((False, "note"), (True, "problem")):
        finding = check_hub(AROUND, empty, is_needed=is_needed)
        assert (finding.status, finding.command) == (status, "unset HF_HUB_OFFLINE")
    note = check_hub(AROUND, ask_hub(hub("http://127.0.0.1:9", filled, is_offline=True)))
    assert (note.status, note.command) == ("note", "")


def test_a_port_that_is_taken_and_one_that_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        finding = check_serve_port(AROUND, port)
        assert finding.status == "problem"
        assert f"port {port}" in finding.summary
        assert finding.command.startswith("vllm-jina-embed serve CHECKPOINT --port ")
        proposed = int(finding.command.rpartition(" ")[2])
        assert check_serve_port(AROUND, proposed).status == "ok"
    assert check_serve_port(AROUND, port).status == "ok"


def test_the_default_port_is_only_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr("vllm_jina_embed.doctor.network.PORT", server.getsockname()[1])
        assert check_serve_port(AROUND, None).status == "note"
