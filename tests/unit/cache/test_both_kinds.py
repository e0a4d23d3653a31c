"""Both kinds of vectors by a cache: entries as of two calls, and one prompt for an item that lacks both."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.images import noise
from tests.support.in_memory import in_memory, write_folder
from tests.unit.cache.test_embedder import Memory, computed
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.cache.embedder import CachedEmbedder
from vllm_jina_embed.errors import EmbeddingWarning, InputError
from vllm_jina_embed.prompts.base import Prompt

ITEMS: list[Any] = ["a", noise(40, 30, 1), "b", [noise(30, 30, 2), noise(30, 30, 3)], "a"]


class Make:
    """Makes embedders with one store in front of engines in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, Memory()
        self.engines: list[FakeEngine] = []
        self.made: list[JinaEmbedder] = []
        self.fail: Any = lambda prompt: None
        self.known = 0

    def __call__(self, *, multi_vectors: bool = True, **settings: Any) -> CachedEmbedder:
        self.made.append(in_memory(self.engines, fail=lambda prompt: self.fail(prompt))(self.folder, **settings))
        return CachedEmbedder(self.made[-1], self.store, multi_vectors=multi_vectors)

    def take(self) -> int:
        """Return how many prompts were computed since the last time."""
        before, self.known = self.known, computed(self.engines)
        return self.known - before


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    maker = Make(write_folder(tmp_path / "checkpoint"))
    yield maker
    for embedder in maker.made:
        embedder.close()


def bits(pair: tuple[Any, list[np.ndarray]]) -> tuple[bytes, list[bytes]]:
    return pair[0].tobytes(), [rows.tobytes() for rows in pair[1]]


async def test_entries_are_those_of_two_calls(make: Make) -> None:
    """The same keys with the same bytes; so stores of before are read, and earlier versions read these."""
    embedder = make()
    both = embedder.embed_both_kinds(ITEMS)
    assert make.take() == 4  # of two equal items one
    new, make.store.values = make.store.values, {}
    single, multi = embedder.embed(ITEMS), embedder.embed_multi_vector(ITEMS)
    assert make.take() == 8
    assert make.store.values == new
    assert len(new) == 8
    assert bits(both) == bits((single, multi))
    assert bits(both) == bits(embedder.embed_both_kinds(ITEMS)) == bits(await embedder.aembed_both_kinds(ITEMS))
    assert bits(both) == bits(embedder.embedder.embed_both_kinds(ITEMS))
    assert make.take() == 5  # by the last call alone, which has no store


@pytest.mark.parametrize("awaited", [False, True])
async def test_only_what_is_missing_is_asked(make: Make, awaited: bool) -> None:
    """One has its embedding, one its rows, one both and one neither; an own size has own embeddings."""
    embedder = make()
    embedder.embed(["single", "complete"])
    embedder.embed_multi_vector(["multi", "complete"])
    assert make.take() == 4
    items = ["single", "multi", "complete", "neither"]
    got = await embedder.aembed_both_kinds(items) if awaited else embedder.embed_both_kinds(items)
    assert make.take() == 3
    assert bits(got) == bits(embedder.embedder.embed_both_kinds(items))
    make.take()
    shorter = embedder.embed_both_kinds(items, dimensions=16, normalize=False)
    assert make.take() == 4  # their rows are known
    assert bits(shorter) == bits(embedder.embedder.embed_both_kinds(items, dimensions=16, normalize=False))


def test_without_multi_vectors_in_the_store_embeddings_are_kept(make: Make) -> None:
    """Rows are computed each time, with the embedding where that is not known."""
    embedder = make(multi_vectors=False)
    embedder.embed(["a"])
    make.take()
    got = embedder.embed_both_kinds(["a", "b"])
    assert make.take() == 2
    assert len(make.store.values) == 2
    assert bits(got) == bits(embedder.embedder.embed_both_kinds(["a", "b"]))
    make.take()
    embedder.embed(["a", "b"])
    assert make.take() == 0


@pytest.mark.parametrize("settings", [{"long_text": "chunks", "max_length": 24}, {"fusion": "mean"}])
def test_kinds_of_other_prompts_are_kept_as_those_of_two_calls(make: Make, settings: dict[str, Any]) -> None:
    """A text in chunks is cut for its rows alone, and only their entry says so."""
    items = ["a", "a long text in chunks " * 9, noise(40, 30, 1)]
    embedder = make(**settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both, asked = embedder.embed_both_kinds(items), make.take()
        new, make.store.values = make.store.values, {}
        two = embedder.embed(items), embedder.embed_multi_vector(items)
    assert make.store.values == new
    assert bits(both) == bits(two)
    assert asked == make.take()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if "long_text" in settings:
            embedder.embed(items)


def test_bad_items_have_neither_and_are_not_kept(make: Make, tmp_path: Path) -> None:
    embedder = make()

    def refuse(prompt: Prompt) -> Exception | None:
        return InputError("refused.") if len(prompt.token_ids) > 15 else None

    make.fail = refuse
    items = ["a", b"no image", "b " * 20, "c", tmp_path / "none.png", "b " * 20]
    with pytest.warns(EmbeddingWarning, match="4 of 6") as told:
        vectors, rows = embedder.embed_both_kinds(items, on_error="skip")
    assert told[0].filename == __file__
    assert np.isnan(vectors).all(1).tolist() == [False, True, True, False, True, True]
    assert [len(one) > 0 for one in rows] == [True, False, False, True, False, False]
    assert len(make.store.values) == 4


def test_a_cut_text_is_told_of_hits_too(make: Make) -> None:
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"1 of 2 texts.*positions 1\)"):
            make(max_length=12).embed_both_kinds(["a", "a long text that is cut " * 9])
    with pytest.warns(UserWarning, match=r"1 of 1 texts"):
        make(max_length=12).embed(["a long text that is cut " * 9])
