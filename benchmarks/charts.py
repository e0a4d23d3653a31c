"""performance.json as drawings: `python -m benchmarks.charts` writes docs/performance-*.svg, as `make bench-full` does.

One drawing for each checkpoint: a bar for each contestant and load, as long as its items per second.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

DOCS = Path(__file__).resolve().parent.parent / "docs"
CONTESTANTS = ("ours", "bare vLLM", "vLLM's example", "transformers", "sentence-transformers")
LOADS = {
    "short": "short texts",
    "mixed": "texts of mixed lengths",
    "long": "long texts",
    "images": "images",
    "mix": "texts and images",
}
WIDTH, LABEL, BAR, LINE, HEAD = 400, 144, 200, 22, 34
"""Sizes of a drawing, in its own units: wide enough for a line of text on a phone."""

STYLE = """<style>
text{font-family:system-ui,sans-serif;fill:#1f2430}.name{font-size:15px;font-weight:600}.note{font-size:12.5px;fill:#57606a}
.value{font-size:12px;fill:#57606a}.bar{fill:#c3c8d4}.ours{fill:#4051b5}
@media (prefers-color-scheme:dark){text{fill:#e6e8ee}.note,.value{fill:#aab1c0}.bar{fill:#4a5061}.ours{fill:#8c9eff}}
</style>"""


def speeds(race: dict[str, Any]) -> dict[str, float]:
    """Return the items per second of each contestant that ran every round of a load: the median of its rounds."""
    rounds = len(race["seconds"]["ours"])
    found = {name: race["seconds"].get(name, []) for name in CONTESTANTS}
    return {
        name: race["items"] / statistics.median(seconds) for name, seconds in found.items() if len(seconds) == rounds
    }


def drawing(name: str, checkpoint: dict[str, Any]) -> str:
    """Return the SVG of a checkpoint's loads; the longest bar of each load has the whole length."""
    title = f"{name}: items per second"
    parts, y = [f'<text class="name" x="0" y="18">{escape(title)}</text>'], 26
    for load, race in checkpoint["loads"].items():
        found = speeds(race)
        parts.append(f'<text class="note" x="0" y="{y + 22}">{escape(LOADS.get(load, load))} ({race["items"]})</text>')
        y += HEAD
        for contestant, speed in found.items():
            length = BAR * speed / max(found.values())
            kind = "bar ours" if contestant == "ours" else "bar"
            parts += [
                f'<text class="value" x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(contestant)}</text>',
                f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{length:.1f}" height="16" rx="2"/>',
                f'<text class="value" x="{LABEL + length + 6:.1f}" y="{y + 12}">{speed:,.1f}</text>',
            ]
            y += LINE
    box = f'viewBox="0 0 {WIDTH} {y + 4}" role="img" aria-label="{escape(title)}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box}>'
    return "\n".join([head, STYLE, *parts, "</svg>\n"])


def drawings(result: dict[str, Any]) -> dict[str, str]:
    """Return the drawings of performance.json by the name of their file."""
    return {f"performance-{name}.svg": drawing(name, found) for name, found in result["checkpoints"].items()}


def write_charts(result: dict[str, Any], docs: Path = DOCS) -> None:
    """Write the drawings beside the page that shows them."""
    for name, svg in drawings(result).items():
        (docs / name).write_text(svg, "utf-8")


if __name__ == "__main__":
    write_charts(json.loads((DOCS / "performance.json").read_text("utf-8")))
