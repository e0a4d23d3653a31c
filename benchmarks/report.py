"""Measurements to tables: medians, and ratios taken round by round."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.charts import write_charts

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def write_report(result: dict[str, Any], *, docs: Path | None) -> None:
    """Print the tables; with ``docs`` also write performance.json, its drawings and the page's tables."""
    tables = "\n\n".join(_tables(result))
    print(tables)
    if docs is None:
        return
    (docs / "performance.json").write_text(json.dumps(result, indent=1) + "\n")
    write_charts(result, docs)
    write_measured(docs / "performance.md", tables)


def write_measured(page: Path, measured: str) -> None:
    """Replace the marked part of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{measured}\n\n{END}{after}")


def _tables(result: dict[str, Any]) -> list[str]:
    parts = ["Measured with: " + ", ".join(f"{name} {value}" for name, value in result["machine"].items()) + "."]
    for name, found in result["checkpoints"].items():
        parts.append(f"### {name}")
        parts.append(_bulk(found))
        parts.append(_lines(found))
    if faults := result.get("faults"):
        parts.append("### Faults\n\n" + "\n".join(f"- {test}: {verdict}" for test, verdict in faults.items()))
    return parts


def _bulk(found: dict[str, Any]) -> str:
    """Seconds per load, and how many times faster ours is; the ratio's median over the rounds in brackets."""
    who = list(found["start_seconds"])
    rows = ["| load (items) | " + " | ".join(who) + " |", "|" + "---|" * (len(who) + 1)]
    for load, race in found["loads"].items():
        cells = [f"{load} ({race['items']})"]
        for one in who:
            seconds = race["seconds"].get(one, [])
            if len(seconds) < len(race["seconds"]["ours"]):
                cells.append("cannot")
                continue
            cell = f"{statistics.median(seconds):.3f} s"
            if one != "ours":
                cell += f" ({ratio(seconds, race['seconds']['ours']):.2f} x)"
            cells.append(cell)
        rows.append("| " + " | ".join(cells) + " |")
        if tokens := race.get("tokens"):
            speeds = [_speed(tokens, race["seconds"].get(one)) for one in who]
            rows.append(f"| - tokens a second ({tokens} in all) | " + " | ".join(speeds) + " |")
        speeds = [_speed(race["items"], race["seconds"].get(one)) for one in who]
        rows.append("| - items a second | " + " | ".join(speeds) + " |")
    rows.append("| one short text, p50 | " + " | ".join(_milliseconds(found["single"].get(one)) for one in who) + " |")
    rows.append(
        "| start to the first vector | " + " | ".join(f"{found['start_seconds'][one]:.1f} s" for one in who) + " |"
    )
    rows.append(
        "| peak memory of all processes | " + " | ".join(f"{found['peak_megabytes'][one]} MB" for one in who) + " |"
    )
    return "\n".join(rows)


def _speed(number: int, seconds: list[float] | None) -> str:
    return f"{number / statistics.median(seconds):,.0f}" if seconds else "-"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.1f} ms"


def _lines(found: dict[str, Any]) -> str:
    singles = statistics.median(one["bulk_seconds"] / one["seconds"] for one in found["singles"])
    alone, busy, step = found["latency"]["alone"], found["latency"]["busy"], found["full_step"]
    lines = [
        f"- 64 single callers (threads and coroutines, both frameworks): {singles:.2f} of the speed of one bulk call.",
        (
            f"- A question alone: p50 {alone['p50'] * 1e3:.1f} ms, p95 {alone['p95'] * 1e3:.1f} ms; "
            f"during a bulk index p50 {busy['p50'] * 1e3:.1f} ms, p95 {busy['p95'] * 1e3:.1f} ms. "
            f"A full step of the engine ({step['tokens']} tokens) takes {step['seconds'] * 1e3:.0f} ms."
        ),
    ]
    if found["absent"]:
        lines.append(f"- Cannot load this checkpoint: {', '.join(found['absent'])}.")
    far = {
        who: [race["distance_to_ours"].get(who, 0) for race in found["loads"].values()]
        for who in found["start_seconds"]
    }
    wrong = [f"{who} ({max(each):.1e})" for who, each in far.items() if not all(one <= 1e-3 for one in each)]
    if wrong:
        lines.append(f"- Gives other vectors (largest 1 - cosine to ours): {', '.join(wrong)}.")
    for one, megabytes in found.get("memory_growth", {}).items():
        lines.append(f"- Peak memory with eight times as many 500-token texts, {one}: {megabytes:+.1f} MB.")
    return "\n".join(lines)


def ratio(theirs: list[float], ours: list[float]) -> float:
    """Return the median over the rounds of their seconds over ours."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))
