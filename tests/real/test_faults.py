"""What goes wrong in service: processes that die, requests that are preempted, chunks, many callers at once.

Every vector is compared with the one that transformers gives.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.support.images import noise
from tests.support.reference import Reference, distance
from tests.support.sdk import sdk
from vllm_jina_embed import JinaEmbedder

GATE = 1e-5


@pytest.fixture(scope="module")
def mixed(random_reference: Reference) -> tuple[list[object], np.ndarray]:
    """Texts of mixed length and images of mixed size, with their reference embeddings."""
    items: list[object] = [f"text number {n} " * (1 + n % 7) for n in range(24)]
    items += [noise(28 + 40 * n, 200 - 20 * n, seed=n) for n in range(8)]
    expected = [random_reference.embed(f"Passage: {item}" if isinstance(item, str) else item) for item in items]
    return items, np.stack(expected)


pytestmark = [pytest.mark.real, pytest.mark.wide]


@pytest.fixture
def small_steps(random_checkpoint: Path) -> Iterator[JinaEmbedder]:
    """An engine that computes at most 64 tokens a step and has 12 blocks of 128 tokens for keys and values."""
    options = {
        "dtype": "float32",
        "max_num_batched_tokens": 64,
        "max_model_len": 1024,
        "num_gpu_blocks_override": 12,
        "scheduler_reserve_full_isl": False,
        "long_prefill_token_threshold": 16,
        "disable_log_stats": False,
    }
    with JinaEmbedder(random_checkpoint, engine_kwargs=options) as embedder:
        yield embedder


def test_100_shuffled_batches_from_8_threads_and_8_loops(
    random_embedder: JinaEmbedder, mixed: tuple[list[object], np.ndarray]
) -> None:
    """Every vector is right, none is missing, none is swapped."""
    items, expected = mixed
    worst: list[float] = []
    failures: list[BaseException] = []

    def check(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(items))
        worst.append(distance(random_embedder.embed([items[i] for i in order]), expected[order]))

    async def acheck(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(items))
        worst.append(distance(await random_embedder.aembed([items[i] for i in order]), expected[order]))

    async def acheck_all(seeds: range) -> None:
        await asyncio.gather(*map(acheck, seeds))

    def work(number: int) -> None:
        try:
            if number < 8:
                for seed in range(number * 6, number * 6 + 6):
                    check(seed)
            else:
                asyncio.run(acheck_all(range(number * 7, number * 7 + 7)))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(worst) == 8 * 6 + 8 * 7
    assert max(worst) <= GATE


def test_a_killed_engine_process_costs_no_vector(
    random_checkpoint: Path, mixed: tuple[list[object], np.ndarray]
) -> None:
    """SIGKILL in the middle of 500 requests: vLLM is started again and 500 right vectors come back."""
    items, expected = mixed
    order = np.random.default_rng(0).integers(0, len(items), 500)
    options = {"dtype": "float32", "max_num_seqs": 4}  # its own engine, slow enough to be hit in the middle
    with JinaEmbedder(random_checkpoint, engine_kwargs=options) as embedder:
        embedder.embed(["start"])
        sdk().clear()
        finished: list[int] = []
        killer = threading.Thread(target=_kill_when, args=(finished, 50))
        embeddings = _embed_counting(embedder, [items[i] for i in order], finished, killer)
        started = {key: value for (name, key), value in sdk().numbers().items() if name.endswith("start.duration")}
    assert distance(embeddings, expected[order]) <= GATE
    assert not np.isnan(embeddings).any()
    sdk().stop()
    ((attributes, (count, seconds)),) = started.items()  # and OpenTelemetry is told of it
    assert (dict(attributes)["vllm_jina_embed.engine.restart"], count) == (True, 1)
    assert seconds > 0


def test_chunked_and_preempted_prompts_are_averaged_once(
    small_steps: JinaEmbedder, random_reference: Reference
) -> None:
    """Long prompts in small steps; queries overtake them and take the blocks away, so that they start again."""
    texts = [f"{n} " + "a long text about many things " * 20 for n in range(12)]
    images = [noise(280, 224, seed=n) for n in range(4)]
    expected = [random_reference.embed(f"Passage: {text}") for text in texts]
    expected += [random_reference.embed(image) for image in images]
    queries = ["a question of some length " * 12 + str(n) for n in range(20)]
    expected_queries = np.stack([random_reference.embed(f"Query: {query}") for query in queries])

    async def both() -> tuple[np.ndarray, list[np.ndarray]]:
        bulk = asyncio.create_task(small_steps.aembed([*texts, *images]))
        answers = [await small_steps.aembed_queries([query]) for query in queries]
        return await bulk, answers

    bulk, answers = asyncio.run(both())
    assert distance(bulk, np.stack(expected)) <= GATE
    assert distance(np.concatenate(answers), expected_queries) <= GATE


def test_a_cancelled_call_frees_its_requests(random_embedder: JinaEmbedder) -> None:
    """Nothing of it waits in the engine afterwards."""
    engine, _ = random_embedder.backend.ready()

    async def cancelled() -> None:
        task = asyncio.create_task(random_embedder.aembed(["a long text " * 200] * 300))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    requests = engine._llm.output_processor  # type: ignore[attr-defined]
    deadline = time.monotonic() + 60
    while requests.get_num_unfinished_requests() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert requests.get_num_unfinished_requests() == 0
    assert random_embedder.embed(["still here"]).shape == (1, 128)


APPLICATION = """
import sys, time
from vllm_jina_embed import JinaEmbedder
if __name__ == "__main__":
    embedder = JinaEmbedder(sys.argv[1], engine_kwargs={"dtype": "float32"})
    embedder.embed(["start"])
    print("ready", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("how", [pytest.param(signal.SIGTERM, marks=pytest.mark.siege), signal.SIGKILL])
def test_no_process_outlives_the_application(
    how: signal.Signals, random_checkpoint: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """After a plain SIGTERM or SIGKILL of the application all of vLLM's processes end within 5 s."""
    script = tmp_path / "application.py"
    script.write_text(APPLICATION)
    for _ in range(pytestconfig.getoption("--applications")):
        application = subprocess.Popen(
            [sys.executable, script, random_checkpoint, "600"], stdout=subprocess.PIPE, text=True
        )
        assert application.stdout is not None
        assert application.stdout.readline() == "ready\n"
        children = psutil.Process(application.pid).children(recursive=True)
        assert len(children) >= 2  # vLLM's engine and worker
        application.send_signal(how)
        application.wait()
        application.stdout.close()
        deadline = time.monotonic() + 5
        while any(map(_runs, children)) and time.monotonic() < deadline:
            time.sleep(0.1)
        alive = [process for process in children if _runs(process)]
        for process in alive:  # whatever the verdict, leave nothing behind
            process.kill()
        assert not alive


def test_an_application_that_closes_nothing_ends_well(random_checkpoint: Path, tmp_path: Path) -> None:
    """The engine is closed before vLLM's own handlers find it: none waits for ever, and none reports a dead engine."""
    script = tmp_path / "application.py"
    script.write_text(APPLICATION)
    command = [sys.executable, script, random_checkpoint, "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ready\n"
    assert "EngineDeadError" not in done.stderr


def _runs(process: psutil.Process) -> bool:
    """Tell whether a process runs; a zombie has ended and only waits for init to read its exit status."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _kill_when(finished: list[int], enough: int) -> None:
    """Kill this process's newest vLLM engine once ``enough`` items are done."""
    while len(finished) < enough:
        time.sleep(0.002)
    engines = [one for one in psutil.Process().children() if "EngineCore" in " ".join(one.cmdline())]
    os.kill(max(engines, key=lambda one: one.create_time()).pid, signal.SIGKILL)


def _embed_counting(
    embedder: JinaEmbedder, items: list[object], finished: list[int], killer: threading.Thread
) -> np.ndarray:
    """Embed the items one by one, all at the same time, and count what is done."""

    async def one(item: object) -> np.ndarray:
        embedding = await embedder.aembed([item])  # type: ignore[list-item]
        finished.append(1)
        return embedding[0]

    async def all_of_them() -> list[np.ndarray]:
        return await asyncio.gather(*map(one, items))

    killer.start()
    embeddings = np.stack(asyncio.run(all_of_them()))
    killer.join()
    return embeddings
