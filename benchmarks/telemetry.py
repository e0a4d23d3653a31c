"""What one run of the demo tells OpenTelemetry: `python -m benchmarks.telemetry` prints docs/production.md's table.

With `--write` the table replaces the marked part of the page. Only what is the same in every run stands there: of
durations how many, not how long.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import BEGIN, END, write_measured
from tests.support.sdk import Numbers, sdk
from vllm_jina_embed import InputError, JinaEmbedder

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "production.md"
SUNSET = ROOT / "docs" / "sunset.png"
EVERYWHERE = ("gen_ai.provider.name", "gen_ai.request.model")
"""Attributes of every call, which the table leaves out: vllm, and demo."""
WITH_STATS: dict[str, Any] = {"disable_log_stats": False}


def run() -> Numbers:
    """Embed texts and an image in every way, some of them wrong, some of them twice; return what was told."""
    recorded = sdk()
    recorded.clear()
    with JinaEmbedder("demo", fusion="mean", engine_kwargs=WITH_STATS) as embedder:
        embedder.embed_queries(["a sunset", "ein roter Kreis"])
        embedder.embed(["a tree", SUNSET, {"text": "a sunset", "image": SUNSET}], dimensions=64)
        embedder.embed_multi_vector([SUNSET])
        embedder.embed_late_chunks([["A tree.", " A house."]])
        embedder.score(["a sunset"], [SUNSET, "a tree"])
        with contextlib.suppress(InputError):
            embedder.embed(["a tree", b"this is no image"])
        with tempfile.TemporaryDirectory() as folder, embedder.cached(Path(folder) / "vectors.sqlite") as cached:
            cached.embed(["a tree", "a house"])
            cached.embed(["a tree", "a house", "a boat"])
            return recorded.numbers()  # while the engine is there, with its places


def table(numbers: Numbers) -> str:
    """Return a table of all that was told, in the order of the names."""
    lines = ["| metric | attributes | value |", "|---|---|---|"]
    rows = []
    for (name, attributes), value in numbers.items():
        told = sorted(f"`{key}={_plain(of)}`" for key, of in attributes if key not in EVERYWHERE)
        rows.append(f"| `{name}` | {'<br>'.join(told)} | {_shown(name, value)} |")
    return "\n".join(lines + sorted(rows))


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(name: str, value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    count, total = value
    times = f"{count} time{'s' * (count != 1)}"
    return times if name.endswith(".duration") else f"{times}, {total} in all"


def measured(page: Path = PAGE) -> str:
    """Return the marked part of the page."""
    return page.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table to docs/production.md")
    options = parser.parse_args()
    told = table(run())
    print(told)
    if options.write:
        write_measured(PAGE, told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
