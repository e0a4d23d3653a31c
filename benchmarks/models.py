"""`make models`: every row of the table on the real vLLM, against transformers; writes docs/models.md.

The tests of tests/real compare each row's vectors with transformers. Those that take the fixture `cells` record how far
they are apart; this command runs them, one file in a process of its own, and makes the page of what they recorded. What
a file recorded is kept in `.models/` until it runs again: `--only NAME` runs some files, `--resume` those that have not
passed. A row that no test recorded, a cell that is missing, a figure over the bound or a failing test ends it with 1,
and the page stays as it was.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.machine import machine
from benchmarks.report import write_measured
from scripts.matrix import run
from vllm_jina_embed.checkpoints import table
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.registry import PUBLISHED, ROWS, modules_of
from vllm_jina_embed.checkpoints.row import Row

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".models"
PAGE = ROOT / "docs" / "models.md"
BOUND = 1e-5
"""Largest 1 - cosine to transformers in float32."""
MISTAKES = 2
"""Least number of planted mistakes of a row."""
CELLS = {
    ("text", "dense"): "text",
    ("text", "multi"): "text, per token",
    ("image", "dense"): "image",
    ("image", "multi"): "image, per token",
    ("both", "dense"): "text + image",
    ("both", "multi"): "text + image, per token",
}
"""Titles of the cells of a row, by modality and kind of vector."""

R = TypeVar("R", bound=Row)


@dataclass(slots=True)
class Found:
    """What the tests recorded of a row.

    Attributes:
        digests: Of the row when they ran.
        gaps: By the cell, the largest 1 - cosine of each call.
        mistakes: By the name of a planted mistake, 1 - cosine of each call.
        tests: Files, from the root of the repository.
    """

    digests: set[str] = field(default_factory=set)
    gaps: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    mistakes: dict[str, list[float]] = field(default_factory=dict)
    tests: set[str] = field(default_factory=set)


def gathered(lines: Sequence[Mapping[str, Any]]) -> dict[str, Found]:
    """Return what was recorded, by the row's name."""
    every: dict[str, Found] = {}
    for line in lines:
        found = every.setdefault(line["row"], Found())
        found.digests.add(line["digest"])
        found.tests.add(line["test"])
        if "kind" in line:
            found.gaps.setdefault((line["modality"], line["kind"]), []).append(line["gap"])
        for name, gap in line.get("mistakes", {}).items():
            found.mistakes.setdefault(name, []).append(gap)
    return every


def reason(row: Model, modality: str, kind: str) -> str:
    """Return why a row has no such vectors; empty if it has."""
    if modality != "text" and not row.takes_images:
        return "texts only"
    if modality == "both" and not row.takes_both:
        return "not trained for both"
    if kind == "dense":
        return "multi-vectors alone" if row.pooling is None else ""
    return "" if row.token_vectors else "no multi-vectors"


def faults(every: Mapping[str, Found], rows: Mapping[str, Model], heads: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield what keeps the page from being written.

    Args:
        every: What was recorded, by the row's name.
        rows: The table.
        heads: Machine and versions of each file of tests.
    """
    yield from strangers(every, rows, heads)
    for name, row in rows.items():
        if name in every:
            yield from _faults_of(row, every[name])


def strangers(every: Mapping[str, Found], rows: Mapping[str, Row], heads: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield which records do not belong together, or to the table as it is now; see ``faults``."""
    if len(places := {_surroundings(head) for head in heads}) > 1:
        yield f"files ran on different machines or with different versions: {' / '.join(sorted(places))}"
    for name in sorted(every.keys() - rows.keys()):
        yield f"{name}: a test recorded it, and the table has no such row"
    for name, row in rows.items():
        if name not in every:
            yield f"{name}: no test recorded it"
        elif every[name].digests - {row.digest}:
            tests = ", ".join(sorted(every[name].tests))
            yield f"{name}: it was described otherwise when its tests ran; run {tests} again"


def _faults_of(row: Model, found: Found) -> Iterator[str]:
    for cell, title in CELLS.items():
        gaps, why = found.gaps.get(cell, []), reason(row, *cell)
        if why and gaps:
            yield f"{row.name}: a test recorded {title}, and the row says: {why}"
        elif not (why or gaps):
            yield f"{row.name}: no test recorded {title}"
        for gap in gaps:
            if not gap <= BOUND:  # NaN too
                yield f"{row.name}: {title} has 1 - cosine {gap:.1e}; at most {BOUND:.0e} is allowed"
    if len(found.mistakes) < MISTAKES:
        yield f"{row.name}: {len(found.mistakes)} planted mistakes; expected at least {MISTAKES}"
    for mistake, gaps in found.mistakes.items():
        if not all(gap > BOUND for gap in gaps):
            yield f"{row.name}: the mistake {mistake!r} is within {BOUND:.0e}, so no figure would show it"


def measured(heads: Sequence[Mapping[str, str]]) -> str:
    """Return where and when files ran, in words."""
    dates = sorted({head["date"] for head in heads})
    return f"Measured with: date {' to '.join(dict.fromkeys((dates[0], dates[-1])))}, {_surroundings(heads[0])}."


def _surroundings(head: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in head.items() if name != "date")


def table_of(every: Mapping[str, Found], rows: Mapping[str, Model]) -> str:
    """Return the page's table of what was recorded without faults."""
    titles = ["row", "models", *CELLS.values(), "mistakes", "test"]
    lines = [titles, ["---"] * len(titles), *(_line(row, every[name]) for name, row in rows.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(row: Model, found: Found) -> list[str]:
    cells = [reason(row, *cell) or _figure(max(found.gaps[cell])) for cell in CELLS]
    nearest = min(gap for gaps in found.mistakes.values() for gap in gaps)
    return [
        f"[{row.name}](../{_source(row)})",
        ", ".join(f"`{name}`" for name, checkpoint in PUBLISHED.items() if checkpoint.row == row)
        or (f"`{row.label}` with `row={row.name!r}`" if row.only_named else f"folders named `{row.label}*`"),
        *cells,
        f"{len(found.mistakes)}, {nearest:.1e}",
        ", ".join(f"[{Path(test).stem.removeprefix('test_')}](../{test})" for test in sorted(found.tests)),
    ]


def _source(row: Model) -> str:
    (file,) = {str(module.__file__) for module in modules_of(table) if row in module.ROWS}
    return str(Path(file).relative_to(ROOT))


def _figure(gap: float) -> str:
    return f"{gap:.1e}" if gap > 0 else "0"  # of equal vectors it is 0 or just below


def recorders() -> dict[str, Path]:
    """Return the files with tests that record, by name."""
    return files_with("cells: Cells")


def files_with(fixture: str) -> dict[str, Path]:
    """Return the files of tests/real whose tests take a fixture, by name."""
    files = sorted((ROOT / "tests" / "real").rglob("test_*.py"))
    return {file.stem.removeprefix("test_"): file for file in files if fixture in file.read_text("utf-8")}


def recorded(name: str, file: Path) -> bool:
    """Run the tests of a file that record, and keep what they recorded if all pass; return whether they did."""
    part, log = KEPT / f"{name}.part", KEPT / f"{name}.log"
    part.write_text(json.dumps({"machine": machine()}) + "\n")
    print(f"models: {file.relative_to(ROOT)}", end="", flush=True)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--cells", str(part), str(file)]
    code = run(command, dict(os.environ), log)
    print(f": {log.read_text().splitlines()[-1].strip('= ')}" + (f" (exit code {code}; {log})" if code else ""))
    if code == 0:
        part.rename(KEPT / f"{name}.jsonl")
    return code == 0


def read(files: Sequence[Path]) -> tuple[list[dict[str, str]], dict[str, Found]]:
    """Return what ``machine`` said before each file ran, and what the files recorded; one that is not there is none."""
    heads, lines = [], []
    for file in files:
        if file.exists():
            head, *some = map(json.loads, file.read_text("utf-8").splitlines())
            heads.append(head["machine"])
            lines += some
    return heads, gathered(lines)


def main() -> None:
    """Run, check, write."""
    write_page("models", PAGE, ROWS, recorders(), faults=faults, table_of=table_of, about=__doc__)


def write_page(
    name: str,
    page: Path,
    rows: Mapping[str, R],
    files: Mapping[str, Path],
    *,
    faults: Callable[[Mapping[str, Found], Mapping[str, R], Sequence[Mapping[str, str]]], Iterable[str]],
    table_of: Callable[[Mapping[str, Found], Mapping[str, R]], str],
    about: str | None,
) -> None:
    """Run the files that the command line names, and write a page's table of what all of them recorded.

    Args:
        name: Of the command.
        page: What is written.
        rows: Its rows, by name.
        files: Those with tests that record, by name.
        faults: Yields what keeps the page from being written.
        table_of: Returns the table.
        about: What ``--help`` says.

    Raises:
        SystemExit: Tests failed or there are faults; names each, and the page stays as it was.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--only", nargs="+", choices=files, default=list(files), metavar="NAME", help="files to run")
    parser.add_argument("--resume", action="store_true", help="run what has not passed since it was asked for")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that pytest is ended
    KEPT.mkdir(exist_ok=True)
    for one in asked.only:
        if not asked.resume:
            (KEPT / f"{one}.jsonl").unlink(missing_ok=True)
    failed = [one for one in asked.only if not (KEPT / f"{one}.jsonl").exists() and not recorded(one, files[one])]
    heads, every = read([KEPT / f"{one}.jsonl" for one in files])
    bad = [*(f"tests of {one} failed: {KEPT / one}.log" for one in failed), *faults(every, rows, heads)]
    if bad:
        sys.exit("\n".join(bad))
    write_measured(page, f"{measured(heads)}\n\n{table_of(every, rows)}")
    print(f"{name}: wrote {page.relative_to(ROOT)}, {len(rows)} rows")


if __name__ == "__main__":
    main()
