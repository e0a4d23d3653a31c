"""Both kinds of vectors on an engine in memory: one prompt an item where it can be, and the vectors of two calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.images import noise
from tests.support.in_memory import Make, write_folder
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.checkpoints.token_layer import TokenLayer
from vllm_jina_embed.errors import ConfigError, EmbeddingWarning, InputError
from vllm_jina_embed.prompts.base import Prompt

LONG = "the quick brown fox jumps over the lazy dog " * 12
BOTH = {"text": "a fox", "image": noise(30, 40, 9)}
ITEMS: list[Any] = ["a", noise(40, 30, 1), "b " * 20, [noise(30, 30, 2), noise(30, 30, 3)], "a"]


class Counting(Make):
    """Counts what their engines are asked."""

    def take(self) -> int:
        """Return how many prompts there were since the last time."""
        count = sum(len(engine.prompts) for engine in self.engines)
        for engine in self.engines:
            engine.prompts.clear()
        return count


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Counting]:
    maker = Counting(write_folder(tmp_path / "checkpoint"))
    yield maker
    for embedder in maker.made:
        embedder.close()


def check(embedder: JinaEmbedder, items: list[Any], **options: Any) -> None:
    """Compare both kinds with the calls of one kind."""
    vectors, rows = embedder.embed_both_kinds(items, **options)
    single = embedder.embed(items, **options)
    kept = {name: value for name, value in options.items() if name in ("prompt_name", "task")}
    multi = embedder.embed_multi_vector(items, **kept)
    assert vectors.dtype == single.dtype
    assert vectors.tobytes() == single.tobytes()
    assert [one.tobytes() for one in rows] == [one.tobytes() for one in multi]
    assert [one.shape for one in rows] == [one.shape for one in multi]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prompt_name": "query"},
        {"dimensions": 16},
        {"normalize": False},
        {"dimensions": 32, "output_dtype": "float16"},
        {"output_dtype": "ubinary"},
    ],
)
def test_both_kinds_are_those_of_two_calls(make: Counting, options: dict[str, Any]) -> None:
    embedder = make()
    check(embedder, ITEMS, **options)
    make.take()
    embedder.embed_both_kinds(ITEMS, **options)
    assert make.take() == len(ITEMS)


async def test_a_call_can_be_awaited(make: Counting) -> None:
    embedder = make()
    vectors, rows = await embedder.aembed_both_kinds(ITEMS)
    assert make.take() == len(ITEMS)
    expected, right = embedder.embed_both_kinds(ITEMS)
    assert vectors.tobytes() == expected.tobytes()
    assert [one.tobytes() for one in rows] == [one.tobytes() for one in right]


def test_no_items_have_the_shapes_of_none(make: Counting) -> None:
    vectors, rows = make().embed_both_kinds([])
    assert (vectors.shape, rows) == ((0, 64), [])


def test_bad_items_have_neither(make: Counting) -> None:
    """Those that cannot be read, and those that the engine refuses."""
    embedder = make()
    make.fail = lambda prompt: InputError("the engine refuses this item") if len(prompt.token_ids) > 15 else None
    items = ["a", b"no image", "b", "b " * 20, None, "c"]
    with pytest.warns(EmbeddingWarning, match="3 of 6"):
        vectors, rows = embedder.embed_both_kinds(items, on_error="skip")
    assert np.isnan(vectors).all(1).tolist() == [False, True, False, True, True, False]
    assert [len(one) > 0 for one in rows] == [True, False, True, False, False, True]
    with pytest.raises(InputError, match="3 of 6") as caught:
        embedder.embed_both_kinds(items)
    assert np.isnan(caught.value.embeddings.embeddings).all(1).sum() == 3
    check(embedder, ["a", "b", "c"])


def test_a_text_in_chunks_has_two_prompts(make: Counting) -> None:
    """The embedding of its chunks, and the rows of what is left when it is cut; the same as by two calls."""
    embedder = make(long_text="chunks", max_length=24)
    with pytest.warns(EmbeddingWarning, match="1 of 3"):
        check(embedder, ["a", LONG, "b"])


def test_a_text_with_an_image_whose_vectors_are_joined_has_no_rows(make: Counting) -> None:
    """And the others have both, of one pass where there is none of them."""
    embedder = make(fusion="mean")
    check(embedder, ITEMS)
    make.take()
    embedder.embed_both_kinds(ITEMS)
    assert make.take() == len(ITEMS)
    with pytest.warns(EmbeddingWarning, match=r"rows are NaN, and multi-vectors empty: items\[1\].*no mean"):
        vectors, rows = embedder.embed_both_kinds(["a", BOTH, "b"], on_error="skip")
    assert np.isnan(vectors).all(1).tolist() == [False, True, False]
    assert [len(one) > 0 for one in rows] == [True, False, True]


@pytest.mark.parametrize("time", [1, 2])
def test_an_error_of_either_pass_is_the_items(make: Counting, time: int) -> None:
    """No item has one kind alone."""
    seen: list[tuple[int, ...]] = []

    def once(prompt: Prompt) -> Exception | None:
        seen.append(prompt.token_ids)
        return InputError("lost") if seen.count(prompt.token_ids) == time and len(prompt.token_ids) > 8 else None

    embedder = make(long_text="chunks")
    make.fail = once
    with pytest.warns(EmbeddingWarning, match="lost"):
        vectors, rows = embedder.embed_both_kinds(["a", "b " * 20, "c"], on_error="skip")
    assert np.isnan(vectors).all(1).tolist() == [False, True, False]
    assert [len(one) > 0 for one in rows] == [True, False, True]


def test_questions_are_urgent(make: Counting) -> None:
    embedder = make()
    embedder.embed_both_kinds(["a"], prompt_name="query")
    embedder.embed_both_kinds(["a"])
    assert make.engines[0].urgent == [True, False]


ONE_KIND = {
    "embeddings": ({"token_vectors": False}, "has no multi-vectors"),
    "multi-vectors": (
        {"pooling": None, "projector": TokenLayer(names=("proj",)), "adapter_architecture": None, "score": "maxsim"},
        "none of a whole item",
    ),
}


@pytest.mark.parametrize(("fields", "message"), ONE_KIND.values(), ids=ONE_KIND.keys())
def test_a_model_of_one_kind_is_refused(make: Counting, fields: dict[str, Any], message: str) -> None:
    row = replace(JINA_V4, name="one kind", vectors_before={}, **fields)
    with pytest.raises(ConfigError, match=message):
        make(row=row).embed_both_kinds(["a"])
