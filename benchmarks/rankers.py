"""Second part of `make models`: every row of the rerankers on the real vLLM, against transformers, in docs/rerank.md.

The tests of tests/real that take the fixture `judged` record how far scores are apart, and how far those of planted
mistakes are. As with `benchmarks.models`, a row that no test recorded, a cell that is missing, a figure over the bound
or a failing test ends it with 1, and the page stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from benchmarks import models
from benchmarks.models import MISTAKES, ROOT, Found
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
    return models.files_with("judged: Judged")


def main() -> None:
    """Run, check, write."""
    models.write_page("rankers", PAGE, RANKERS, recorders(), faults=faults, table_of=table_of, about=__doc__)


if __name__ == "__main__":
    main()
