"""Observers see texts and the hashes of images, for every image method and for nodes."""

from __future__ import annotations

import asyncio
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.callbacks.schema import EventPayload
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.rate_limiter import TokenBucketRateLimiter
from llama_index.core.schema import ImageNode, TextNode

from tests.support.embedders import FakeEmbedder
from tests.support.observers import Recorder, Spans
from vllm_jina_embed import InputError, MediaPolicy
from vllm_jina_embed._arrays import Floats
from vllm_jina_embed.inputs.images import open_image
from vllm_jina_embed.inputs.metadata import content_hash, placeholder
from vllm_jina_embed.llama_index import VllmJinaEmbedding, image_node
from vllm_jina_embed.llama_index import events as events_module


@pytest.fixture
def debug() -> LlamaDebugHandler:
    return LlamaDebugHandler(print_trace_on_end=False)


@pytest.fixture
def embedding(fake: FakeEmbedder, debug: LlamaDebugHandler) -> VllmJinaEmbedding:
    return VllmJinaEmbedding(embedder=fake, callback_manager=CallbackManager([debug]), embed_batch_size=2)


def stand_in(path: Path) -> str:
    return placeholder(content_hash(open_image(path, MediaPolicy())))


async def ask(embedding: VllmJinaEmbedding, method: str, *values: Any) -> Any:
    found = getattr(embedding, method)(*values)
    return await found if asyncio.iscoroutine(found) else found


@pytest.mark.parametrize("method", ["get_image_embedding_batch", "aget_image_embedding_batch"])
async def test_image_batches_are_announced(
    embedding: VllmJinaEmbedding,
    fake: FakeEmbedder,
    recorder: Recorder,
    debug: LlamaDebugHandler,
    paths: list[Path],
    method: str,
) -> None:
    """A start and an end per batch, by the dispatcher and by callbacks, with hashes instead of bytes and paths."""
    rows = await ask(embedding, method, [str(paths[0]), BytesIO(paths[1].read_bytes()), paths[2].read_bytes()])
    chunks = [[stand_in(path) for path in paths[:2]], [stand_in(paths[2])]]
    starts = [event for event in recorder.seen if isinstance(event, EmbeddingStartEvent)]
    ends = [event for event in recorder.seen if isinstance(event, EmbeddingEndEvent)]
    assert [event.model_dict for event in starts] == [embedding.to_payload()] * 2
    assert sorted(event.chunks for event in ends) == sorted(chunks)
    assert sorted(row for event in ends for row in event.embeddings) == sorted(rows)
    payloads = [end.payload for _, end in debug.get_event_pairs(CBEventType.EMBEDDING)]
    assert sorted(payload[EventPayload.CHUNKS] for payload in payloads) == sorted(chunks)
    assert len(fake.calls) == 2


@pytest.mark.parametrize("method", ["get_image_embedding", "aget_image_embedding", "image_query", "aimage_query"])
async def test_single_images_are_announced(
    embedding: VllmJinaEmbedding, recorder: Recorder, paths: list[Path], method: str
) -> None:
    """Once each."""
    await ask(embedding, method, paths[0])
    assert [type(event) for event in recorder.seen] == [EmbeddingStartEvent, EmbeddingEndEvent]
    assert recorder.seen[1].chunks == [stand_in(paths[0])]


@pytest.mark.parametrize("is_image", [False, True])
@pytest.mark.parametrize("method", ["get_query_embedding", "get_text_embedding", "get_text_embedding_batch"])
@pytest.mark.parametrize("prefix", ["", "a"])
async def test_each_call_is_one_span(
    embedding: VllmJinaEmbedding, spans: Spans, base64s: list[str], prefix: str, method: str, is_image: bool
) -> None:
    """Of its own name, whether LlamaIndex's method answers or ours: two would count each call twice."""
    method, value = prefix + method, f"data:image/png;base64,{base64s[0]}" if is_image else "a text"
    await ask(embedding, method, [value] if "batch" in method else value)
    assert [name for name in spans.names if name.startswith(("get_", "aget_"))] == [method]


@pytest.mark.parametrize("method", ["__call__", "acall"])
async def test_nodes_are_announced(
    embedding: VllmJinaEmbedding, recorder: Recorder, debug: LlamaDebugHandler, paths: list[Path], method: str
) -> None:
    """One call, one pair of events, texts as texts."""
    nodes = [TextNode(text="a"), image_node(paths[0]), TextNode(text="b"), image_node(paths[1].read_bytes())]
    found = await ask(embedding, method, nodes)
    assert [type(event) for event in recorder.seen] == [EmbeddingStartEvent, EmbeddingEndEvent]
    assert recorder.seen[1].chunks == ["a", stand_in(paths[0]), "b", stand_in(paths[1])]
    assert recorder.seen[1].embeddings == [node.embedding for node in found]
    assert len(debug.get_event_pairs(CBEventType.EMBEDDING)) == 1


async def test_events_of_texts_are_llama_indexs_own(embedding: VllmJinaEmbedding, recorder: Recorder) -> None:
    """Not sent twice."""
    embedding.get_text_embedding_batch(["a", "b", "c"])
    await embedding.aget_query_embedding("d")
    assert [event.chunks for event in recorder.seen if isinstance(event, EmbeddingEndEvent)] == [
        ["a", "b"], ["c"], ["d"],
    ]  # fmt: skip


def test_images_are_opened_for_observers_only(
    fake: FakeEmbedder, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody observes, nobody pays for a hash."""
    monkeypatch.setattr(events_module, "open_image", lambda *_: pytest.fail("opened"))
    unobserved = VllmJinaEmbedding(embedder=fake)
    unobserved.get_image_embedding(paths[0])
    unobserved([ImageNode(image_path=str(paths[0]), text="one.png")])


def test_a_file_object_is_left_for_the_model(
    embedding: VllmJinaEmbedding, recorder: Recorder, paths: list[Path]
) -> None:
    """One that cannot be rewound is not read for its hash."""

    class Stream(BytesIO):
        def seekable(self) -> bool:
            return False

    stream = Stream(paths[0].read_bytes())
    embedding.get_image_embedding(stream)
    assert stream.tell() == 0
    assert recorder.seen[1].chunks == ["<image>"]
    embedding.get_image_embedding_batch([[paths[0], paths[1]]])
    assert recorder.seen[-1].chunks == [f"{stand_in(paths[0])} {stand_in(paths[1])}"]


def test_a_failed_call_ends_its_callback(debug: LlamaDebugHandler) -> None:
    """With the exception, as LlamaIndex's own."""

    class Failing(FakeEmbedder):
        def embed_images(self, images: Any) -> Floats:
            raise InputError("images[0]: no image", positions=[0])

    embedding = VllmJinaEmbedding(embedder=Failing(), callback_manager=CallbackManager([debug]))
    with pytest.raises(InputError):
        embedding.get_image_embedding("nothing.png")
    ((_, end),) = debug.get_event_pairs(CBEventType.EMBEDDING)
    assert isinstance(end.payload[EventPayload.EXCEPTION], InputError)


@pytest.mark.parametrize(("workers", "most"), [(1, 1), (2, 2), (None, 5)])
async def test_num_workers_bounds_the_batches_of_images(workers: int | None, most: int) -> None:
    """LlamaIndex launches all of them at once, whatever num_workers says."""

    class Slow(FakeEmbedder):
        inside = most_inside = 0

        async def aembed_images(self, images: Any) -> Floats:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            await asyncio.sleep(0.02)
            self.inside -= 1
            return await super().aembed_images(images)

    fake = Slow()
    embedding = VllmJinaEmbedding(embedder=fake, embed_batch_size=2, num_workers=workers)
    names = [f"{number}.png" for number in range(10)]
    assert await embedding.aget_image_embedding_batch(names) == [fake.vector("image", name) for name in names]
    assert fake.most_inside == most


async def test_the_rate_limiter_counts_images(fake: FakeEmbedder) -> None:
    """Once per batch, as for texts."""

    class Counting(TokenBucketRateLimiter):
        count: int = 0

        def acquire(self, num_tokens: int = 0) -> None:
            self.count += 1

        async def async_acquire(self, num_tokens: int = 0) -> None:
            self.count += 1

    limiter = Counting(requests_per_minute=60)
    embedding = VllmJinaEmbedding(embedder=fake, rate_limiter=limiter, embed_batch_size=2)
    embedding.get_image_embedding_batch(["a.png", "b.png", "c.png"])
    assert limiter.count == 2
    await embedding.aget_image_embedding_batch(["a.png", "b.png", "c.png"])
    assert limiter.count == 4


FORMS = ["{}", "\n{}", " {}\r\n"]
METHODS = [
    "get_query_embedding", "aget_query_embedding", "get_text_embedding", "aget_text_embedding",
    "get_text_embedding_batch", "aget_text_embedding_batch", "get_agg_embedding_from_queries", "__call__", "acall",
]  # fmt: skip


@pytest.mark.fire
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", METHODS)
async def test_observers_never_get_an_images_bytes(
    embedding: VllmJinaEmbedding,
    recorder: Recorder,
    debug: LlamaDebugHandler,
    fake: FakeEmbedder,
    base64s: list[str],
    paths: list[Path],
    method: str,
    form: str,
) -> None:
    """Neither by events nor by callbacks, whichever method got the string, and be it embedded as a text."""
    uri = form.format(f"data:image/png;base64,{base64s[0]}")
    given: Any = uri
    if "batch" in method or "agg" in method:
        given = ["a", uri, "b"]
    if "call" in method:
        given = [TextNode(text="a"), TextNode(text=uri), ImageNode(image=base64s[0], metadata={"image_sha256": "1"})]
    await ask(embedding, method, given)
    ends = [event for event in recorder.seen if isinstance(event, EmbeddingEndEvent)]
    payloads = [end.payload[EventPayload.CHUNKS] for _, end in debug.get_event_pairs(CBEventType.EMBEDDING)]
    assert sorted(chunk for event in ends for chunk in event.chunks) == sorted(chain.from_iterable(payloads))
    told = repr([event.chunks for event in ends]) + repr(payloads)
    assert base64s[0][:40] not in told
    assert "data:image" not in told
    assert "<image>" in told if "call" in method else stand_in(paths[0]) in told
    assert len(ends) == len(fake.calls)


@pytest.mark.fire
@pytest.mark.parametrize("method", METHODS[:7])
async def test_a_string_that_is_nearly_an_image_is_announced_to_nobody(
    recorder: Recorder, debug: LlamaDebugHandler, base64s: list[str], method: str
) -> None:
    """The call fails, at its position."""
    near = f"data:image/png;charset=utf-8;base64,{base64s[0]}"
    embedding = VllmJinaEmbedding(embedder=FakeEmbedder(), callback_manager=CallbackManager([debug]))
    with pytest.raises(InputError, match="begins like"):
        await ask(embedding, method, ["a", near] if "batch" in method or "agg" in method else near)
    ends = [end.payload for _, end in debug.get_event_pairs(CBEventType.EMBEDDING)]
    assert base64s[0][:40] not in repr([recorder.seen, ends])
