"""`python -m benchmarks.run [--full] [--only CHECKPOINT]`: everything side by side, in one run.

`--only whole` measures a random checkpoint of the published size, on a GPU where there is one.

All contestants of a checkpoint are started first, and stopped while others work. Each load goes round several
times, every contestant once, another one first each time; each round has new items, so that nobody finds what vLLM
has kept of an image. Ratios are taken within a round, so that a slow minute of the machine meets all alike; medians
are quoted.
Writes docs/performance.json, and the tables between the markers of docs/performance.md (--full) or to the terminal.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import loads
from benchmarks.checkpoints import dtype, folder
from benchmarks.contestants import CONTESTANTS
from benchmarks.machine import machine
from benchmarks.processes import Contestant
from benchmarks.report import write_report

LOADS = ("short", "mixed", "long", "images", "mix")
GROWN = ("ours", "bare vLLM", "vLLM's example")
FULL_ROUNDS = {"demo": 9, "45M": 5, "wide": 5}  # the demo's are short
GPU = shutil.which("nvidia-smi") is not None
OPTIONS: dict[str, dict[str, Any]] = {
    "demo": {"enforce_eager": True},
    "45M": {"enforce_eager": False},
    "wide": {"enforce_eager": True},
    # All contestants share one card: a fixed room for keys and values instead of nine tenths of the card.
    "whole": {"kv_cache_memory_bytes": 12 * 1024**3, "gpu_memory_utilization": 0.35} if GPU else {},
}
SCALE = {"demo": 4.0, "whole": 16.0 if GPU else 0.25}
"""How many times as many items: enough for seconds."""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="all checkpoints, more rounds; writes docs/performance.*")
    parser.add_argument("--only", choices=sorted(OPTIONS), help="one checkpoint")
    parser.add_argument("--rounds", type=int, help="rounds of each load")
    parser.add_argument("--loads", nargs="+", choices=loads.NAMES, default=LOADS, help="%(default)s")
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), help="%(default)s")
    parser.add_argument("--cache", type=Path, help="folder for the random checkpoints, kept; by default one that goes")
    parser.add_argument("--together", action="store_true", help="start all at once")
    parser.add_argument("--write", type=Path, help="a JSON file for the result, written after each step")
    parser.add_argument("--applications", type=int, default=10, help="applications that each signal ends (%(default)s)")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that contestants, which are stopped, are ended
    names = [wanted.only] if wanted.only else ["demo", "45M", "wide"] if wanted.full else ["demo"]
    result: dict[str, Any] = {"machine": machine(), "rounds": {}, "checkpoints": {}}
    with tempfile.TemporaryDirectory(prefix="bench-") as cache:
        for name in names:
            rounds = wanted.rounds or (FULL_ROUNDS.get(name, 3) if wanted.full else 3)
            result["rounds"][name] = rounds
            checkpoint = folder(name, wanted.cache or Path(cache))
            result["checkpoints"][name] = measure(name, checkpoint, rounds, wanted)
    if wanted.full:
        result["faults"] = faults(wanted.applications)
    write_report(result, docs=Path("docs") if wanted.full and not wanted.only else None)


def measure(name: str, checkpoint: Path, rounds: int, wanted: argparse.Namespace) -> dict[str, Any]:
    """Return everything that is measured on one checkpoint."""
    full: bool = wanted.full
    contestants: list[Contestant] = []
    found: dict[str, Any] = {"start_seconds": {}, "loads": {}, "absent": []}
    try:
        for one, seconds in started(name, checkpoint, wanted):
            if seconds is None:
                found["absent"].append(one.name)
                one.close()
                continue
            found["start_seconds"][one.name] = seconds
            contestants.append(one)
        everybody = list(contestants)
        for load in wanted.loads:
            found["loads"][load] = race(name, load, contestants, rounds, checkpoint)
            keep(wanted.write, found)
        ours = contestants[0]
        say(f"{name}: 64 single callers, questions alone and during a bulk index")
        found["singles"] = [ours.ask("singles", number=64) for _ in range(rounds)]
        found["single"] = {one.name: one.ask("single", number=40)["p50"] for one in contestants}
        found["full_step"] = ours.ask("full_step")
        found["latency"] = {
            "alone": ours.ask("latency", number=100 if full or GPU else 40, busy=False),
            "busy": ours.ask("latency", number=100 if full or GPU else 40, busy=True),
        }
        found["peak_megabytes"] = {one.name: round(one.peak_bytes / 1e6) for one in everybody}
        keep(wanted.write, found)
        if full:
            grown = [one for one in contestants if one.name in GROWN]
            found["memory_growth"] = {one.name: growth(one) for one in grown}
    finally:
        for one in contestants:
            one.close()
    return found


def started(name: str, checkpoint: Path, wanted: argparse.Namespace) -> Iterator[tuple[Contestant, float | None]]:
    """Yield each contestant with the seconds until its first vector, None where it cannot start."""

    def start(who: str) -> Contestant:
        say(f"{name}: starting {who}")
        options = OPTIONS[name]
        if who == "vLLM's example":  # compiled by default
            options = {} if name in ("45M", "whole") else {"enforce_eager": True}
        return Contestant(who, checkpoint, dtype(name), options, Path("bench.log"))

    if wanted.together:
        for one in [start(who) for who in wanted.contestants]:
            yield one, one.started()
        return
    for who in wanted.contestants:
        one = start(who)
        yield one, one.started()


def keep(path: Path | None, found: dict[str, Any]) -> None:
    """Write what has been found so far, so that a run that ends early is not lost."""
    if path is not None:
        path.write_text(json.dumps(found, indent=1))


def race(name: str, load: str, contestants: list[Contestant], rounds: int, checkpoint: Path) -> dict[str, Any]:
    """Return each contestant's seconds per round, and how far its vectors are from ours."""
    say(f"{name}: {load}")
    scale = SCALE.get(name, 1.0)
    seconds: dict[str, list[float]] = {one.name: [] for one in contestants}
    first: dict[str, Any] = {}
    for number in range(rounds + 1):
        turn = number % len(contestants)
        for one in contestants[turn:] + contestants[:turn]:
            try:
                answer = one.ask("bulk", watched=not number, load=load, scale=scale, seed=number)
            except RuntimeError as error:  # it cannot take such items: the race goes on without it
                say(str(error))
                contestants.remove(one)
                one.close()
                continue
            first[one.name] = np.array(answer["first"])
            if number:  # the first round warms up
                seconds[one.name].append(answer["seconds"])
    distance = {who: float(1 - (first[who] * first["ours"]).sum(1).min()) for who in first}
    tokens = loads.tokens(checkpoint, load, scale)
    return {"seconds": seconds, "items": answer["items"], "tokens": tokens, "distance_to_ours": distance}


def growth(one: Contestant) -> float:
    """Return by how many megabytes the peak rises when the list of long texts is eight times as long."""
    peaks = []
    for scale in (1.0, 8.0):
        one.peak_bytes = 0
        one.ask("bulk", watched=True, load="long", scale=scale)
        peaks.append(one.peak_bytes)
    return round((peaks[1] - peaks[0]) / 1e6, 1)


def faults(applications: int) -> dict[str, str]:
    """Run the tests of faults, with so many SIGTERMs and SIGKILLs, and return their verdicts."""
    say(f"faults: shuffled batches, a killed engine, {2 * applications} ended applications")
    command = [
        sys.executable, "-m", "pytest", "-q", "tests/real/test_faults.py", "-rA", "--no-header", "--timeout=1200",
        f"--applications={applications}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [
        line for line in done.stdout.splitlines() if line.startswith(("PASSED ", "FAILED ", "ERROR ")) and "::" in line
    ]
    return {line.split("::")[-1].split(" ")[0]: line.split(" ")[0].lower() for line in lines}


def say(line: str) -> None:
    """Print a line of progress at once."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    main()
