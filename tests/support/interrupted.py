"""Interrupt the command in every way, see what each interruption costs, and compare what is there in the end."""

from __future__ import annotations

import json
import re
import resource
import signal
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.counted_run import Settings, count
from tests.support.fake_engine import wait_until
from tests.support.large_corpus import LONGEST, Reasons
from vllm_jina_embed.corpus import open_corpus

AT_ONCE = 3
"""Windows that may be under way behind a shard that is not done: two in the engine, and one that is given to it."""
MINUTES = 10.0


@dataclass(kw_only=True)
class Runs:
    """Runs of the command over one folder into one place.

    Attributes:
        source: The folder.
        out: The place.
        journal: Folder of its journal.
        model: The checkpoint.
        work: Folder for the files of the runs.
        shard: Items of a shard.
        window: Items that are embedded together.
        fake: Whether the engine is in memory.
        more: Further arguments.
        costs: Items that each run embedded and that no shard of it holds.
    """

    source: Path
    out: str
    journal: Path
    model: str
    work: Path
    shard: int
    window: int
    fake: bool
    more: tuple[str, ...] = ()
    costs: list[int] = field(default_factory=list)

    def start(self, **settings: Any) -> Run:
        """Start a run; ``settings`` are those of ``counted_run``."""
        return Run(self, **settings)

    def embedded(self) -> int:
        """Return how many items the finished shards gave to the embedder."""
        total = 0
        for path in self.journal.glob("done/*.json"):
            record = json.loads(path.read_text())
            lines = (self.journal / "errors" / f"part-{path.stem}.jsonl").read_text("utf-8").splitlines()
            files = [
                line for line in map(json.loads, lines) if line["kind"] == "long" and not of_tokens(line["message"])
            ]
            total += record["rows"] + record["kinds"].get("long", 0) - len(files)
        return total

    def errors(self) -> dict[tuple[str, str], list[str]]:
        """Return the reasons of the bad items by id and kind."""
        found: dict[tuple[str, str], list[str]] = {}
        for path in sorted(self.journal.glob("errors/part-*.jsonl")):
            for line in map(json.loads, path.open(encoding="utf-8")):
                found.setdefault((line["id"], line["kind"]), []).append(line["message"])
        return found


def of_tokens(message: str) -> bool:
    """Tell whether an error of the kind ``long`` is the embedder's, not that of a file which is not read."""
    return "max_length is" in message


class Run:
    """One run of the command, a process of its own."""

    def __init__(self, runs: Runs, **settings: Any) -> None:
        self._runs, self._before = runs, runs.embedded()
        self.count, self._release = runs.work / "count", runs.work / "release"
        self._release.unlink(missing_ok=True)
        self.count.write_bytes(struct.pack("q", 0))
        told = Settings(
            count=str(self.count), window=runs.window, fake=runs.fake, release=str(self._release), **settings
        )
        command = [sys.executable, "-m", "tests.support.counted_run", json.dumps(asdict(told)), "embed"]
        command += [str(runs.source), "--out", runs.out, "--model", runs.model, "--rows-per-file", str(runs.shard)]
        command += ["--max-length", str(LONGEST), "--truncate", "error", "--keep", "text", "year", *runs.more]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self._lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    @property
    def told(self) -> str:
        """What it told so far."""
        return "".join(self._lines)

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            self._lines.extend(stderr)

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Return when ``condition`` holds, which must be before the process ends."""

        def holds() -> bool:
            found = bool(condition())
            assert found or self.process.poll() is None, self.told
            return found

        wait_until(holds, seconds=60 * MINUTES)

    def wait_for_items(self, number: int) -> None:
        """Return when so many items were given to the embedder."""
        self.wait_for(lambda: count(self.count) > number)

    def release(self) -> None:
        """Let a run that is held go on."""
        self._release.touch()

    def finish(self) -> tuple[int, dict[str, Any]]:
        """Wait for the end; return the exit code and what was printed, and note what the run cost."""
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            out = stdout.read()
        self.process.wait(60 * MINUTES)
        self._reading.join(60 * MINUTES)
        self._runs.costs.append(count(self.count) - (self._runs.embedded() - self._before))
        lines = out.splitlines()
        return self.process.returncode, json.loads(lines[-1]) if lines else {}

    def close(self) -> None:
        """End it, if it is there still."""
        if self.process.poll() is None:
            self.process.kill()
            self.finish()


def stop(runs: Runs, after: int) -> None:
    """End a run by Ctrl-C after so many items: it ends after its shards, and nothing was in vain."""
    run = runs.start(hold=after)
    try:
        run.wait_for_items(after)
        run.process.send_signal(signal.SIGINT)
        run.wait_for(lambda: "Stopping after this shard" in run.told)
        run.release()
        code, summary = run.finish()
    finally:
        run.close()
    assert (code, summary["complete"], runs.costs[-1]) == (130, False, 0), run.told


def kill(runs: Runs, after: int, *, fault: str = "") -> None:
    """Kill a run after so many items."""
    run = runs.start(hold=after, fault=fault)
    try:
        run.wait_for_items(after)
        run.process.kill()
        code, _ = run.finish()
    finally:
        run.close()
    assert code == -signal.SIGKILL
    assert_cheap(runs)


def lose(runs: Runs, after: int) -> None:
    """Let the engine in memory be lost after so many items: an error, and finished shards are kept."""
    run = runs.start(lose=after)
    try:
        code, _ = run.finish()
    finally:
        run.close()
    assert (code, "the engine is lost" in run.told) == (1, True), run.told
    assert_cheap(runs)


def fill_disk(runs: Runs, after: int) -> None:
    """Let no file grow after so many items, as on a full disk: an error that says so, and finished shards are kept."""
    run = runs.start(hold=after)
    try:
        run.wait_for_items(after)
        _, hard = resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (0, hard))
        run.release()
        code, _ = run.finish()
    finally:
        run.close()
    assert code == 1, run.told
    assert re.search(r"Every finished shard is kept", run.told), run.told
    assert "Traceback" not in run.told
    assert_cheap(runs)


def finish(runs: Runs, *, fault: str = "") -> dict[str, Any]:
    """Run to the end; return what was printed."""
    run = runs.start(fault=fault)
    try:
        code, summary = run.finish()
    finally:
        run.close()
    assert (code, summary["complete"], runs.costs[-1]) == (0, True, 0), run.told
    return summary


def assert_cheap(runs: Runs) -> None:
    """Check that the last run lost at most one shard and what was under way behind it."""
    cost, most = runs.costs[-1], runs.shard + AT_ONCE * runs.window
    assert 0 < cost <= most, f"{cost} items are computed again; at most {most}"


def check_errors(runs: Runs, summary: Mapping[str, Any], reasons: Reasons) -> None:
    """Check that every bad item is told once, with its kind and its reason, and nothing else is."""
    found = runs.errors()
    told, bad = Counter({key: len(messages) for key, messages in found.items()}), reasons.expected.bad
    assert told == bad, f"errors are missing: {bad - told}, or too many: {told - bad}"
    assert summary["errors"] == reasons.expected.kinds
    for (name, _), messages in found.items():
        assert all(re.search(reasons.words.get(name, "."), message) for message in messages), (name, messages)


Rows = dict[str, tuple[str, dict[str, Any], np.ndarray]]
"""Of each row by its id: text, metadata as LangChain's documents have it, and embedding."""


def unique(rows: list[tuple[str, str, dict[str, Any], np.ndarray]]) -> Rows:
    """Return rows by their ids, none of which is there twice."""
    found = {name: (text, metadata, embedding) for name, text, metadata, embedding in rows}
    twice = [name for name, times in Counter(name for name, *_ in rows).items() if times > 1]
    assert not twice, f"rows are there twice: {twice[:5]}"
    return found


def rows_of_files(out: Path) -> Rows:
    """Return the rows of a corpus in Parquet."""
    corpus = open_corpus(out)
    embeddings = np.concatenate(list(corpus.embeddings()))
    return unique([(row.id, row.text, row.metadata, rows) for row, rows in zip(corpus, embeddings, strict=True)])


def check_equal(found: Rows, whole: Rows, *, atol: float = 0.0) -> None:
    """Check that rows are those of another run: the same ids, texts and metadata, and embeddings within ``atol``."""
    assert set(found) == set(whole)
    names = list(whole)
    assert [found[name][:2] for name in names] == [whole[name][:2] for name in names]
    ours, theirs = (np.stack([rows[name][2] for name in names]) for rows in (found, whole))
    assert np.isfinite(ours).all()
    worst = float(np.abs(ours - theirs).max())
    assert worst <= atol, worst
