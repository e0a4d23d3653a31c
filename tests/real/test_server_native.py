"""jina-embeddings-v4 itself, served: three tasks from one server, multi-vectors of one task from another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from tests.support.images import noise
from tests.support.native import TASKS, NativeReference, make_native
from tests.support.reference import distance
from tests.support.servers import RealServer, served
from vllm_jina_embed import ConfigError, EngineDeadError, JinaEmbedder
from vllm_jina_embed.engine.remote import balancer

pytestmark = [pytest.mark.real, pytest.mark.wide]

LIMIT = 1e-6
DEFAULT = "text-matching"
ITEMS: list[Any] = [
    "a",
    noise(84, 84, 1),
    "Ein Sonnenuntergang",
    noise(300, 200, 2),
    [noise(56, 90, 3), noise(9, 9, 4)],
]


def prompts(task: str) -> list[Any]:
    """Return what the reference gets for ``ITEMS``."""
    prefix = "Query: " if task == "text-matching" else "Passage: "
    return [prefix + item if isinstance(item, str) else item for item in ITEMS]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_native(tmp_path_factory.mktemp("native") / "float32")


@pytest.fixture(scope="module")
def references(checkpoint: Path) -> dict[str, NativeReference]:
    return {task: NativeReference(checkpoint, task) for task in TASKS}


@pytest.fixture(scope="module")
def servers(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RealServer, RealServer]]:
    """One vector per item of every task, and one per token of a task that is not the first."""
    logs = tmp_path_factory.mktemp("servers")
    options = ("--dtype", "float32", "--task", DEFAULT)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("XDG_CACHE_HOME", str(logs / "cache"))  # keep the split adapters out of the user's cache
        yield (
            stack.enter_context(served(str(checkpoint), logs / "pooling", *options)),
            stack.enter_context(served(str(checkpoint), logs / "tokens", *options, "--multi-vector")),
        )


@pytest.fixture(scope="module")
def embedder(servers: tuple[RealServer, RealServer]) -> Iterator[JinaEmbedder]:
    """Both servers behind one embedder."""
    with JinaEmbedder.from_server([server.url for server in servers]) as embedder:
        yield embedder


async def test_every_task_comes_from_one_server(embedder: JinaEmbedder, references: dict[str, NativeReference]) -> None:
    """At the same time, texts and images, in two sizes."""
    assert embedder.checkpoint.tasks == tuple(TASKS)
    assert embedder.checkpoint.has_adapters
    for dimensions in (embedder.dimensions, embedder.checkpoint.matryoshka_sizes[0]):
        calls = [embedder.aembed(ITEMS, task=task, dimensions=dimensions) for task in TASKS]
        for task, got in zip(TASKS, await asyncio.gather(*calls), strict=True):
            wanted = np.stack([references[task].embed(item, dimensions) for item in prompts(task)])
            assert distance(got, wanted) <= LIMIT
            other = next(one for one in TASKS if one != task)
            assert distance(got, np.stack([references[other].embed(item, dimensions) for item in prompts(task)])) > 1e-3


def test_multi_vectors_come_from_the_server_of_their_task(
    embedder: JinaEmbedder, references: dict[str, NativeReference]
) -> None:
    """Projected there; of another task there are none."""
    for got, item in zip(embedder.embed_multi_vector(ITEMS, task=DEFAULT), prompts(DEFAULT), strict=True):
        wanted = references[DEFAULT].multi_vector(item)
        assert got.shape == wanted.shape
        assert distance(got, wanted) <= LIMIT
    with pytest.raises(ConfigError, match="--task"):
        embedder.embed_multi_vector(["a"], task="code")


def test_openai_clients_name_the_task_as_the_model(
    servers: tuple[RealServer, RealServer], checkpoint: Path, references: dict[str, NativeReference]
) -> None:
    """The checkpoint's name, or none, means the task that the server was started with, never no task at all."""
    text = "Query: a tree"
    for model, task in ((str(checkpoint), DEFAULT), (None, DEFAULT), ("code", "code"), ("retrieval", "retrieval")):
        body = {"input": [text], "encoding_format": "float", **({"model": model} if model else {})}
        answer = httpx.post(f"{servers[0].url}/v1/embeddings", json=body, timeout=60).raise_for_status()
        assert distance(np.array(answer.json()["data"][0]["embedding"]), references[task].embed(text)) <= LIMIT


def test_a_server_whose_engine_dies_is_told_by_its_url(
    servers: tuple[RealServer, RealServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits in it is not lost silently; the server ends too, and nothing of it stays behind."""
    monkeypatch.setattr(balancer, "PATIENCE", 2.0)
    processes = servers[0].processes()
    (engine,) = [one for one in processes if "EngineCore" in " ".join(one.cmdline())]
    with JinaEmbedder.from_server(servers[0].url) as embedder:
        embedder.embed(["a"])
        engine.kill()
        with pytest.raises(EngineDeadError, match=servers[0].url):
            embedder.embed([f"text {number}" for number in range(100)])
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
