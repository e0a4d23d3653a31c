"""One contestant in a process of its own; reads orders and writes answers, one JSON line each.

Started by run.py: `python -m benchmarks.worker NAME FOLDER DTYPE OPTIONS`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

STEP_TEXT = 500
"""Tokens of a text of 160 words, about."""


def main() -> None:
    """Start the contestant, then obey until stdin closes."""
    began = time.perf_counter()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to stderr
    name, folder, dtype, options = sys.argv[1:]
    from benchmarks import loads
    from benchmarks.contestants import CONTESTANTS

    contestant = CONTESTANTS[name](Path(folder), dtype, json.loads(options))
    contestant.embed(loads.texts(1, (3, 3)))
    _tell(answers, {"start_seconds": time.perf_counter() - began})
    for line in sys.stdin:
        order = json.loads(line)
        _tell(answers, ORDERS[order.pop("do")](contestant, **order))


def bulk(contestant: Any, load: str, scale: float, seed: int = 0) -> dict[str, Any]:
    """Time one call with a whole list; the vectors' sum over the first items tells contestants apart."""
    from benchmarks import loads

    items = loads.make(load, scale, seed)
    began = time.perf_counter()
    embeddings = np.asarray(contestant.embed(items))
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "items": len(items), "first": embeddings[:4].astype(float).tolist()}


def singles(contestant: Any, number: int) -> dict[str, Any]:
    """Time many single callers, and one bulk call with the same texts; the first call after a stop is not timed."""
    from benchmarks import loads

    items = loads.texts(number, (2, 80))
    contestant.embed(items)
    began = time.perf_counter()
    contestant.singles(items)
    between = time.perf_counter()
    contestant.embed(items)
    return {"seconds": between - began, "bulk_seconds": time.perf_counter() - between}


def single(contestant: Any, number: int) -> dict[str, Any]:
    """Time short texts one after the other, each in a call of its own, as the contestant's bulk call takes them."""
    from benchmarks import loads

    seconds = []
    for text in loads.texts(number, (4, 10), seed=1):
        began = time.perf_counter()
        contestant.embed([text])
        seconds.append(time.perf_counter() - began)
    return {"p50": float(np.percentile(seconds, 50))}


def full_step(contestant: Any) -> dict[str, Any]:
    """Time one call that fills one step of the engine: the longest that a question can have to wait for."""
    from benchmarks import loads

    tokens = contestant.langchain._embedder.backend.engine._llm.vllm_config.scheduler_config.max_num_batched_tokens
    items = loads.texts(max(1, tokens // STEP_TEXT), (160, 160), seed=3)
    began = time.perf_counter()
    contestant.langchain.embed_documents(items)
    return {"seconds": time.perf_counter() - began, "tokens": tokens}


def latency(contestant: Any, number: int, busy: bool) -> dict[str, Any]:
    """Time questions one after the other, alone or while a bulk index runs in another thread."""
    from benchmarks import loads

    stop = threading.Event()
    steps: list[float] = []
    indexer = threading.Thread(target=_index, args=(contestant, stop, steps))
    if busy:
        indexer.start()
        time.sleep(1.0)
    seconds = []
    for text in loads.texts(number, (4, 10), seed=1):
        began = time.perf_counter()
        contestant.langchain.embed_query(text)
        seconds.append(time.perf_counter() - began)
        time.sleep(0.01 + 0.02 * np.random.default_rng(len(seconds)).random())
    stop.set()
    if busy:
        indexer.join()
    return {"p50": float(np.percentile(seconds, 50)), "p95": float(np.percentile(seconds, 95)), "indexed": len(steps)}


def _index(contestant: Any, stop: threading.Event, done: list[float]) -> None:
    from benchmarks import loads

    items = loads.texts(4096, (2, 80), seed=2)
    for embedding in contestant.langchain._embedder.embed_stream(items * 1000):
        done.append(float(embedding[0]))
        if stop.is_set():
            return


ORDERS = {"bulk": bulk, "single": single, "singles": singles, "full_step": full_step, "latency": latency}


def _tell(answers: Any, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
