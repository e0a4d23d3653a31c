"""What the command embed costs beside the embedding itself: its rate against ``embed_stream``, and its memory.

    python -m benchmarks.corpus [--checkpoint demo 45M] [--items 2000] [--rounds 5]
    python -m benchmarks.corpus --both [--checkpoint demo 45M] [--items 2000] [--rounds 5]
    python -m benchmarks.corpus --memory [--counts 5000 50000] [--dimensions 2048] [--rows-per-file 8192]

The rate: one engine for both, in turns; ``embed_stream`` gets the items that ``embed`` reads from a folder, decoded
before the clock starts. Beside other work no clock says anything: then compare the CPU time of all processes of both.
With ``--both``: one pass of the engine for embeddings and multi-vectors against one for each, by the same function.
The memory: the peak of the command's own process, with an engine in memory that answers at
once and keeps nothing, since vLLM's processes are others.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

IMAGE = (336, 336)
IMAGES = 10
"""Every so many items one is an image."""


def main() -> None:
    """Measure what is asked for, and print it as lines of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", nargs="+", choices=["demo", "45M"], default=["demo", "45M"])
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--both", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--counts", type=int, nargs="+", default=[5000, 50000])
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--rows-per-file", type=int, default=8192)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.run is not None:
        print(json.dumps(_run(chosen.run, chosen.dimensions, chosen.rows_per_file)))
        return
    print(json.dumps(machine()), flush=True)
    if chosen.memory:
        memory(chosen.counts, chosen.dimensions, chosen.rows_per_file)
    for name in () if chosen.memory else chosen.checkpoint:
        (both if chosen.both else rate)(name, chosen.items, chosen.rounds)


def rate(name: str, count: int, rounds: int) -> None:
    """Print items a second of both, each round's ratio, and the median ratio."""
    from vllm_jina_embed import JinaEmbedder
    from vllm_jina_embed.corpus import embed_corpus
    from vllm_jina_embed.inputs.images import open_image
    from vllm_jina_embed.inputs.policy import MediaPolicy

    with _written(name, count) as (source, items, keywords), JinaEmbedder(**keywords) as embedder:
        decoded = [open_image(item, MediaPolicy()) if isinstance(item, bytes) else item for item in items]

        def stream(turn: int) -> None:
            for _ in embedder.embed_stream(decoded):
                pass

        def embed(turn: int) -> None:
            embed_corpus(source, source.parent / f"out{turn}", embedder=embedder)

        _compare(name, count, rounds, {"embed_stream": stream, "embed": embed})


def both(name: str, count: int, rounds: int) -> None:
    """Print the same of a corpus with both kinds of vectors, by two passes of the engine and by one."""
    from vllm_jina_embed import JinaEmbedder
    from vllm_jina_embed.corpus import embed_corpus
    from vllm_jina_embed.embedding.both_kinds import joined
    from vllm_jina_embed.embedding.outcomes import Outcome

    class Twice(JinaEmbedder):
        """Asks for one kind after the other."""

        def outcome(self, items: list[Any], prompt_name: str, *, both: bool = False, **options: Any) -> Outcome:
            assert both
            single = super().outcome(items, prompt_name, **options)
            multi = super().outcome(items, prompt_name, multi_vector=True, **options)
            return joined(single, multi, items, self.checkpoint.token_dimensions)

    with (
        _written(name, count) as (source, _, keywords),
        JinaEmbedder(**keywords) as once,
        Twice(**keywords) as twice,  # on the same engine
    ):

        def embed(turn: int, by: JinaEmbedder) -> None:
            embed_corpus(source, source.parent / f"{type(by).__name__}{turn}", embedder=by, vectors="both")

        _compare(name, count, rounds, {"two passes": partial(embed, by=twice), "one pass": partial(embed, by=once)})


@contextmanager
def _written(name: str, count: int) -> Iterator[tuple[Path, list[str | bytes], dict[str, Any]]]:
    """Write items; yield their folder, the items, and the keywords of an embedder."""
    from benchmarks import checkpoints

    options = {"dtype": checkpoints.dtype(name), "kv_cache_memory_bytes": 2**28, "max_num_seqs": 64}
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        source = Path(work, "in")
        items = _write(source, count)
        yield source, items, {"model": checkpoints.folder(name, Path(work)), "engine_kwargs": options}


def _compare(name: str, count: int, rounds: int, ways: dict[str, Callable[[int], None]]) -> None:
    """Run two ways in turns; print items a second of each, and how much less time the second takes."""
    first, second = ways
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    work_done: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(-1, rounds):  # the first is not counted
        for way in (first, second) if turn % 2 else (second, first):
            began, worked = time.perf_counter(), _cpu_seconds()
            ways[way](turn)
            if turn >= 0:
                seconds[way].append(time.perf_counter() - began)
                work_done[way].append(_cpu_seconds() - worked)
    for what, times in (("clock", seconds), ("cpu", work_done)):
        ratios = [one / other for one, other in zip(times[first], times[second], strict=True)]
        rates = {way: round(count / statistics.median(values), 1) for way, values in times.items()}
        shown = {"ratios": [round(ratio, 3) for ratio in ratios], "ratio": round(statistics.median(ratios), 3)}
        print(json.dumps({"checkpoint": name, "by": what, "items_a_second": rates, **shown}), flush=True)


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of all that it has started."""
    import psutil

    own = psutil.Process()
    times = [process.cpu_times() for process in [own, *own.children(recursive=True)]]
    return sum(found.user + found.system for found in times)


def _write(source: Path, count: int) -> list[str | bytes]:
    """Write rows of texts and files of images; return the items in the order in which they are read."""
    from benchmarks import loads
    from tests.support.images import encoded

    source.mkdir()
    number = count // IMAGES
    images = [encoded(image, "JPEG", quality=90) for image in loads.images(number, IMAGE)]
    for position, image in enumerate(images):
        (source / f"{position:05d}.jpg").write_bytes(image)
    texts = loads.texts(count - number, (2, 80))
    rows = [json.dumps({"id": f"row-{position}", "text": text}) for position, text in enumerate(texts)]
    (source / "rows.jsonl").write_text("\n".join(rows))
    return [*images, *texts]


def memory(counts: list[int], dimensions: int, rows_per_file: int) -> None:
    """Print the peak of a process for each number of items, and how far it is from that of the first."""
    peaks = []
    for count in counts:
        with tempfile.TemporaryDirectory() as work:
            _write_mixed(Path(work, "in"), count)
            command = [sys.executable, "-m", "benchmarks.corpus", "--run", work, "--dimensions", str(dimensions)]
            command += ["--rows-per-file", str(rows_per_file)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
        peaks.append(found["peak_mb"])
        print(json.dumps({"items": count, **found, "of_first": round(peaks[-1] / peaks[0], 3)}), flush=True)


def _write_mixed(source: Path, count: int) -> None:
    """Write folders of 100 items: images, texts, pages of a PDF and rows, so that every part of the corpus is alike."""
    from tests.support.images import encoded, noise
    from tests.support.pdfs import make_pdf

    quarter = 25
    pdf = make_pdf(*[(120, 160)] * quarter)
    images = [encoded(noise(160, 120, seed=number), "JPEG") for number in range(quarter)]
    for start in range(0, count, 4 * quarter):
        folder = source / f"{start:08d}"
        folder.mkdir(parents=True)
        for number in range(quarter):
            (folder / f"{number:02d}.jpg").write_bytes(images[number])
            (folder / f"{number:02d}.md").write_text(f"Note {start} {number}.\n\n" + "It says so. " * 20)
        (folder / "pages.pdf").write_bytes(pdf)
        rows = [{"id": f"{start}-{number}", "text": f"Row {number} of {start}"} for number in range(quarter)]
        (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))


def _run(work: Path, dimensions: int, rows_per_file: int) -> dict[str, Any]:
    """Embed a folder by the command with an engine in memory; return the peak of this process."""
    from tests.support.in_memory import write_folder
    from vllm_jina_embed import JinaEmbedder
    from vllm_jina_embed.cli import main as command
    from vllm_jina_embed.engine.pool import EnginePool

    model = write_folder(work / "model", hidden=dimensions)
    JinaEmbedder._pool = EnginePool(_engine)
    arguments = ["--out", str(work / "out"), "--model", str(model), "--rows-per-file", str(rows_per_file)]
    before = _peak()
    code = command(["embed", str(work / "in"), *arguments])
    return {"code": code, "before_mb": before, "peak_mb": _peak()}


def _engine(config: Any) -> Any:
    from tests.support.fake_engine import FakeEngine

    class Forgetful(FakeEngine):
        """Notes no prompt."""

        async def _work(self, prompt: Any, task: str, urgent: bool) -> None:
            pass

    return Forgetful(config)


def _peak() -> float:
    """Return the largest resident size of this process so far, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, 1)


if __name__ == "__main__":
    main()
