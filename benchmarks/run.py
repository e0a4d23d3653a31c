"""`python -m benchmarks.run [--full] [--only CHECKPOINT]`: everything side by side, in one run.

All contestants of a checkpoint are started first, and stopped while others work. Each load goes round several
times, every contestant once, another one first each time; each round has new items, so that nobody finds what vLLM
has kept of an image. Ratios are taken within a round, so that a slow minute of the machine meets all alike; medians
are quoted.
Writes docs/performance.json, and the tables between the markers of docs/performance.md (--full) or to the terminal.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.checkpoints import dtype, folder
from benchmarks.contestants import CONTESTANTS
from benchmarks.machine import machine
from benchmarks.processes import Contestant
from benchmarks.report import write_report

LOADS = ("short", "mixed", "long", "images", "mix")
GROWN = ("ours", "bare vLLM", "vLLM's example")
FULL_ROUNDS = {"demo": 9, "45M": 5, "wide": 5}  # the demo's are short
OPTIONS = {"demo": {"enforce_eager": True}, "45M": {"enforce_eager": False}, "wide": {"enforce_eager": True}}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="all checkpoints, more rounds; writes docs/performance.*")
    parser.add_argument("--only", choices=sorted(OPTIONS), help="one checkpoint")
    parser.add_argument("--rounds", type=int, help="rounds of each load")
    parser.add_argument("--applications", type=int, default=10, help="applications that each signal ends (%(default)s)")
    wanted = parser.parse_args()
    names = [wanted.only] if wanted.only else ["demo", "45M", "wide"] if wanted.full else ["demo"]
    result: dict[str, Any] = {"machine": machine(), "rounds": {}, "checkpoints": {}}
    with tempfile.TemporaryDirectory(prefix="bench-") as cache:
        for name in names:
            rounds = wanted.rounds or (FULL_ROUNDS[name] if wanted.full else 3)
            result["rounds"][name] = rounds
            result["checkpoints"][name] = measure(name, folder(name, Path(cache)), rounds, full=wanted.full)
    if wanted.full:
        result["faults"] = faults(wanted.applications)
    write_report(result, docs=Path("docs") if wanted.full and not wanted.only else None)


def measure(name: str, checkpoint: Path, rounds: int, *, full: bool) -> dict[str, Any]:
    """Return everything that is measured on one checkpoint."""
    log = Path("bench.log")
    contestants: list[Contestant] = []
    found: dict[str, Any] = {"start_seconds": {}, "loads": {}, "absent": []}
    try:
        for contestant in CONTESTANTS:
            say(f"{name}: starting {contestant}")
            options = {} if contestant == "vLLM's example" else OPTIONS[name]
            if contestant == "vLLM's example" and name != "45M":
                options = {"enforce_eager": True}
            one = Contestant(contestant, checkpoint, dtype(name), options, log)
            seconds = one.started()
            if seconds is None:
                found["absent"].append(contestant)
                one.close()
                continue
            found["start_seconds"][contestant] = seconds
            contestants.append(one)
        everybody = list(contestants)
        for load in LOADS:
            found["loads"][load] = race(name, load, contestants, rounds)
        ours = contestants[0]
        say(f"{name}: 64 single callers, questions alone and during a bulk index")
        found["singles"] = [ours.ask("singles", number=64) for _ in range(rounds)]
        found["single"] = {one.name: one.ask("single", number=40)["p50"] for one in contestants}
        found["full_step"] = ours.ask("full_step")
        found["latency"] = {
            "alone": ours.ask("latency", number=100 if full else 40, busy=False),
            "busy": ours.ask("latency", number=100 if full else 40, busy=True),
        }
        found["peak_megabytes"] = {one.name: round(one.peak_bytes / 1e6) for one in everybody}
        if full:
            grown = [one for one in contestants if one.name in GROWN]
            found["memory_growth"] = {one.name: growth(one) for one in grown}
    finally:
        for one in contestants:
            one.close()
    return found


def race(name: str, load: str, contestants: list[Contestant], rounds: int) -> dict[str, Any]:
    """Return each contestant's seconds per round, and how far its vectors are from ours."""
    say(f"{name}: {load}")
    scale = 4.0 if name == "demo" else 1.0
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
    return {"seconds": seconds, "items": answer["items"], "distance_to_ours": distance}


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
