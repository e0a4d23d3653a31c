"""What the command refuses, before an engine or a page starts."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from vllm_jina_embed import cli
from vllm_jina_embed.cli import main
from vllm_jina_embed.ui.arguments import KEY_VARIABLE, SERVER_KEY_VARIABLE


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gpu-box", "localhost.example"])
def test_other_machines_need_a_key(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ui", "nowhere", "--host", host, "--no-open"]) == 2  # the corpus is not even looked for
    assert f"host={host!r} can be reached from other machines" in (said := capsys.readouterr().err)
    assert KEY_VARIABLE in said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["nowhere"], "nowhere' is not a corpus"),
        (["nowhere", "--model", "demo"], "--model is that of the CORPUS"),
        (["nowhere", "--dimensions", "64"], "--dimensions is that of the CORPUS"),
        (["--read-files"], "there is none"),
        (["--journal", "x"], "there is none"),
        (["--server", "http://127.0.0.1:9", "--engine-kwargs", "{}"], "--engine-kwargs belong to the server"),
        (["--api-key", "with space"], "api_key must be a string of ASCII letters"),
        (["--model", "nobody/nothing-of-this-name"], "nobody/nothing-of-this-name"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    line: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nicegui")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # else: five tries, each after a longer wait
    monkeypatch.chdir(tmp_path)
    assert main(["ui", "--no-open", *line]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""


def test_a_port_that_is_taken_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nicegui")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["ui", "--no-open", "--port", str(port)]) == 2
    assert f"port={port} cannot be listened on" in capsys.readouterr().err


def test_a_missing_library_is_an_error_with_the_pip_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nicegui", None)
    assert main(["ui", "--no-open"]) == 2
    assert "pip install 'vllm-jina-embed[ui]'" in capsys.readouterr().err


def test_the_key_of_the_environment_opens_the_page_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """And that of the servers goes to them; neither is the other."""
    pytest.importorskip("nicegui")
    seen: dict[str, Any] = {}
    monkeypatch.setenv(KEY_VARIABLE, "page-key")
    monkeypatch.setenv(SERVER_KEY_VARIABLE, "server-key")
    monkeypatch.setattr("vllm_jina_embed.ui.serving.serve", lambda searcher, **named: seen.update(named))
    monkeypatch.setattr("vllm_jina_embed.ui.command._embedder", lambda options, corpus: _Stub())
    assert main(["ui", "--host", "0.0.0.0", "--allow-host", "a.example", "--no-open"]) == 0
    assert seen == {
        "api_key": "page-key", "host": "0.0.0.0", "port": 8080, "allow_hosts": ["a.example"], "is_opened": False,
    }  # fmt: skip


class _Stub:
    """An embedder of which only the row is asked."""

    class checkpoint:  # noqa: N801
        class row:  # noqa: N801
            pooling, token_vectors = "mean", True

    def close(self) -> None:
        pass


def test_the_command_is_light() -> None:
    """Its line is read without NiceGUI."""
    from tests.unit.test_package import heavy_modules_after

    code = "from vllm_jina_embed import cli; cli._parsed(['ui', '--port', '0'])"
    assert heavy_modules_after(code, ":".join(sys.path)) == []
    assert cli._parsed(["ui"]).port == 8080
