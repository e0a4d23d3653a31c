"""An application that lives through everything: threads, loops, bad items, cancelled calls, forks, kills and Ctrl-C.

Run by test_soak.py in a session of its own; the last line that it prints holds its figures as JSON.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from tests.support.images import encoded, noise
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.errors import ForkedError, InputError

GATE = 1e-5
SLOW = 30.0
THREADS, LOOPS, CALLS = 6, 2, 3
# An engine's memory grows while its KV cache is touched for the first time: in the first and in the last tenth that are
# compared, the engine has answered equally many requests.
EVENTS = {0.3: "kill", 0.5: "interrupt", 0.8: "kill"}
KINDS = {"passages": 40, "query": 20, "image": 12, "multi-vector": 10, "bad item": 8, "cancelled": 9, "fork": 1}


class Soak:
    """The embedder, what its vectors must be, and what was counted."""

    def __init__(self, requests: int) -> None:
        self.requests = requests
        self.numbers = itertools.count()
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.spans: list[tuple[float, float]] = []
        self.restarts: list[tuple[float, float]] = []
        self.memory: list[tuple[float, float, float]] = []
        self.done = 0
        self.embedder = JinaEmbedder("demo")
        self.texts = [f"passage {n} about " + "a red circle and a green tree " * (1 + n % 11) for n in range(40)]
        self.queries = [f"where is number {n}" for n in range(20)]
        self.images = [encoded(noise(40 + 30 * n, 260 - 20 * n, seed=n)) for n in range(8)]
        self.broken = self.images[0][:-200]
        self.passages_right = np.concatenate([self.embedder.embed_passages([text]) for text in self.texts])
        self.queries_right = np.concatenate([self.embedder.embed_queries([text]) for text in self.queries])
        self.images_right = np.concatenate([self.embedder.embed_images([image]) for image in self.images])
        self.multi_right = [self.embedder.embed_multi_vector([text])[0] for text in self.texts[:10]]

    def equal(self, got: Any, right: Any) -> None:
        """Count vectors that are not those of the beginning."""
        right = np.asarray(right)
        wrong = got.shape != right.shape or not np.abs(got - right).max() <= GATE
        with self.lock:
            self.counts["vectors"] += len(right)
            self.counts["wrong"] += wrong

    def plan(self, number: int) -> tuple[str, list[int]]:
        """Return the kind of a request and the items that it asks for."""
        chosen = random.Random(number)
        kind = chosen.choices(list(KINDS), list(KINDS.values()))[0]
        most = {"passages": len(self.texts), "query": len(self.queries), "multi-vector": len(self.multi_right)}
        places = [chosen.randrange(most.get(kind, len(self.images))) for _ in range(chosen.randint(1, 4))]
        return kind, places

    def call(self, number: int) -> None:
        """Answer one request in a thread."""
        kind, places = self.plan(number)
        if kind in ("passages", "cancelled"):
            self.equal(self.embedder.embed_passages([self.texts[n] for n in places]), self.passages_right[places])
        elif kind == "query":
            self.equal(self.embedder.embed_queries([self.queries[places[0]]]), self.queries_right[places[:1]])
        elif kind == "image":
            self.equal(self.embedder.embed_images([self.images[n] for n in places]), self.images_right[places])
        elif kind == "multi-vector":
            (got,) = self.embedder.embed_multi_vector([self.texts[places[0]]])
            self.equal(got, self.multi_right[places[0]])
        elif kind == "bad item":
            self.bad_item(places)
        else:
            self.fork()
        self.counts[kind if kind != "cancelled" else "passages"] += 1

    def bad_item(self, places: list[int]) -> None:
        try:
            self.embedder.embed([*(self.texts[n] for n in places), self.broken])
        except InputError as error:
            told = error
        if told.positions != (len(places),):
            raise told
        self.equal(told.embeddings[:-1], self.passages_right[places])

    async def acall(self, number: int) -> None:
        """Answer one request in a loop; some are cancelled at any moment."""
        kind, places = self.plan(number)
        if kind == "cancelled":
            task = asyncio.create_task(self.embedder.aembed_passages([self.texts[n % 40] for n in range(9)]))
            await asyncio.sleep(random.Random(number).random() * 0.2)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                self.equal(await task, self.passages_right[:9])
        elif kind == "passages":
            self.equal(
                await self.embedder.aembed_passages([self.texts[n] for n in places]), self.passages_right[places]
            )
        elif kind == "query":
            self.equal(await self.embedder.aembed_queries([self.queries[places[0]]]), self.queries_right[places[:1]])
        elif kind == "image":
            self.equal(await self.embedder.aembed_images([self.images[n] for n in places]), self.images_right[places])
        else:
            await asyncio.to_thread(self.call, number)
            return
        self.counts[kind] += 1

    def fork(self) -> None:
        """The child has no engine: it is told so at once."""
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                self.embedder.embed_queries(["x"])
            except ForkedError:
                os._exit(0)
            finally:
                os._exit(1)
        end = time.monotonic() + SLOW
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < end:
            time.sleep(0.005)
        if ended[0] == 0:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert ended == (child, 0), "a forked child was not told"

    # --- running ----------------------------------------------------------------------------------------------------

    def finished(self, begun: float, error: BaseException | None) -> None:
        now = time.monotonic()
        with self.lock:
            self.done += 1
            self.spans.append((begun, now))
            if error is not None:
                self.counts["lost"] += 1
                self.failures.append(f"{type(error).__name__}: {error}")

    def thread(self) -> None:
        while (number := next(self.numbers)) < self.requests:
            begun, failed = time.monotonic(), None
            try:
                self.call(number)
            except BaseException as error:
                failed = error
            self.finished(begun, failed)

    async def loop(self) -> None:
        async def one() -> None:
            while (number := next(self.numbers)) < self.requests:
                begun, failed = time.monotonic(), None
                try:
                    await self.acall(number)
                except BaseException as error:
                    failed = error
                self.finished(begun, failed)

        await asyncio.gather(*(one() for _ in range(CALLS)))

    def run(self) -> None:
        """Run the requests; this thread makes the accidents and measures."""
        events = sorted(EVENTS.items())
        with concurrent.futures.ThreadPoolExecutor(THREADS + LOOPS) as threads:
            work = [threads.submit(self.thread) for _ in range(THREADS)]
            work += [threads.submit(asyncio.run, self.loop()) for _ in range(LOOPS)]
            while not all(future.done() for future in work):
                time.sleep(0.2)
                share = self.done / self.requests
                self.memory.append((share, *memory()))
                if events and share >= events[0][0]:
                    self.accident(events.pop(0)[1])
        assert not events
        for future in work:
            future.result()

    def accident(self, kind: str) -> None:
        engine = engine_core()
        begun, done = time.monotonic(), self.done
        if kind == "kill":
            engine.kill()
            while engine_core(engine) is None or self.done < done + THREADS + LOOPS * CALLS:
                time.sleep(0.2)
            self.restarts.append((begun, time.monotonic()))
            return
        try:
            os.killpg(0, signal.SIGINT)
            time.sleep(SLOW)
        except KeyboardInterrupt:
            self.counts["interrupts"] += 1
        self.embedder.embed_queries(["x"])
        self.counts["engine lost by the interrupt"] += engine_core() != engine

    def slowest(self) -> float:
        """Return the longest time of a request, without what the engine's restarts took of it."""

        def lasted(begun: float, ended: float) -> float:
            return ended - begun - sum(max(0, min(ended, b) - max(begun, a)) for a, b in self.restarts)

        return max(lasted(*span) for span in self.spans)


def engine_core(but: psutil.Process | None = None) -> Any:
    """Return vLLM's engine, or None where there is none but the given one."""
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process != but and "EngineCore" in " ".join(process.cmdline()):
                return process
    return None


def children_left() -> list[int]:
    """Return the processes that still run, without Python's own that watches over shared memory."""
    left = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is one
            if "resource_tracker" not in " ".join(process.cmdline()):
                left.append(process.pid)
    return left


def memory() -> tuple[float, float]:
    """Return the MB that this process and that vLLM's hold, shared pages counted once."""
    held = []
    for processes in ([psutil.Process()], psutil.Process().children(recursive=True)):
        total = 0
        for process in processes:
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
        held.append(total / 1024**2)
    return held[0], held[1]


def tenths(memory: list[tuple[float, float, float]]) -> list[list[int]]:
    """Return the median MB of the application and of vLLM's processes in each tenth of the requests."""
    parts = [[held for share, *held in memory if n <= 10 * share < n + 1] for n in range(10)]
    return [[round(median(column)) for column in zip(*part, strict=True)] for part in parts if part]


def state() -> dict[str, Collection[str]]:
    """Return what can be left behind inside this process: descriptors and threads, those of libraries by class."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(link.readlink()))
    plain = threading.Thread
    names = [thread.name if type(thread) is plain else type(thread).__name__ for thread in threading.enumerate()]
    return {"files": set(links), "threads": names}


def main() -> None:
    requests = int(sys.argv[1])
    soak = Soak(requests)
    begun = time.monotonic()
    soak.run()
    seconds = time.monotonic() - begun
    soak.embedder.close()
    assert "loky" not in sys.modules, "test_soak.py takes its semaphores for those of others"
    end = time.monotonic() + SLOW
    while (left := children_left()) and time.monotonic() < end:
        time.sleep(0.1)
    held = tenths(soak.memory)
    figures = {
        **{name: soak.counts[name] for name in [*KINDS, "vectors", "wrong", "lost", "interrupts"]},
        "engine lost by the interrupt": soak.counts["engine lost by the interrupt"],
        "done": soak.done,
        "kills": len(soak.restarts),
        "longest restart, s": round(max(b - a for a, b in soak.restarts), 1),
        "hung over 30 s": sum(soak.slowest() > SLOW for _ in [0]),
        "slowest request, restarts not counted, s": round(soak.slowest(), 1),
        "memory of the tenths, application and vLLM, MB": held,
        "memory of the first tenth, MB": sum(held[1]),
        "memory of the last tenth, MB": sum(held[-1]),
        "processes left": len(left),
        "threads left": sorted(state()["threads"]),
        "sockets and shared memory left": sorted(f for f in state()["files"] if "socket" in f or "/dev/shm" in f),
        "seconds": round(seconds),
        "failures": soak.failures[:10],
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
