"""Findings as lines, on a terminal and as JSON; what no output shows."""

from __future__ import annotations

import io
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from vllm_jina_embed.doctor import command
from vllm_jina_embed.doctor.finding import Finding, Surroundings
from vllm_jina_embed.doctor.installed import Site
from vllm_jina_embed.doctor.probing import Probe
from vllm_jina_embed.doctor.report import cleaned, plain, write

FINDINGS = [
    Finding(check="python", status="ok", summary="Python 3.11.7."),
    Finding(check="extra qdrant", status="absent", summary="not installed.", command="pip install x"),
    Finding(check="memory", status="note", summary="6 GiB.", mend="End other programs."),
    Finding(check="torch", status="problem", summary="[red]torch[/red] 2.9.", mend="A.", command="pip install torch"),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines() -> None:
    assert plain(FINDINGS) == (
        "ok       python        Python 3.11.7.\n"
        "-        extra qdrant  not installed.\n"
        "note     memory        6 GiB.\n"
        "                       End other programs.\n"
        "PROBLEM  torch         [red]torch[/red] 2.9.\n"
        "                       A.\n"
        "                       Run: pip install torch\n"
        "\n"
        "1 problem, 1 note."
    )
    assert plain(FINDINGS[:2]).endswith("\nNo problem found, 0 notes.")


def test_without_a_terminal_the_lines_are_plain() -> None:
    out = io.StringIO()
    write(FINDINGS, out)
    assert out.getvalue() == plain(FINDINGS) + "\n"


def test_a_terminal_without_rich_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vllm_jina_embed.doctor.report.find_spec", lambda name: None)
    out = Terminal()
    write(FINDINGS, out)
    assert out.getvalue() == plain(FINDINGS) + "\n"


@pytest.mark.skipif(find_spec("rich") is None, reason="rich is an extra")
def test_a_terminal_with_rich_gets_colours_and_no_markup_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    write(FINDINGS, out)
    assert "\x1b[" in out.getvalue()
    assert "[red]torch[/red] 2.9." in out.getvalue()
    assert "Run: pip install torch" in out.getvalue()
    assert "pip install x" not in out.getvalue()


@pytest.mark.skipif(find_spec("rich") is None, reason="rich is an extra")
def test_a_command_stays_one_line_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there to be copied; sentences are wrapped."""
    monkeypatch.setenv("COLUMNS", "40")
    command = "pip install --force-reinstall --index-url https://download.pytorch.org/whl/cpu torch==2.13.0"
    long = "A sentence that is longer than the terminal is wide, and goes on."
    out = Terminal()
    write([Finding(check="torch", status="problem", summary=long, mend=long, command=command)], out)
    assert f"Run: {command}" in out.getvalue()
    assert long not in out.getvalue()


def test_json() -> None:
    out = Terminal()
    write(FINDINGS, out, as_json=True)
    document = json.loads(out.getvalue())
    assert (document["format"], document["ok"]) == (1, False)
    assert document["findings"][3] == {
        "check": "torch", "status": "problem", "summary": "[red]torch[/red] 2.9.", "mend": "A.",
        "command": "pip install torch", "details": {},
    }  # fmt: skip
    out = io.StringIO()
    write(FINDINGS[:3], out, as_json=True)
    assert json.loads(out.getvalue())["ok"] is True


def test_secrets_and_the_home_folder_are_not_shown() -> None:
    environment = {"HF_TOKEN": "hf_abcdefghijk", "MY_API_KEY": "0123456789", "KEYBOARD": "qwertz-layout", "TOKEN": "1"}
    finding = Finding(
        check="engine",
        status="problem",
        summary="401 for hf_abcdefghijk at https://me:pass@mirror/x of /home/ann/x, 1 try, qwertz-layout",
        command="ls /home/anna",
        details={"log": ["key 0123456789"], "deep": {"path": "/home/ann"}, "number": 3},
    )
    shown = cleaned(finding, environment, Path("/home/ann"))
    assert shown.summary == "401 for *** at https://***@mirror/x of ~/x, 1 try, qwertz-layout"
    assert shown.command == "ls /home/anna"
    assert shown.details == {"log": ["key ***"], "deep": {"path": "~"}, "number": 3}


def test_a_check_that_fails_itself_hides_no_other() -> None:
    def broken() -> Finding:
        raise ZeroDivisionError("planted")

    finding = command.run("disk", broken)
    assert (finding.check, finding.status) == ("disk", "note")
    assert "ZeroDivisionError: planted" in finding.summary


def test_quick_starts_no_engine(tmp_path: Path) -> None:
    around = Surroundings(site=Site([str(tmp_path)]), probe=Probe(), environment={})
    names = [name for name, _ in command.checks(around, command.Wanted())]
    assert [name for name, _ in command.checks(around, command.Wanted(quick=True))] == names[:-1]
    assert names[-1] == "engine"


def test_a_model_and_a_server_are_checked_where_they_are_named(tmp_path: Path) -> None:
    """What a server serves is looked for there, and neither on the hub nor in the cache of this machine."""
    around = Surroundings(site=Site([str(tmp_path)]), probe=Probe(), environment={})

    def added(**wanted: str) -> list[str]:
        without = {name for name, _ in command.checks(around, command.Wanted())}
        return [name for name, _ in command.checks(around, command.Wanted(**wanted)) if name not in without]

    assert added() == []
    assert added(model="demo") == ["model"]
    assert added(server="http://a") == ["server"]
    assert added(model="demo", server="http://a") == ["server"]


@pytest.mark.wide
def test_a_key_is_shown_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where a server's answer repeats it."""
    wanted = command.Wanted(server="http://me:planted-word@127.0.0.1:9/planted-key", api_key="planted-key", quick=True)
    assert "planted" not in repr(wanted).replace(repr(wanted.server), "")
    command.doctor(wanted, as_json=True)
    shown = capsys.readouterr().out
    assert "planted" not in shown
    assert '"check": "server"' in shown


def test_a_gpu_is_seen_by_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not command.has_gpu([str(tmp_path / "nvidia0")])
    (tmp_path / "nvidia0").touch()
    assert command.has_gpu([str(tmp_path / "nvidia0")])
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    assert command.has_gpu([])
