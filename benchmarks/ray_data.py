"""Rows a second through Ray with one actor, against one process: python -m benchmarks.ray_data.

Each run is a process with an engine of its own, which nothing else runs beside: the command ``embed``, the same with
``--ray --actors 1``, and a pipeline with ``embed_dataset``. The runs take turns, and ratios are taken round by round.
A rate is that of the rows behind the first shard (or file), by the times at which shards were finished: the start of
Ray and of the engine is not in it, and is told apart.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.machine import machine

ENVIRONMENT = {**os.environ, "RAY_worker_niceness": "0"}
"""Ray's workers have niceness 15 elsewhere, so that what else runs on the machine goes first."""
ENGINE = {"kv_cache_memory_bytes": 128 * 1024 * 1024}
DIMENSIONS = 128
ONE, SHARDS, DATASET = "one process", "embed --ray", "embed_dataset"


def write_table(path: Path, rows: int) -> None:
    """Write texts of 40 words, and for every tenth row a JPEG."""
    rng = random.Random(1)
    words = [f"word{number}" for number in range(5000)]
    texts: list[str | None] = []
    images: list[bytes | None] = []
    for number in range(rows):
        is_image = number % 10 == 0
        texts.append(None if is_image else " ".join(rng.choices(words, k=40)))
        images.append(_jpeg(rng) if is_image else None)
    table = pa.table({"id": range(rows), "text": texts, "image": pa.array(images, pa.binary())})
    pq.write_table(table, path, row_group_size=1000)


def _jpeg(rng: random.Random) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (168, 168), rng.randbytes(168 * 168 * 3)).save(file, "JPEG")
    return file.getvalue()


def rate(finished: Iterable[tuple[float, int]]) -> float:
    """Return rows a second from (time, rows) of what was finished, without the first."""
    ordered = sorted(finished)
    return sum(rows for _, rows in ordered[1:]) / (ordered[-1][0] - ordered[0][0])


def shards(out: Path) -> list[tuple[float, int]]:
    return [(path.stat().st_mtime, json.loads(path.read_text())["rows"]) for path in (out / "done").iterdir()]


def files(out: Path) -> list[tuple[float, int]]:
    paths = list(out.rglob("*.parquet"))
    return [(path.stat().st_mtime, pq.ParquetFile(path).metadata.num_rows) for path in paths]


def measured(kind: str, table: Path, out: Path, per_file: int) -> dict[str, float]:
    """Run one kind in a process of its own, and return its rate, its seconds and those to its first shard."""
    if kind == DATASET:
        command = [sys.executable, "-m", "benchmarks.ray_data", "--pipeline", str(table), str(out), str(per_file)]
    else:
        command = [sys.executable, "-c", "import sys; from vllm_jina_embed.cli import main; sys.exit(main())", "embed"]
        command += [str(table), "--out", str(out), "--rows-per-file", str(per_file), "--dimensions", str(DIMENSIONS)]
        command += ["--engine-kwargs", json.dumps(ENGINE), *(["--ray", "--actors", "1"] if kind == SHARDS else [])]
    log = out.with_suffix(".log")
    began = time.time()
    with log.open("w") as file:
        code = subprocess.run(command, stdout=file, stderr=file, check=False, env=ENVIRONMENT).returncode
    seconds = time.time() - began
    if code:
        raise SystemExit(f"{kind}: exit code {code}\n{log.read_text()[-3000:]}")
    finished = files(out) if kind == DATASET else shards(out)
    return {"rate": rate(finished), "seconds": seconds, "first": min(finished)[0] - began}


def pipeline(table: str, out: str, per_block: int) -> None:
    """What the third kind runs."""
    import ray

    from vllm_jina_embed.corpus.ray_data import embed_dataset

    ray.init(address="local", num_cpus=4, include_dashboard=False, object_store_memory=300 * 1024**2)
    ds = embed_dataset(
        ray.data.read_parquet(table),
        text="text",
        image="image",
        num_gpus=0,
        rows_per_block=per_block,
        dimensions=DIMENSIONS,
        engine_kwargs=ENGINE,
    )
    ds.drop_columns(["image"]).write_parquet(out, partition_cols=["status"])
    ray.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--rows-per-file", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", default=[ONE, SHARDS, DATASET], choices=[ONE, SHARDS, DATASET])
    parser.add_argument("--pipeline", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pipeline:
        pipeline(options.pipeline[0], options.pipeline[1], int(options.pipeline[2]))
        return
    results: dict[str, list[dict[str, float]]] = {kind: [] for kind in options.kinds}
    with tempfile.TemporaryDirectory(prefix="ray-bench-") as folder:
        table = Path(folder, "rows.parquet")
        write_table(table, options.rows)
        for number in range(options.rounds):
            for kind in options.kinds if number % 2 == 0 else reversed(options.kinds):
                out = Path(folder, f"{kind.replace(' ', '-')}-{number}")
                results[kind].append(measured(kind, table, out, options.rows_per_file))
                print(number, kind, {key: round(value, 1) for key, value in results[kind][-1].items()}, flush=True)
    print(json.dumps({"machine": machine(), "rows": options.rows, "results": results}))
    print(told(results))


def told(results: dict[str, list[dict[str, float]]]) -> str:
    """Return the medians as a table, each with its ratio to the first kind."""
    first = next(iter(results))
    lines = ["| | rows/s | seconds to the first shard | ratio, by rounds |", "|---|---:|---:|---|"]
    for kind, runs in results.items():
        ratios = [run["rate"] / base["rate"] for run, base in zip(runs, results[first], strict=True)]
        shown = "" if kind == first else f"{statistics.median(ratios):.2f} ({', '.join(f'{r:.2f}' for r in ratios)})"
        lines.append(f"| {kind} | {_median(runs, 'rate'):.0f} | {_median(runs, 'first'):.0f} | {shown} |")
    return "\n".join(lines)


def _median(runs: list[dict[str, Any]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


if __name__ == "__main__":
    main()
