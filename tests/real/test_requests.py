"""What the local engine hands to vLLM: rendered prompts, images prepared on several threads, the same bits."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock, patch

import pytest
import torch
from PIL import Image

from tests.support.images import noise
from vllm_jina_embed import ClosedError, EngineError, JinaEmbedder, settings
from vllm_jina_embed._instruments import Places
from vllm_jina_embed.engine.config import LocalConfig
from vllm_jina_embed.engine.local.engine import LocalEngine, _start_vllm
from vllm_jina_embed.engine.local.image_threads import ImageThreads
from vllm_jina_embed.engine.local.requests import rendered
from vllm_jina_embed.engine.local.vllm_versions import warn_if_newer
from vllm_jina_embed.engine.plugin_contract import QUESTION_SECONDS
from vllm_jina_embed.inputs.budget import Budget
from vllm_jina_embed.inputs.items import images
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.serve import server_process

pytestmark = pytest.mark.real

IMAGES = [noise(60 + 37 * n, 400 - 11 * n, n) for n in range(24)]


@pytest.fixture
def engine(demo_embedder: JinaEmbedder) -> LocalEngine:
    found, _ = demo_embedder.backend.ready()  # type: ignore[attr-defined]
    assert isinstance(found, LocalEngine)
    return found


@pytest.fixture
def prompts(demo_embedder: JinaEmbedder) -> list[Prompt]:
    """One per image."""
    _, builder = demo_embedder.backend.ready()  # type: ignore[attr-defined]
    return builder.build(images(IMAGES), role="passage", task="retrieval", max_length=9, truncate="end")


def test_vllm_warns_of_nothing(demo_embedder: JinaEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It warns of raw prompts, which a later release refuses."""
    from vllm.v1.engine import input_processor

    logger = MagicMock()
    monkeypatch.setattr(input_processor, "logger", logger)
    demo_embedder.embed(["a text", IMAGES[0], [IMAGES[1], IMAGES[2]]])
    demo_embedder.embed_multi_vector(["a text", IMAGES[0]])
    assert not [call for call in logger.mock_calls if "warning" in str(call)]


def test_images_prepared_at_once_are_the_same_bits(engine: LocalEngine, prompts: list[Prompt]) -> None:
    """As vLLM's own single thread prepares them, one after the other."""
    llm = engine._llm

    async def at_once() -> list[dict[str, Any]]:
        threads = ImageThreads(8)
        try:
            return await asyncio.gather(*(rendered(llm, prompt, threads) for prompt in prompts * 4))
        finally:
            threads.close()

    found = engine.run(at_once()).result()
    for prompt, inputs in zip(prompts * 4, found, strict=True):
        request = {"prompt_token_ids": list(prompt.token_ids), "multi_modal_data": {"image": list(prompt.images)}}
        (expected,) = llm.renderer.render_cmpl([request])
        assert inputs["prompt_token_ids"] == expected["prompt_token_ids"]
        (ours,), (theirs,) = inputs["mm_kwargs"]["image"], expected["mm_kwargs"]["image"]
        for name, item in theirs.get_data().items():
            assert torch.equal(ours.get_data()[name], item), name


def test_torch_keeps_its_threads(engine: LocalEngine, prompts: list[Prompt]) -> None:
    """vLLM sets torch's number of threads while it prepares an image, for the whole process."""
    before = threads_of_a_new_thread()
    assert before == torch.get_num_threads()

    async def at_once() -> None:
        await asyncio.gather(*(rendered(engine._llm, prompt, engine._image_threads) for prompt in prompts))

    for _ in range(5):
        engine.run(at_once()).result()
        assert threads_of_a_new_thread() == before
    assert torch.get_num_threads() == before


def threads_of_a_new_thread() -> int:
    """Return how many threads torch uses in a thread that has just started."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def six_threads() -> Iterator[None]:
    """A number that neither vLLM nor a thread of a pool has by itself."""
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("six_threads")
@pytest.mark.parametrize("pools", [1, 2])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_torch_keeps_its_threads_whoever_ends_last(pools: int, order: tuple[int, int]) -> None:
    """Two overlapping calls on new threads, in one engine and in two; then single calls on the same threads.

    A thread of a pool keeps the number that it set last, so it cannot tell what a new thread would have.
    """
    engines = [ImageThreads(2) for _ in range(pools)]

    async def overlapping(first: int, second: int) -> None:
        """Begin two calls, and end ``first`` before ``second``."""
        begun, may_end = [threading.Event() for _ in range(2)], [threading.Event() for _ in range(2)]

        def prepare(number: int) -> None:
            before = torch.get_num_threads()
            torch.set_num_threads(1)
            begun[number].set()
            may_end[number].wait(20)
            torch.set_num_threads(before)

        calls = []
        for number in range(2):
            calls.append(asyncio.create_task(engines[number % pools].run([], prepare, number)))
            await asyncio.to_thread(begun[number].wait, 20)
        for number in (first, second):
            may_end[number].set()
            await calls[number]

    def alone() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        torch.set_num_threads(before)

    for _ in range(3):
        await overlapping(*order)
        assert threads_of_a_new_thread() == 6
        for engine in engines * 4:
            await engine.run([], alone)
            assert threads_of_a_new_thread() == 6
    for engine in engines:
        engine.close()


async def test_large_images_are_prepared_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Preparing takes ten bytes a pixel: eight threads with a large image each would take gigabytes."""
    budget = Budget(100_000_000)
    monkeypatch.setattr("vllm_jina_embed.engine.local.image_threads.BUDGET", budget)
    held: list[int] = []
    threads = ImageThreads(8)

    def prepare() -> None:
        held.append(budget.held)
        time.sleep(0.02)

    for side, most in ((3000, 90_000_000), (2000, 80_000_000), (100, 800_000)):
        image = Image.new("RGB", (side, side))
        await asyncio.gather(*(threads.run([image], prepare) for _ in range(12)))
        assert 0 < max(held) <= most
        held.clear()
    threads.close()
    assert budget.held == 0


@pytest.mark.parametrize(("gigabytes", "threads"), [(0, 3), (None, 3), (4, 1)])
def test_vllms_cache_of_images_gets_them_in_order(
    monkeypatch: pytest.MonkeyPatch, gigabytes: int | None, threads: int
) -> None:
    """With a cache, an image that the engine is told to have must have arrived before."""
    made: list[int] = []

    class Pool:
        def __init__(self, number: int, **_: Any) -> None:
            made.append(number)

        def shutdown(self, **_: Any) -> None:
            pass

    monkeypatch.setattr("vllm_jina_embed.engine.local.image_threads.ThreadPoolExecutor", Pool)
    monkeypatch.setattr("vllm_jina_embed.engine.local.image_threads.usable_cores", lambda: 3)
    monkeypatch.setattr(LocalEngine, "_start", AsyncMock(side_effect=EngineError("stop here")))
    options = {} if gigabytes is None else {"mm_processor_cache_gb": gigabytes}
    config = settings.check(model="demo", engine_kwargs=options).engine
    assert isinstance(config, LocalConfig)
    with pytest.raises(EngineError, match="stop here"):
        LocalEngine(config)
    assert made == [threads]


def test_a_vllm_newer_than_the_tested_ones_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line, in an application and in a server; then they go on."""
    import vllm

    monkeypatch.setattr(vllm, "__version_tuple__", (0, 99, 0))
    went_on = MagicMock(side_effect=EngineError("stop here"))
    monkeypatch.setattr(server_process, "serve_arguments", went_on)
    monkeypatch.setattr("vllm_jina_embed.engine.local.engine.engine_arguments", went_on)
    config = settings.check(model="demo").engine
    assert isinstance(config, LocalConfig)

    def serve() -> None:
        choices = {"model": "demo", "dtype": None, "row": None}
        server_process.run(
            model_settings=choices,
            host="127.0.0.1",
            port=0,
            api_key=None,
            multi_vector=False,
            metrics=False,
            passed=[],
        )

    for start in (lambda: _start_vllm(config, None, None), serve):
        warn_if_newer.cache_clear()
        caplog.clear()
        with patch.dict(os.environ), pytest.raises(EngineError, match="stop here"):
            start()
        assert [record.getMessage().count("is newer than") for record in caplog.records] == [1]
    assert went_on.call_count == 2
    warn_if_newer.cache_clear()


async def test_a_request_that_meets_a_closed_engine_says_so() -> None:
    """Closed while its image was being prepared, before its first try and before its second."""
    engine = LocalEngine.__new__(LocalEngine)
    engine._llm, engine._slots, engine._last_question = None, asyncio.Semaphore(1), 0.0
    engine.places = Places({}, 1)
    prompt = Prompt(token_ids=(1,))
    with pytest.raises(ClosedError):
        await engine._answer(prompt, "", False, None)
    engine._llm = MagicMock(errored=False)

    async def closed_meanwhile(*_: Any) -> None:
        engine._llm = None

    engine._try = closed_meanwhile  # type: ignore[method-assign]
    with pytest.raises(ClosedError):
        await engine._answer(prompt, "", False, None)


async def test_after_a_question_half_as_many_documents_are_in_the_engine() -> None:
    """For a moment; the question itself waits for no document."""
    engine = LocalEngine.__new__(LocalEngine)
    engine._llm, engine._last_question = MagicMock(errored=False), float("-inf")
    engine._slots, engine._fewer_slots = asyncio.Semaphore(4), asyncio.Semaphore(2)
    engine.places = Places({}, 4)
    entered, answered, answer = 0, asyncio.Event(), SimpleNamespace(prompt_token_ids=[1])

    async def enter(*_: Any) -> SimpleNamespace:
        nonlocal entered
        entered += 1
        await answered.wait()
        return answer

    async def in_engine(urgent: int, documents: int) -> int:
        nonlocal entered
        entered = 0
        answered.clear()
        prompt = Prompt(token_ids=(1,))
        every = [engine._answer(prompt, "", number < urgent, None) for number in range(urgent + documents)]
        together = asyncio.gather(*every)
        for _ in range(10):
            await asyncio.sleep(0)
        most = entered
        answered.set()
        assert await together == [answer] * len(every)
        return most

    engine._try = enter  # type: ignore[method-assign]
    assert await in_engine(0, 9) == 4
    assert await in_engine(5, 9) == 5 + 2
    assert await in_engine(0, 9) == 2
    engine._last_question -= QUESTION_SECONDS
    assert await in_engine(0, 9) == 4
