"""What a run tells: a line on a terminal, JSON elsewhere, a table at the end."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from vllm_jina_embed.corpus.entries import Columns
from vllm_jina_embed.corpus.folders import PdfEntries
from vllm_jina_embed.corpus.kinds import KINDS
from vllm_jina_embed.corpus.reports import JsonReport, Progress, Summary, TerminalReport, duration, table
from vllm_jina_embed.corpus.sources import entries, sources_of, total_size


def progress(seconds: float = 10.0) -> Progress:
    return Progress(
        total=1000, skipped=400, read=200, rows=90, errors=Counter(empty=10), known=7, began=time.monotonic() - seconds
    )


def test_the_time_left_is_that_of_the_bytes_that_are_left() -> None:
    """200 bytes took 10 s; what was skipped took no time."""
    assert progress().seconds_left == pytest.approx(20, rel=0.01)
    assert progress().rate == pytest.approx(10, rel=0.01)
    assert Progress(total=5).seconds_left is None


def test_the_table_of_kinds_is_that_of_the_docs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "corpus.md").read_text().replace("`", "")
    lines = page.partition("| kind | meaning |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    assert lines == [f"| {kind} | {meaning} |" for kind, meaning in KINDS.items()]


def test_a_terminal_gets_one_line() -> None:
    file = StringIO()
    report = TerminalReport(file)
    report.update(progress())
    report.update(progress())
    assert file.getvalue() == "\r60 %  97 items  10.0/s  10 errors  20 s left"
    report.tell("something")
    report.close()
    assert file.getvalue().split("\r")[-3:] == ["something\n", "", ""]


def test_elsewhere_there_are_lines_of_json() -> None:
    """At most one in so many seconds."""
    file = StringIO()
    report = JsonReport(file, every=1000)
    report.update(progress())
    assert file.getvalue() == ""
    report = JsonReport(file, every=0)
    report.update(progress())
    report.tell("something")
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert (lines[0]["rows"], lines[0]["errors"], lines[0]["seconds_left"]) == (90, 10, 20)
    assert lines[1] == {"event": "message", "message": "something"}


def test_the_end_has_a_table_of_errors() -> None:
    summary = Summary(
        rows=90,
        known=7,
        errors={"empty": 3, "locked": 12},
        cut=2,
        shards=1,
        seconds=9,
        complete=False,
        out="lancedb://db/pages",
        errors_in="db/pages.journal/errors",
    )
    assert summary.text().splitlines() == [
        "90 items embedded in 9.0 s (10.0/s), 7 by earlier runs: lancedb://db/pages",
        "2 texts were longer than max_length and were cut.",
        "15 items have no vector; db/pages.journal/errors says why:",
        f"  locked  12  {KINDS['locked']}",
        f"  empty    3  {KINDS['empty']}",
        "Not everything is done. Run the same command again to go on.",
    ]
    assert json.loads(summary.json())["errors"] == {"empty": 3, "locked": 12}
    first = replace(summary, known=0, cut=0, errors={}, complete=True)
    assert first.text() == "90 items embedded in 9.0 s (10.0/s): lancedb://db/pages"
    assert table({"image": 1}) == f"  image  1  {KINDS['image']}"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.05, "0.1 s"), (9.94, "9.9 s"), (41.2, "41 s"), (61, "1 min 01 s"), (7500, "2 h 05 min")]
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_bytes_of_files_that_cannot_be_read_are_read_too(tmp_path: Path) -> None:
    """Else a large one among small ones would be left over to the end, and no time be near it."""
    (tmp_path / "large.txt").write_bytes(b"\xff" * 5000)
    (tmp_path / "small.txt").write_text("a")
    sources = sources_of(tmp_path)  # type: ignore[arg-type]
    with PdfEntries() as pdfs:
        found = list(entries(sources, Columns(), pdfs))
    assert sum(entry.size for entry in found) == total_size(sources) == 5001
