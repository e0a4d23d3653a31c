"""Items to embeddings on an engine in memory: order, errors by position, bounds, cancellation."""

from __future__ import annotations

import asyncio
import gc
import io
import random
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from tests.support.builders import template_builder
from tests.support.fake_engine import FakeEngine, vector_of, wait_until
from tests.support.images import encoded, noise
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed.embedding import building, pipeline
from vllm_jina_embed.embedding.pipeline import Outcome, Plan, embed_items
from vllm_jina_embed.errors import ConfigError, EngineDeadError, EngineError, InputError
from vllm_jina_embed.inputs import items as inputs
from vllm_jina_embed.prompts.base import Prompt, Truncate
from vllm_jina_embed.prompts.pieces import PieceBuilder

BUILDER = template_builder()
DIMENSIONS = 16


async def embed(
    items: list[Any],
    engine: FakeEngine,
    *,
    max_length: int = 1000,
    truncate: Truncate = "end",
    progress: pipeline.Progress = lambda count: None,
) -> Outcome:
    """Run a mixed list of passages through ``engine``."""
    plan = Plan(
        task="retrieval",
        role="passage",
        dimensions=DIMENSIONS,
        max_length=max_length,
        truncate=truncate,
        urgent=False,
    )
    return await embed_items(inputs.mixed(items), engine=engine, builder=BUILDER, plan=plan, progress=progress)


def expected(items: list[Any]) -> np.ndarray:
    """Return what the engine gives for each item by itself."""
    prompts = BUILDER.build(inputs.mixed(items), role="passage", task="retrieval", max_length=1000, truncate="end")
    return np.stack([vector_of(prompt, DIMENSIONS) for prompt in prompts if isinstance(prompt, Prompt)])


def says(text: str, prompt: Prompt) -> bool:
    """Tell whether ``text`` is the end of what ``prompt`` asks."""
    ids = make_tokenizer().encode("Passage: " + text).ids
    return list(prompt.token_ids) == ids


async def test_rows_follow_the_items_whatever_finishes_first() -> None:
    """Answers that come in random order; texts and images mixed, more than two chunks."""
    chance = random.Random(0)
    items = [f"text {n}" if n % 7 else noise(20 + n, 20, n) for n in range(150)]
    outcome = await embed(items, FakeEngine(delay=lambda prompt: chance.uniform(0, 0.01)))
    np.testing.assert_array_equal(outcome.embeddings, expected(items))
    assert (outcome.errors, outcome.truncated) == ([], [])
    assert outcome.embeddings.dtype == np.float32


async def test_equal_items_get_equal_rows() -> None:
    """Nothing is keyed by the text."""
    outcome = await embed(["a", "b", "a"], FakeEngine())
    np.testing.assert_array_equal(outcome.embeddings[0], outcome.embeddings[2])
    assert not np.array_equal(outcome.embeddings[0], outcome.embeddings[1])


async def test_a_bad_item_costs_its_own_row_only() -> None:
    """A broken image and one that the engine refuses, each with its position, ascending."""
    items = [f"text {n}" for n in range(50)]
    items[40] = b"broken"  # type: ignore[call-overload]
    engine = FakeEngine(fail=lambda prompt: InputError("too many tokens") if says("text 7", prompt) else None)
    outcome = await embed(items, engine)
    assert [error.positions for error in outcome.errors] == [(7,), (40,)]
    assert str(outcome.errors[0]) == "items[7]: too many tokens"
    good = [n for n in range(50) if n not in (7, 40)]
    assert np.isnan(outcome.embeddings[[7, 40]]).all()
    np.testing.assert_array_equal(outcome.embeddings[good], expected([items[n] for n in good]))


@pytest.mark.parametrize("error", [EngineDeadError("gone"), EngineError("lost"), MemoryError("full")])
async def test_an_engine_error_reaches_the_caller_as_itself(error: Exception) -> None:
    """Never inside an ExceptionGroup, which ``except EngineError`` would not catch."""
    engine = FakeEngine(fail=lambda prompt: error, delay=lambda prompt: 0.001)
    with pytest.raises(type(error)) as caught:
        await embed([f"text {n}" for n in range(40)], engine)
    assert caught.value is error


async def test_an_engine_error_stops_the_rest() -> None:
    """What waits is cancelled at once."""
    engine = FakeEngine(
        fail=lambda prompt: EngineDeadError("gone") if says("text 0", prompt) else None,
        delay=lambda prompt: 0.01 if says("text 0", prompt) else 60,
    )
    async with asyncio.timeout(5):
        with pytest.raises(EngineDeadError):
            await embed([f"text {n}" for n in range(20)], engine)
    assert engine.cancelled == 19


async def test_a_setting_error_from_building_reaches_the_caller_as_itself() -> None:
    """The same for what the prompts find out."""
    with pytest.raises(ConfigError, match="leaves no room"):
        await embed(["a"], FakeEngine(), max_length=1)


async def test_cancelling_cancels_every_prompt() -> None:
    """The engine is not left working for nobody."""
    engine = FakeEngine(delay=lambda prompt: 60)
    task = asyncio.create_task(embed([f"text {n}" for n in range(20)], engine))
    await asyncio.to_thread(wait_until, lambda: len(engine.prompts) == 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.cancelled == 20


async def test_truncated_texts_are_listed_by_position() -> None:
    """Bad items before them do not shift the count."""
    outcome = await embed(["a", b"broken", "fox " * 50, "b", "fox " * 60], FakeEngine(), max_length=20)
    assert outcome.truncated == [2, 4]
    assert [error.positions for error in outcome.errors] == [(1,)]


async def test_the_engines_own_limit_holds_too() -> None:
    """The shorter of max_length and what the engine can take."""
    engine = FakeEngine(max_tokens=12)
    outcome = await embed(["fox " * 50], engine, max_length=1000)
    assert outcome.truncated == [0]
    assert len(engine.prompts[0].token_ids) == 12
    refused = await embed(["fox " * 50], engine, max_length=1000, truncate="error")
    assert "max_length is 12" in str(refused.errors[0])


async def test_progress_counts_every_item_once() -> None:
    """Good, bad and refused ones."""
    seen: list[int] = []
    engine = FakeEngine(fail=lambda prompt: InputError("no") if says("b", prompt) else None)
    await embed(["a", "b", b"broken", "c"], engine, progress=seen.append)
    assert seen == [1, 1, 1, 1]


async def test_prompts_in_flight_are_bounded() -> None:
    """A million texts do not become a million requests."""
    engine = FakeEngine(delay=lambda prompt: 0.5)
    await embed([f"text {n}" for n in range(2 * engine.in_flight)], engine)
    assert engine.most_at_once == engine.in_flight


async def test_decoded_images_in_flight_are_bounded_by_their_pixels() -> None:
    """500 photographs of 12 million pixels would be 18 GB."""
    photograph = Image.new("RGB", (4000, 3000))
    engine = FakeEngine(until=lambda engine: engine.most_pixels >= 10 * 12_000_000)
    async with asyncio.timeout(300):
        outcome = await embed([photograph] * 40, engine)
    assert outcome.errors == []
    assert engine.most_pixels <= pipeline.PIXELS


async def test_an_image_larger_than_the_bound_passes_alone() -> None:
    """It must not wait for ever."""

    class Huge:
        width = height = 100_000
        size = (100_000, 100_000)

        def resize(self, *_: object) -> Image.Image:
            return Image.new("RGB", (1, 1))

    class Builder:
        def build(self, items: list[Any], **_: object) -> list[Prompt]:
            return [Prompt(token_ids=(1,), images=(cast(Image.Image, Huge()),)) for _ in items]

    engine = FakeEngine(delay=lambda prompt: 0.001)
    plan = Plan(
        task="retrieval",
        role="query",
        dimensions=DIMENSIONS,
        max_length=9,
        truncate="end",
        urgent=False,
    )
    items = inputs.mixed(["a"] * 6)
    builder = cast(PieceBuilder, Builder())
    async with asyncio.timeout(10):
        outcome = await embed_items(items, engine=engine, builder=builder, plan=plan, progress=lambda count: None)
    assert not np.isnan(outcome.embeddings).any()
    assert engine.most_at_once == 1


class SlowBuilder:
    """Builds lists in threads, each when ``enough`` of them are being built or as many as there will be."""

    def __init__(self, enough: int) -> None:
        self.most = self.now = self.built = 0
        self._together = threading.Barrier(enough)
        self._lock = threading.Lock()

    def let_go(self) -> None:
        """Let those that wait fail."""
        self._together.abort()

    def build(self, items: Sequence[Any], **options: Any) -> list[Prompt | InputError]:
        with self._lock:
            self.now += 1
            self.built += 1
            self.most = max(self.most, self.now)
        try:
            self._together.wait(20)
            return BUILDER.build(items, **options)
        finally:
            with self._lock:
                self.now -= 1


async def in_a_thread(function: Callable[[], None]) -> None:
    """Call a function in a thread of its own, not of the loop's pool."""
    with ThreadPoolExecutor(1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, function)


async def build_with(
    builder: Any, items: list[Any], engine: FakeEngine, *, max_length: int = 1000, role: str = "passage"
) -> Outcome:
    plan = Plan(
        task="retrieval", role=role, dimensions=DIMENSIONS, max_length=max_length,
        truncate="end", urgent=role == "query",
    )  # fmt: skip
    return await embed_items(
        inputs.mixed(items), engine=engine, builder=builder, plan=plan, progress=lambda count: None
    )


@pytest.mark.parametrize("cores", [1, 2, 3, 64])
async def test_images_of_one_call_are_decoded_on_several_cores(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    """At most eight at once; rows keep their order."""
    monkeypatch.setattr(building, "usable_cores", lambda: cores)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(16))  # a small machine has 5
    at_once = min(cores, building.AHEAD)
    items = [noise(20 + n, 30, n) for n in range(3 * at_once)]
    builder = SlowBuilder(at_once)
    outcome = await build_with(builder, items, FakeEngine())
    np.testing.assert_array_equal(outcome.embeddings, expected(items))
    assert builder.most == at_once


async def test_long_texts_are_tokenised_on_several_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "usable_cores", lambda: 2)
    items = [f"{n} " + "fox " * 60 for n in range(4 * building.CHUNK)]
    builder = SlowBuilder(2)
    outcome = await build_with(builder, items, FakeEngine())
    np.testing.assert_array_equal(outcome.embeddings, expected(items))
    assert builder.most == 2


async def test_what_is_built_ahead_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded images do not pile up while the engine is busy."""
    monkeypatch.setattr(building, "usable_cores", lambda: 2)
    builder = SlowBuilder(1)
    ready = asyncio.Event()
    engine = FakeEngine(in_flight=3, until=lambda engine: ready.is_set())
    task = asyncio.create_task(build_with(builder, [noise(20 + n, 30, n) for n in range(40)], engine))
    await asyncio.to_thread(wait_until, lambda: builder.built == 3 + 1 + 1)  # in the engine, waiting for a slot, ahead
    await asyncio.sleep(0.2)
    assert builder.built == 5
    assert len(engine.prompts) == 3
    ready.set()
    assert not np.isnan((await task).embeddings).any()


async def test_only_the_first_error_of_building_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Lists that were built ahead met the same one; asyncio would log each that nobody asks for."""
    monkeypatch.setattr(building, "usable_cores", lambda: 4)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(4))
    failed: list[int] = []

    class Builder:
        def build(self, items: list[Any], **_: object) -> list[Prompt]:
            (item,) = items
            if item.position == 0:  # the last to fail
                wait_until(lambda: len(failed) == 3)
                time.sleep(0.2)
            failed.append(item.position)
            raise ConfigError(f"item {item.position}")

    with pytest.raises(ConfigError, match="item 0"):
        await build_with(Builder(), [noise(20 + n, 30, n) for n in range(4)], FakeEngine())
    await asyncio.sleep(0.1)
    gc.collect()
    assert not caplog.records


async def test_cancelling_while_images_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for them, and no further one is begun."""
    monkeypatch.setattr(building, "usable_cores", lambda: 8)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))  # six wait for a thread
    builder = SlowBuilder(3)  # two wait for a third, which never comes
    task = asyncio.create_task(build_with(builder, [noise(20 + n, 30, n) for n in range(40)], FakeEngine()))
    await in_a_thread(lambda: wait_until(lambda: builder.now == 2))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    builder.let_go()
    await in_a_thread(lambda: wait_until(lambda: builder.now == 0))
    await asyncio.sleep(0.2)
    assert builder.built == 2


async def test_a_question_waits_for_no_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads of the loop build documents; a long question is built all the same."""
    monkeypatch.setattr(building, "usable_cores", lambda: 2)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    builder = SlowBuilder(3)
    documents = asyncio.create_task(build_with(builder, [noise(20 + n, 30, n) for n in range(8)], FakeEngine()))
    await in_a_thread(lambda: wait_until(lambda: builder.now == 2))
    async with asyncio.timeout(15):
        outcome = await build_with(BUILDER, ["fox " * 400], FakeEngine(), role="query")
    assert not np.isnan(outcome.embeddings).any()
    assert builder.now == 2
    documents.cancel()
    builder.let_go()
    with pytest.raises(asyncio.CancelledError):
        await documents


class SlowFile(io.BytesIO):
    """Lets other threads run between a seek and the read after it."""

    def read(self, size: int | None = -1) -> bytes:
        time.sleep(0.001)
        return super().read(size)


def members(images: list[Image.Image]) -> list[Any]:
    """Return file objects of one tar file; they move the same file beneath."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for number, image in enumerate(images):
            data = encoded(image)
            entry = tarfile.TarInfo(f"{number}.png")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    opened = tarfile.open(fileobj=SlowFile(content.getvalue()))  # noqa: SIM115 - its members are read later
    return [opened.extractfile(entry) for entry in opened.getmembers()]


@pytest.mark.parametrize("lazily", [False, True])
async def test_members_of_one_archive_are_read_in_turn(monkeypatch: pytest.MonkeyPatch, lazily: bool) -> None:
    """As file objects, and as PIL images that were opened from them and not decoded."""
    monkeypatch.setattr(building, "usable_cores", lambda: 8)
    images = [noise(90 + n, 100, n) for n in range(40)]  # larger than a buffer
    files = members(images)
    items = [Image.open(file) for file in files] if lazily else files
    outcome = await build_with(BUILDER, items, FakeEngine())
    assert outcome.errors == []
    np.testing.assert_array_equal(outcome.embeddings, expected(images))


async def test_a_list_of_very_long_texts_is_short() -> None:
    """What is tokenised ahead holds a bounded number of characters."""
    sizes: list[int] = []

    class Builder:
        def build(self, items: list[Any], **_: object) -> list[Prompt]:
            sizes.append(sum(len(item.text) for item in items))
            return [Prompt(token_ids=(1,)) for _ in items]

    await build_with(Builder(), ["x" * 300_000] * 20, FakeEngine())
    assert sum(sizes) == 20 * 300_000
    assert max(sizes) < building.CHARACTERS + 300_000


async def test_two_calls_share_an_engine_without_mixing() -> None:
    """Each gets its own rows."""
    engine = FakeEngine(delay=lambda prompt: 0.001 * (len(prompt.token_ids) % 3))
    lists = [[f"{call} {n}" for n in range(40)] for call in range(5)]
    outcomes = await asyncio.gather(*(embed(items, engine) for items in lists))
    for items, outcome in zip(lists, outcomes, strict=True):
        np.testing.assert_array_equal(outcome.embeddings, expected(items))


async def test_a_long_list_of_queries_is_bulk_work() -> None:
    """Nobody waits for one of ten thousand; it must not overtake those that somebody waits for."""
    for number, urgent in ((pipeline.QUESTIONS, True), (pipeline.QUESTIONS + 1, False)):
        engine = FakeEngine()
        plan = Plan(
            task="retrieval",
            role="query",
            dimensions=DIMENSIONS,
            max_length=1000,
            truncate="end",
            urgent=True,
        )
        items = inputs.mixed([f"text {n}" for n in range(number)])
        await embed_items(items, engine=engine, builder=BUILDER, plan=plan, progress=lambda count: None)
        assert engine.urgent == [urgent] * number
