"""Second part of `make models`: every row of the rerankers on the real vLLM, against transformers, in docs/rerank.md.

The tests of tests/real that take the fixture `judged` record how far scores are apart, and how far those of planted
mistakes are. As with `benchmarks.models`, a row that no test recorded, a cell that is missing, a figure over the bound
or a failing test ends it with 1, and the page stays as it was.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from benchmarks import models
from benchmarks.models import KEPT, MISTAKES, ROOT, Found, measured, read, recorded
from benchmarks.report import write_measured
from vllm_jina_embed.checkpoints.rankers import PUBLISHED_RANKERS, RANKERS
from vllm_jina_embed.checkpoints.ranking import RankingModel

PAGE = ROOT / "docs" / "rerank.md"
BOUND = 1e-5
"""Largest difference of two scores in float32."""
MODALITIES = ("text", "image", "both")
CELLS = tuple(product(MODALITIES, MODALITIES))
"""What a query and a document are."""


def reason(row: RankingModel, *modalities: str) -> str:
    """Return why a row has no score of such a query or document; empty if it has."""
    if {*modalities} <= {*row.modalities}:
        return ""
    return "not trained for both" if row.takes_images else "texts only"


def faults(
    every: Mapping[str, Found], rows: Mapping[str, RankingModel], heads: Sequence[Mapping[str, str]]
) -> Iterator[str]:
    """Yield what keeps the page from being written; see ``models.faults``."""
    yield from models.strangers(every, rows, heads)
    for name, row in rows.items():
        if name in every:
            yield from _faults_of(row, every[name])


def _faults_of(row: RankingModel, found: Found) -> Iterator[str]:
    for cell in CELLS:
        title, why, gaps = " and ".join(cell), reason(row, *cell), found.gaps.get(cell, [])
        if why and gaps:
            yield f"{row.name}: a test recorded {title}, and the row says: {why}"
        elif not (why or gaps):
            yield f"{row.name}: no test recorded {title}"
        for gap in gaps:
            if not gap <= BOUND:  # NaN too
                yield f"{row.name}: the scores of {title} are {gap:.1e} apart; at most {BOUND:.0e} is allowed"
    if len(found.mistakes) < MISTAKES:
        yield f"{row.name}: {len(found.mistakes)} planted mistakes; expected at least {MISTAKES}"
    for mistake, gaps in found.mistakes.items():
        if not all(gap > BOUND for gap in gaps):
            yield f"{row.name}: the mistake {mistake!r} is within {BOUND:.0e}, so no figure would show it"


def table_of(every: Mapping[str, Found], rows: Mapping[str, RankingModel]) -> str:
    """Return the page's table of what was recorded without faults."""
    titles = ["row", "models", *(f"document: {name}" for name in MODALITIES), "mistakes", "test"]
    lines = [titles, ["---"] * len(titles), *(_line(row, every[name]) for name, row in rows.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(row: RankingModel, found: Found) -> list[str]:
    nearest = min(gap for gaps in found.mistakes.values() for gap in gaps)
    return [
        row.name,
        ", ".join(f"`{name}`" for name, checkpoint in PUBLISHED_RANKERS.items() if checkpoint.row == row)
        or f"folders named `{row.label}*`",
        *(_figure(row, found, document) for document in MODALITIES),
        f"{len(found.mistakes)}, {nearest:.1e}",
        ", ".join(f"[{Path(test).stem.removeprefix('test_')}](../{test})" for test in sorted(found.tests)),
    ]


def _figure(row: RankingModel, found: Found, document: str) -> str:
    """Return the largest figure of a kind of document, over queries of every kind; or why there is none."""
    gaps = [gap for query in MODALITIES for gap in found.gaps.get((query, document), [])]
    return reason(row, document) or f"{max(gaps):.1e}"


def recorders() -> dict[str, Path]:
    """Return the files with tests that record, by name."""
    files = sorted((ROOT / "tests" / "real").rglob("test_*.py"))
    return {file.stem.removeprefix("test_"): file for file in files if "judged: Judged" in file.read_text("utf-8")}


def main() -> None:
    """Run, check, write."""
    files = recorders()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=files, default=list(files), metavar="NAME", help="files to run")
    parser.add_argument("--resume", action="store_true", help="run what has not passed since it was asked for")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that pytest is ended
    KEPT.mkdir(exist_ok=True)
    for name in asked.only:
        if not asked.resume:
            (KEPT / f"{name}.jsonl").unlink(missing_ok=True)
    failed = [name for name in asked.only if not (KEPT / f"{name}.jsonl").exists() and not recorded(name, files[name])]
    heads, every = read([KEPT / f"{name}.jsonl" for name in files])
    bad = [*(f"tests of {name} failed: {KEPT / name}.log" for name in failed), *faults(every, RANKERS, heads)]
    if bad:
        sys.exit("\n".join(bad))
    write_measured(PAGE, f"{measured(heads)}\n\n{table_of(every, RANKERS)}")
    print(f"rankers: wrote {PAGE.relative_to(ROOT)}, {len(RANKERS)} rows")


if __name__ == "__main__":
    main()
