"""`python -m benchmarks.image_front_end`: what an image costs before the model, and what more cores bring.

First each step of one page on one thread, in milliseconds of processor time. Then pages a second through
``embed_images`` on as many cores as ``--cores`` names: each number in a process of its own that is bound to them, the
numbers in turn, several rounds. The model answers at once ("without a model"), or is the demo. Last, what the machine
itself gives: processes of one core each that share nothing, all at once against one alone, without a model.

Prints Markdown for docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

from PIL import Image, ImageDraw

from benchmarks import loads
from benchmarks.machine import machine
from benchmarks.processes import Worker
from vllm_jina_embed.engine.local.arguments import environment

TILE = 25
REPEATS = 8
STEPS = (
    "read and decode",
    "resize, normalise, cut into patches",
    "pack for the engine's process",
    "send and receive, threads of both ends",
)


def main() -> None:
    """Measure and print, or do the part of one process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="%(default)s")
    parser.add_argument("--images", type=int, default=48, help="pages of a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="%(default)s")
    parser.add_argument("--worker", choices=("stub", "demo"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.worker:
        work(wanted.worker, wanted.images)
        return
    most, usable = max(wanted.cores), len(os.sched_getaffinity(0))
    if usable < most:
        parser.error(f"--cores {most}: this process may use {usable}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes, which are stopped, are ended
    print("Measured with: " + ", ".join(f"{name} {value}" for name, value in machine().items()) + ".\n")
    print("| one page of 1275 x 1650 pixels, one thread | JPEG | PNG |\n|---|---:|---:|")
    for step, (jpeg, png) in steps().items():
        print(f"| {step} | {jpeg:.1f} ms | {png:.1f} ms |")
    for kind, title in (("stub", "without a model"), ("demo", "demo")):
        print(f"\n| pages a second, {title} | " + " | ".join(f"{cores} cores" for cores in wanted.cores) + " |")
        print("|---|" + "---:|" * len(wanted.cores))
        rounds = race(kind, wanted.cores, wanted.images, wanted.rounds)
        print("| median | " + " | ".join(f"{statistics.median(each):.1f}" for each in zip(*rounds, strict=True)) + " |")
        factors = [statistics.median(row[n] / row[0] for row in rounds) for n in range(len(wanted.cores))]
        print("| times the first, round by round | " + " | ".join(f"{factor:.2f}" for factor in factors) + " |")
    factor = statistics.median(apart(most, wanted.images, wanted.rounds))
    print(f"\n{most} processes of one core each: {factor:.2f} times one of them alone.")


def pages(number: int, kind: str) -> list[bytes]:
    """Return files that look like pages of a document: lines of text, a picture, white margins; all different."""
    files = []
    for page in range(number):
        image = Image.new("RGB", loads.PAGE, "white")
        (picture,) = loads.images(1, (loads.PAGE[0] // TILE, loads.PAGE[1] // TILE // 3), seed=page)
        image.paste(picture.resize((loads.PAGE[0] - 200, loads.PAGE[1] // 3), Image.Resampling.BICUBIC), (100, 100))
        draw = ImageDraw.Draw(image)
        for line, text in enumerate(loads.texts(50, (12, 12), seed=page)):
            draw.text((100, 700 + 18 * line), text, fill="black", font_size=15)
        file = io.BytesIO()
        image.save(file, kind, **({"quality": 90} if kind == "JPEG" else {}))
        files.append(file.getvalue())
    return files


def steps() -> dict[str, tuple[float, float]]:
    """Return the milliseconds of each step, of a JPEG and of a PNG."""
    os.environ.update(environment())  # before vLLM is imported: quiet
    from vllm.renderers import renderer_from_config
    from vllm.v1.serial_utils import MsgpackEncoder

    from vllm_jina_embed import MediaPolicy
    from vllm_jina_embed.inputs.images import open_image

    config, prompt = vllm_config()
    renderer = renderer_from_config(config)
    found: dict[str, list[float]] = {step: [] for step in STEPS}
    for kind in ("JPEG", "PNG"):
        seconds: dict[str, list[float]] = {step: [] for step in found}
        for content in pages(REPEATS + 1, kind):
            image, opened = timed(lambda content=content: open_image(content, MediaPolicy()))
            request = {"prompt_token_ids": prompt, "multi_modal_data": {"image": [image]}}
            (inputs,), resized = timed(partial(renderer.render_cmpl, [request]))
            buffers, packed = timed(partial(MsgpackEncoder().encode, inputs["mm_kwargs"]["image"]))
            for step, took in zip(found, (opened, resized, packed, sent(buffers)), strict=True):
                seconds[step].append(took)
        for step, each in seconds.items():
            found[step].append(1000 * statistics.median(each[1:]))
    renderer.shutdown()
    return {step: (jpeg, png) for step, (jpeg, png) in found.items()}


def vllm_config() -> tuple[Any, list[int]]:
    """Return vLLM's configuration of the demo, and the token ids of a prompt with one image."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    from vllm_jina_embed import settings
    from vllm_jina_embed.engine.local.arguments import engine_arguments
    from vllm_jina_embed.inputs.items import images
    from vllm_jina_embed.prompts.build import load_builder

    checked = settings.check(model="demo")
    config = AsyncEngineArgs(**engine_arguments(checked.engine, cpu=True)).create_engine_config()  # type: ignore[arg-type]
    builder = load_builder(checked.checkpoint, revision=None, policy=checked.media)
    (built,) = builder.build(
        images([Image.new("RGB", (64, 64))]), role="passage", task="retrieval", max_length=99, truncate="end"
    )
    return config, list(built.token_ids)  # type: ignore[union-attr]


def timed(job: Callable[[], Any]) -> tuple[Any, float]:
    """Return what the job returns, and the processor time of this thread in seconds."""
    began = time.thread_time()
    return job(), time.thread_time() - began


def sent(buffers: Sequence[Any]) -> float:
    """Return the processor time of sending and receiving a message as vLLM does, in seconds."""
    import zmq

    with (
        tempfile.TemporaryDirectory() as folder,
        zmq.Context() as context,
        context.socket(zmq.PULL) as receiver,
        context.socket(zmq.PUSH) as sender,
    ):
        receiver.bind(f"ipc://{folder}/socket")
        sender.connect(f"ipc://{folder}/socket")
        began = time.process_time()
        sender.send_multipart(buffers, copy=False)
        receiver.recv_multipart(copy=False)
        return time.process_time() - began


def race(kind: str, cores: list[int], number: int, rounds: int) -> list[list[float]]:
    """Return pages a second, by round and number of cores; another number of cores begins each round."""
    found = []
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(contextlib.closing(bound(kind, number, slice(count)))) for count in cores]
        for turn in range(rounds):
            order = [(turn + place) % len(workers) for place in range(len(workers))]
            speeds = {place: float(workers[place].order("go")) for place in order}
            found.append([speeds[place] for place in range(len(workers))])
    return found


def apart(cores: int, number: int, rounds: int) -> list[float]:
    """Return, by round, the pages a second of all processes at once by those of each alone, in the mean."""
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(contextlib.closing(bound("stub", number, slice(core, core + 1))))
            for core in range(cores)
        ]
        threads = stack.enter_context(ThreadPoolExecutor(cores))

        def speed(worker: Worker) -> float:
            return float(worker.order("go"))

        return [
            sum(threads.map(speed, workers)) / statistics.mean([speed(worker) for worker in workers])
            for _ in range(rounds)
        ]


def bound(kind: str, images: int, cores: slice) -> Worker:
    """Return a process that is bound to some of our cores and ready."""
    mine = sorted(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "benchmarks.image_front_end", "--worker", kind, "--images", str(images)]
    worker = Worker(["taskset", "-c", ",".join(map(str, mine[cores])), *command])
    try:
        if worker.ready() != "ready":
            raise RuntimeError(f"the process on cores {mine[cores]} ended before it was ready; see its output above")
    except BaseException:
        worker.close()
        raise
    return worker


def work(kind: str, number: int) -> None:
    """Embed pages, half of them JPEG, each time a line arrives; some before, untimed, as the process was stopped."""
    import numpy as np

    from vllm_jina_embed import JinaEmbedder

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    files = pages(number // 2, "JPEG") + pages(number - number // 2, "PNG")
    with JinaEmbedder("demo") as embedder:
        embedder.embed_images(files[:2])
        if kind == "stub":
            (length,) = {len(row) for row in embedder.embed(["a text"])}
            vector = np.zeros(length, dtype=np.float32)
            vector[0] = 1
            without_model(embedder, vector)
        embedder.embed_images(files)
        answers.write("ready\n")
        answers.flush()
        for _ in sys.stdin:
            embedder.embed_images(files[::6])
            began = time.perf_counter()
            embedder.embed_images(files)
            answers.write(f"{number / (time.perf_counter() - began)}\n")
            answers.flush()


def without_model(embedder: Any, vector: Any) -> None:
    """Let vLLM's client pack each request and answer it by itself; the engine's process gets nothing."""
    import torch
    from vllm.v1.serial_utils import MsgpackEncoder

    llm = embedder.backend.engine._llm
    answer = SimpleNamespace(outputs=SimpleNamespace(data=torch.from_numpy(vector)), error=None)

    async def encode(prompt: Any, params: Any, number: str, **others: Any) -> AsyncIterator[Any]:
        request = llm.input_processor.process_inputs(
            number, prompt, params, supported_tasks=await llm.get_supported_tasks()
        )
        MsgpackEncoder().encode(request)
        yield answer

    llm.encode = encode


if __name__ == "__main__":
    main()
