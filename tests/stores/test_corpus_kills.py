"""The command writing to a store, killed twice: a second run leaves what an uninterrupted one writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.corpus_stores import STORES
from tests.support.in_memory import write_folder
from vllm_jina_embed.corpus import open_corpus

pytestmark = [pytest.mark.fire, pytest.mark.wide]  # processes that are ended

ROWS, SHARD = 200, 16


def start(out: str, folder: Path, delay: float) -> subprocess.Popen[str]:
    """Start the command in a process of its own; the journal lies in ``folder``."""
    command = [sys.executable, "-m", "tests.support.corpus_run", "embed", str(folder / "rows.jsonl"), "--out", out]
    command += ["--model", str(folder / "model"), "--dimensions", "32", "--rows-per-file", str(SHARD)]
    command += ["--journal", str(folder / "journal")] if "://" in out else []
    environment = {**os.environ, "CORPUS_DELAY": str(delay)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def wait_for_shards(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 200
    while len(list(folder.glob("done/*.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("name", STORES)
def test_a_killed_run_leaves_nothing_lost_or_doubled(name: str, tmp_path: Path) -> None:
    """SIGKILL in the middle of a shard, twice; ids and vectors are those of the Parquet files."""
    rows = [{"id": str(number), "text": f"text {number}" if number % 10 else ""} for number in range(ROWS)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    write_folder(tmp_path / "model")
    store = STORES[name](tmp_path / "db")
    for shards in (2, 5):
        process = start(store.out, tmp_path, 0.1)
        wait_for_shards(tmp_path / "journal", shards, process)
        time.sleep(0.2)  # into the next shard
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    for out in (store.out, str(tmp_path / "files")):
        process = start(out, tmp_path, 0)
        told = process.communicate(timeout=300)
        assert process.returncode == 0, told
    files = open_corpus(tmp_path / "files")
    expected = np.concatenate(list(files.embeddings()))
    vectors = store.vectors()  # an id that is there twice is a failure
    assert vectors.keys() == {row.id for row in files}
    assert all(np.allclose(vectors[row.id], vector, atol=1e-6) for row, vector in zip(files, expected, strict=True))
    with open_corpus(store.out, journal=tmp_path / "journal") as corpus:
        assert corpus.store.count() == len(corpus) == ROWS * 9 // 10
