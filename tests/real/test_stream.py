"""A corpus of any length: iterator in, iterator out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from vllm_jina_embed import InputError, JinaEmbedder
from vllm_jina_embed.embedding.streams import STREAMS, WINDOW


def corpus(number: int, taken: list[int]) -> Iterator[str]:
    """Yield texts and note how many were asked for."""
    for position in range(number):
        taken.append(position)
        yield f"text number {position}"


def test_a_stream_gives_what_one_call_gives(random_embedder: JinaEmbedder) -> None:
    """In order, over several windows, the last one not full."""
    number = 3 * WINDOW + 7
    streamed = np.stack(list(random_embedder.embed_stream(corpus(number, []))))
    np.testing.assert_allclose(streamed, random_embedder.embed(list(corpus(number, []))), atol=1e-6)


def test_a_stream_reads_only_as_far_ahead_as_it_says(random_embedder: JinaEmbedder) -> None:
    """A million documents never become a million requests."""
    taken: list[int] = []
    stream = random_embedder.embed_stream(corpus(1_000_000, taken))
    for _ in range(WINDOW + 1):
        next(stream)
    assert len(taken) <= (STREAMS + 2) * WINDOW
    stream.close()  # type: ignore[attr-defined]
    assert random_embedder.embed(["still here"]).shape == (1, 128)


def test_an_error_names_the_position_in_the_stream(random_embedder: JinaEmbedder) -> None:
    """And what came in earlier windows has been yielded."""
    items: list[object] = ["text"] * (WINDOW + 5)
    items[WINDOW + 3] = ""
    stream = random_embedder.embed_stream(items)  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        for _ in stream:
            pass
    assert caught.value.positions == (WINDOW + 3,)


async def test_an_async_stream_gives_the_same(random_embedder: JinaEmbedder) -> None:
    """The a-twin, in the caller's loop."""
    number = WINDOW + 9
    streamed = [embedding async for embedding in random_embedder.aembed_stream(corpus(number, []))]
    np.testing.assert_allclose(np.stack(streamed), random_embedder.embed(list(corpus(number, []))), atol=1e-6)
