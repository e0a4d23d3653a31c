"""Embeddings of texts in chunks, on an engine in memory: the stated mean, and one item as far as callers can tell."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine, raw_of, vector_of, wait_until
from tests.support.images import noise
from tests.support.in_memory import in_memory, write_folder
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.cache.embedder import CachedEmbedder
from vllm_jina_embed.embedding.means import of_chunks
from vllm_jina_embed.embedding.pipeline import QUESTIONS
from vllm_jina_embed.errors import InputError
from vllm_jina_embed.prompts.base import Prompt

LIMIT = 24
LONG = "the quick brown fox jumps over the lazy dog " * 12


class Make:
    """Makes embedders of chunks whose engines live in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engines: list[FakeEngine] = []
        self.made: list[JinaEmbedder] = []
        self.fail: Any = lambda prompt: None

    def __call__(self, **settings: Any) -> JinaEmbedder:
        options = {"long_text": "chunks", "max_length": LIMIT, **settings}
        self.made.append(in_memory(self.engines, fail=lambda prompt: self.fail(prompt))(self.folder, **options))
        return self.made[-1]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    maker = Make(write_folder(tmp_path / "checkpoint"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is cut
        yield maker
    for embedder in maker.made:
        embedder.close()


def parts_of(text: str, role: str = "Passage") -> list[tuple[Prompt, int]]:
    """Return the prompts of the chunks and their weights, by the tokenizer alone."""
    ids = make_tokenizer().encode(f"{role}: {text}").ids
    head = make_tokenizer().encode(f"{role}:").ids
    assert ids[: len(head)] == head
    own, room = ids[len(head) :], LIMIT - len(head)
    chunks = [own[start : start + room] for start in range(0, len(own), room)]
    return [(Prompt(token_ids=(*head, *chunk)), len(chunk)) for chunk in chunks]


def expected(text: str, role: str = "Passage", dimensions: int = 64) -> np.ndarray:
    """Return the mean of unit vectors weighted by tokens, at norm 1, written apart from the package."""
    total = sum(count * vector_of(prompt, dimensions).astype(np.float64) for prompt, count in parts_of(text, role))
    return np.asarray(total / np.sqrt((np.asarray(total) ** 2).sum()))


@pytest.mark.parametrize("dimensions", [None, 16])
def test_a_long_text_has_the_weighted_mean_of_its_chunks(make: Make, dimensions: int | None) -> None:
    """In both roles, at every size, among others; a text that fits has its own vector."""
    embedder = make()
    assert len({count for _, count in parts_of(LONG)}) == 2  # so that equal weights would be another mean
    for role, name in (("query", "Query"), ("passage", "Passage")):
        items = ["a", LONG, noise(30, 40), LONG[100:]]
        rows = embedder.embed(items, prompt_name=role, dimensions=dimensions)  # type: ignore[arg-type]
        for place in (1, 3):
            np.testing.assert_allclose(rows[place], expected(items[place], name, dimensions or 64), atol=1e-6)  # type: ignore[arg-type]
        plain = make(long_text=None).embed(items[:3:2], prompt_name=role, dimensions=dimensions)  # type: ignore[arg-type]
        np.testing.assert_array_equal(rows[[0, 2]], plain)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert rows.dtype == np.float32


def test_other_means_are_other_vectors(make: Make) -> None:
    """What the test above compares would find them."""
    (row,) = make().embed([LONG])
    vectors = np.stack([vector_of(prompt, 64) for prompt, _ in parts_of(LONG)])
    weights = np.array([count for _, count in parts_of(LONG)])
    wrong = {
        "equal weights": vectors.mean(0),
        "with the template's tokens": (vectors * (weights + 2)[:, None]).sum(0),
        "the first chunk": vectors[0],
        "without the last": (vectors[:-1] * weights[:-1, None]).sum(0),
    }
    for name, other in wrong.items():
        assert row @ other / np.linalg.norm(other) < 1 - 1e-6, name


def test_vectors_that_are_not_normalised_are_averaged_as_they_are(make: Make) -> None:
    """As a vLLM server does with use_activation=false."""
    (row,) = make(normalize=False).embed([LONG])
    parts = parts_of(LONG)
    mean = sum(count * raw_of(prompt, 64).astype(np.float64) for prompt, count in parts) / sum(n for _, n in parts)
    np.testing.assert_allclose(row, mean, rtol=1e-5)
    assert abs(np.linalg.norm(row) - 1) > 0.1


async def test_every_call_and_both_adapters_do_it(make: Make) -> None:
    pytest.importorskip("langchain_core")
    pytest.importorskip("llama_index.core")
    from vllm_jina_embed.langchain import VllmJinaEmbeddings
    from vllm_jina_embed.llama_index import VllmJinaEmbedding

    embedder, wanted = make(), expected(LONG)
    query = expected(LONG, "Query")
    langchain, llama = VllmJinaEmbeddings(embedder=embedder), VllmJinaEmbedding(embedder=embedder)
    rows = [
        embedder.embed_passages([LONG])[0],
        next(embedder.embed_stream([LONG])),
        (await embedder.aembed([LONG]))[0],
        langchain.embed_documents([LONG])[0],
        (await langchain.aembed_documents([LONG]))[0],
        llama.get_text_embedding(LONG),
        (await llama.aget_text_embedding_batch([LONG]))[0],
    ]
    np.testing.assert_allclose(rows, [wanted] * len(rows), atol=1e-6)
    queries = [embedder.embed_queries([LONG])[0], langchain.embed_query(LONG), llama.get_query_embedding(LONG)]
    np.testing.assert_allclose(queries, [query] * 3, atol=1e-6)
    assert embedder.score([LONG], [LONG])[0, 0] == pytest.approx(float(query @ wanted), abs=1e-6)


def test_the_text_of_a_fused_item_is_whole_too(make: Make) -> None:
    image = noise(30, 40)
    row, alone = make(fusion="mean").embed([{"text": LONG, "image": image}, image])
    middle = expected(LONG) + alone
    np.testing.assert_allclose(row, middle / np.linalg.norm(middle), atol=1e-6)


def test_a_cut_of_multi_vectors_is_told_as_ever(make: Make) -> None:
    with pytest.warns(UserWarning, match="1 of 2 texts were longer"):
        rows = make().embed_multi_vector(["a", LONG])
    assert len(rows[1]) == LIMIT


def test_an_error_of_one_chunk_is_that_of_its_item(make: Make) -> None:
    """Once, at its place; the others are computed."""
    bad = parts_of(LONG)[2][0].token_ids
    make.fail = lambda prompt: InputError("the engine refuses this item") if prompt.token_ids == bad else None
    with pytest.raises(InputError) as caught:
        make().embed(["a", LONG, LONG[100:]])
    assert str(caught.value) == "items[1]: the engine refuses this item"
    np.testing.assert_allclose(caught.value.embeddings[2], expected(LONG[100:]), atol=1e-6)


def test_chunks_that_cancel_each_other_have_no_mean() -> None:
    """An error instead of a direction that means nothing; without normalisation the mean is what it is."""
    side = np.asarray([0.6, 0.8], dtype=np.float32)
    for pair, weights in (((side, -side), (3, 3)), ((side, -side / 3), (1, 3))):
        with pytest.raises(InputError, match="of its chunks cancel each other: their mean has the L2 norm"):
            of_chunks(np.stack(pair), weights, normalized=True)
        np.testing.assert_allclose(of_chunks(np.stack(pair), weights, normalized=False), 0, atol=1e-7)
    with pytest.raises(InputError, match="L2 norm nan"):
        of_chunks(np.stack([side, side * np.float32("nan")]), (1, 1), normalized=True)


def test_a_long_text_is_one_entry_of_a_cache_and_not_that_of_a_cut_one(make: Make, tmp_path: Path) -> None:
    chunked, cut = make(), make(long_text=None)
    with CachedEmbedder(chunked, tmp_path / "a.sqlite") as cached:
        first = cached.embed([LONG])
        count = len(make.engines[0].prompts)
        assert np.array_equal(cached.embed([LONG]), first)
        assert (len(cached.store), len(make.engines[0].prompts)) == (1, count)  # type: ignore[arg-type]
    with CachedEmbedder(cut, tmp_path / "a.sqlite") as cached, pytest.warns(UserWarning, match="lost their end"):
        assert not np.allclose(cached.embed([LONG]), first)
    assert chunked.fingerprint == f"{cut.fingerprint}|long_text=chunks"


def test_the_chunks_of_a_text_are_no_more_than_the_engine_takes() -> None:
    """Beside other items: they count as many."""
    from tests.unit.embedding.test_pipeline import BUILDER
    from vllm_jina_embed.embedding.pipeline import Plan, embed_items
    from vllm_jina_embed.inputs import items as inputs

    plan = Plan(task="retrieval", role="passage", dimensions=16, max_length=LIMIT, truncate="end", long_text="chunks")
    count = len(parts_of(LONG))
    engine = FakeEngine(in_flight=count, delay=lambda prompt: 0.01)
    items = inputs.good(inputs.texts([LONG, "a", LONG, "b"]))
    outcome = asyncio.run(embed_items(items, engine=engine, builder=BUILDER, plan=plan, progress=lambda _: None))
    assert (engine.most_at_once, len(engine.prompts), outcome.errors) == (count, 2 * count + 2, [])


async def test_cancelling_cancels_every_chunk(make: Make) -> None:
    from tests.unit.embedding.test_pipeline import BUILDER
    from vllm_jina_embed.embedding.pipeline import Plan, embed_items
    from vllm_jina_embed.inputs import items as inputs

    plan = Plan(task="retrieval", role="passage", dimensions=16, max_length=LIMIT, truncate="end", long_text="chunks")
    engine, count = FakeEngine(delay=lambda prompt: 60), len(parts_of(LONG))
    items = inputs.good(inputs.texts([LONG]))
    task = asyncio.create_task(embed_items(items, engine=engine, builder=BUILDER, plan=plan, progress=lambda _: None))
    await asyncio.to_thread(wait_until, lambda: len(engine.prompts) == count)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.cancelled == count


@pytest.mark.parametrize("prompt_name", ["query", "passage"])
def test_a_text_of_many_chunks_is_bulk_work(make: Make, prompt_name: Any) -> None:
    """No more of them are in the engine than it has slots for, and none overtakes others."""
    embedder = make()
    embedder.embed(["a"])
    engine = make.engines[0]
    engine.in_flight = 8
    embedder.embed([LONG * 9], prompt_name=prompt_name)
    assert engine.most_at_once == 8
    assert len(engine.urgent) > 2 * QUESTIONS
    assert not any(engine.urgent)


def test_questions_are_urgent_up_to_so_many_prompts(make: Make) -> None:
    embedder = make()
    count = len(parts_of(LONG, "Query"))
    embedder.embed(["a", LONG, *["b"] * (QUESTIONS - count - 1)], prompt_name="query")
    assert make.engines[0].urgent == [True] * QUESTIONS
    embedder.embed([LONG] * 9, prompt_name="query")
    later = make.engines[0].urgent[QUESTIONS:]
    assert later.count(True) == QUESTIONS // count * count
    assert len(later) == 9 * count
