"""The whole demo as a user starts it: a command on the real engine, judged by what it prints and leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from html import escape
from pathlib import Path

import pytest

from vllm_jina_embed.demo.corpus import demo_corpus

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

_DEMO = [sys.executable, "-m", "vllm_jina_embed.cli", "demo", "--output"]
_NOISE = ("INFO", "WARNING", "Warning", "Triton", "NUMA", "Traceback", "\r")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The output folder of one run, and the run."""
    folder = tmp_path_factory.mktemp("demo") / "output"
    return folder, subprocess.run([*_DEMO, str(folder)], capture_output=True, text=True, timeout=800)


def test_the_demo_finds_everything_on_one_engine(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = finished
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results["passed"] is True
    assert results["engines"] == 1
    assert results["index"] == {"images": 77, "passages": 154}
    assert set(results["recall_at_1"]) == {"langchain", "llama_index"}
    for askers in results["recall_at_1"].values():
        assert set(askers) == {"en", "de", "ja", "es", "zh", "image"}
        for asker, ways in askers.items():
            expected = {"image_to_image"} if asker == "image" else {"text_to_image", "text_to_text"}
            assert set(ways) == expected
            assert min(ways.values()) >= 0.95
    assert results["same_first_hit"] >= 0.99 * results["questions"]
    assert all(seconds >= 0 for seconds in results["seconds"].values())
    assert {"vllm", "torch", "langchain-core", "llama-index-core"} <= set(results["versions"])


def test_the_report_shows_every_question(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    page = (finished[0] / "report.html").read_text(encoding="utf-8")
    texts = [query.content for query in demo_corpus(0).queries if isinstance(query.content, str)]
    assert len(texts) == 385
    assert [text for text in texts if escape(text) not in page] == []
    assert page.count("background-image:url(data:image/webp;base64,") == 2 * 77 + 2 * 3


def test_the_report_shows_three_looks_and_maps(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """MaxSim puts what was asked for first, whatever a few numbers of the embeddings found."""
    page = (finished[0] / "report.html").read_text(encoding="utf-8")
    chapter = page[page.index("<h2>Three looks</h2>") : page.index("<h2>All questions</h2>")]
    cards = chapter.split('<article class="question">')[1:]
    assert len(cards) == 3
    for card in cards:
        (last,) = re.findall(r"MaxSim over the first 20 of those</p>(.*?)</ol>", card)
        assert last.index('aria-label="right"') < (last + 'aria-label="wrong"').index('aria-label="wrong"')
        assert card.count('<p class="of">') == 3
        assert card.count("<figcaption>") == 2


def test_only_the_demo_speaks_and_vllm_writes_to_its_log(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = finished
    assert done.stderr == ""
    assert [word for word in _NOISE if word in done.stdout] == []
    assert "[9/9] Stopping vLLM" in done.stdout
    assert "1 for both" in done.stdout
    assert "vllm" in (folder / "vllm.log").read_text(errors="replace").lower()


@pytest.mark.wide
def test_ctrl_c_while_vllm_starts_ends_without_traceback_and_leaves_no_process(tmp_path: Path) -> None:
    """The signal goes to the command alone, as `kill -INT` sends it; a terminal's Ctrl-C reaches its children too."""
    with (tmp_path / "out").open("w") as out:
        demo = subprocess.Popen([*_DEMO, str(tmp_path)], stdout=out, stderr=out, start_new_session=True)
    try:
        _wait_for(lambda: len(_session(demo.pid)) >= 3, seconds=600)  # the demo, Python's resource tracker, vLLM
        demo.send_signal(signal.SIGINT)
        assert demo.wait(600) == 130
        _wait_for(lambda: not _session(demo.pid), seconds=120)
    finally:
        if _session(demo.pid):
            os.killpg(demo.pid, signal.SIGKILL)
    said = (tmp_path / "out").read_text()
    assert said.endswith("Stopped.\n")
    assert "Traceback" not in said


def test_an_engine_that_cannot_start_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    """The checkpoint's config is right, but it has no weights."""
    config = {"model_type": "qwen2_5_vl", "architectures": ["Qwen2_5_VLForConditionalGeneration"], "hidden_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = [*_DEMO, str(tmp_path / "out"), "--model", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800)
    assert done.returncode == 1
    assert done.stderr == ""
    assert "The demo failed: " in done.stdout
    assert f"The last lines of {tmp_path / 'out' / 'vllm.log'}:" in done.stdout
    assert "--verbose" in done.stdout


def _wait_for(condition, *, seconds: float) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def _session(leader: int) -> list[str]:
    """Processes of the session that ``leader`` started, zombies aside."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it ended meanwhile
            continue
        if int(session) == leader and state != "Z":
            found.append(stat.parent.name)
    return found
