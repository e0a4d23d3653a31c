"""Late chunks on an engine in memory: means of spans of one prompt's states, at their places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.in_memory import in_memory, write_folder
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.cache.embedder import CachedEmbedder
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.embedding import pipeline
from vllm_jina_embed.embedding.means import of_spans
from vllm_jina_embed.engine.protocol import TokenStates
from vllm_jina_embed.errors import ConfigError, EngineError, InputError
from vllm_jina_embed.prompts.base import Prompt

CHUNKS = ["the quick brown fox", " jumps over", " the lazy dog"]
WIDTH = 64


class Engine(FakeEngine):
    """Gives each token a state that depends on all tokens of the prompt, and notes how many are inside."""

    most_tokens = 0
    inside = 0
    fail_at: Any = staticmethod(lambda prompt: None)

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        self.inside += len(prompt.token_ids)
        self.most_tokens = max(self.most_tokens, self.inside)
        try:
            await self._work(prompt, task, False)
        finally:
            self.inside -= len(prompt.token_ids)
        return TokenStates(token_ids=prompt.token_ids, states=states_of(prompt.token_ids))


def states_of(ids: Any) -> np.ndarray:
    rows = [np.random.default_rng([token, place, sum(ids)]).normal(size=WIDTH) for place, token in enumerate(ids)]
    return np.asarray(rows, dtype=np.float32)


class Make:
    """Makes embedders whose engines live in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engines: list[Engine] = []
        self.made: list[JinaEmbedder] = []
        self.fail: Any = lambda prompt: None

    def __call__(self, **settings: Any) -> JinaEmbedder:
        kind: Any = in_memory([])

        def start(config: Any) -> Engine:
            self.engines.append(Engine(config, fail=lambda prompt: self.fail(prompt)))
            return self.engines[-1]

        kind._pool._start = start
        self.made.append(kind(self.folder, **settings))
        return self.made[-1]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    maker = Make(write_folder(tmp_path / "checkpoint"))
    yield maker
    for embedder in maker.made:
        embedder.close()


def expected(chunks: list[str], role: str = "Passage", dimensions: int = WIDTH) -> np.ndarray:
    """Return the embeddings, not normalised: each chunk's tokens counted by the tokenizer alone."""
    ids = make_tokenizer().encode(f"{role}: {''.join(chunks)}").ids
    texts = [f"{role}: {''.join(chunks[: number + 1])}" for number in range(len(chunks))]
    counts = [len(make_tokenizer().encode(text).ids) for text in texts]
    assert counts[-1] == len(ids)
    parts = np.split(states_of(ids).astype(np.float64), counts[:-1])
    return np.stack([part.mean(0)[:dimensions] for part in parts])


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.mark.parametrize("dimensions", [None, 16])
async def test_each_chunk_has_the_mean_of_its_own_states(make: Make, dimensions: int | None) -> None:
    """Of one prompt per document, in either role; at norm 1, or as pooled."""
    embedder, other = make(), ["a fox", " b"]
    for role, name in (("query", "Query"), ("passage", "Passage")):
        options: Any = {"prompt_name": role, "dimensions": dimensions}
        rows = embedder.embed_late_chunks([CHUNKS, other], **options)
        assert [row.shape for row in rows] == [(3, dimensions or WIDTH), (2, dimensions or WIDTH)]
        for row, chunks in zip(rows, (CHUNKS, other), strict=True):
            assert row.dtype == np.float32
            np.testing.assert_allclose(row, unit(expected(chunks, name, dimensions or WIDTH)), atol=1e-6)
        awaited = await embedder.aembed_late_chunks([CHUNKS, other], **options)
        assert all(np.array_equal(one, two) for one, two in zip(rows, awaited, strict=True))
        (raw,) = embedder.embed_late_chunks([CHUNKS], normalize=False, **options)
        np.testing.assert_allclose(raw, expected(CHUNKS, name, dimensions or WIDTH), atol=1e-6)
    assert embedder.embed_late_chunks([]) == []
    (by_type,) = embedder.embed_late_chunks([CHUNKS], input_type="search_query")
    assert np.array_equal(by_type, embedder.embed_late_chunks([CHUNKS], prompt_name="query")[0])


def test_chunks_have_seen_the_rest_of_their_document(make: Make) -> None:
    """They are not the embeddings of the chunks by themselves."""
    embedder = make()
    (together,) = embedder.embed_late_chunks([CHUNKS])
    apart = [row[0] for row in embedder.embed_late_chunks([[chunk] for chunk in CHUNKS])]
    assert (np.abs((together * np.stack(apart)).sum(1)) < 0.9).all()


def test_a_layer_norm_stands_before_the_cut() -> None:
    states = states_of(range(5))
    got = of_spans(states, (2, 3), 16, layer_norm=True, normalized=False)
    for row, part in zip(got, (states[:2], states[2:]), strict=True):
        mean = part.astype(np.float64).mean(0)
        np.testing.assert_allclose(row, ((mean - mean.mean()) / np.sqrt(mean.var() + 1e-5))[:16], atol=1e-5)


def test_states_of_another_prompt_are_refused() -> None:
    with pytest.raises(EngineError, match="got 4 token states for 5 tokens"):
        of_spans(states_of(range(4)), (2, 3), 16, layer_norm=False, normalized=True)
    with pytest.raises(InputError, match="a chunk's states cancel each other"):
        of_spans(np.zeros((5, 16), np.float32), (2, 3), 16, layer_norm=False, normalized=True)


def test_bad_documents_cost_themselves_alone(make: Make) -> None:
    """Before the engine, by it, and by their length; rows of the others are kept."""
    bad = make_tokenizer().encode("Passage: refused").ids
    make.fail = lambda prompt: InputError("the engine refuses this item") if list(prompt.token_ids) == bad else None
    with pytest.raises(InputError) as caught:
        make(max_length=30).embed_late_chunks([CHUNKS, "text", ["refused"], CHUNKS * 9, ["a", ""]])  # type: ignore[list-item]
    assert caught.value.positions == (1, 2, 3, 4)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [f"documents[{n}]" for n in (1, 2, 3, 4)]
    rows = caught.value.embeddings
    assert [row.shape for row in rows] == [(3, WIDTH), (0, WIDTH), (0, WIDTH), (0, WIDTH), (0, WIDTH)]
    with pytest.warns(UserWarning, match="2 of 2 items"):
        make(on_error="skip").embed_late_chunks([[], "text"])  # type: ignore[list-item]


def test_states_that_are_not_finite_are_that_document_s_error(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def token_states(self: Any, prompt: Prompt, *, task: str) -> TokenStates:
        return TokenStates(token_ids=prompt.token_ids, states=states_of(prompt.token_ids) * np.float32("nan"))

    monkeypatch.setattr(Engine, "token_states", token_states)
    for normalize in (True, False):
        with pytest.raises(InputError, match=r"documents\[0\]: "):
            make().embed_late_chunks([CHUNKS], normalize=normalize)


def test_a_model_that_pools_one_token_has_none(make: Make) -> None:
    """It is told before anything starts, with the model's name."""
    for pooling, words in (("last_token", "last token"), ("first_token", "first token")):
        embedder = make(row=replace(JINA_V4, name=pooling, pooling=pooling))  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=f"{embedder.model} pools by the {words}, so late chunking means nothing"):
            embedder.embed_late_chunks([CHUNKS])
    assert make.engines == []


def test_they_are_no_multi_vectors(make: Make) -> None:
    """States that no projector has seen would be cut to its length."""
    with pytest.raises(ConfigError, match="multi_vector=True: late chunks have one embedding each"):
        make().embed_late_chunks([CHUNKS], multi_vector=True)
    assert make.engines == []


def test_they_are_neither_fused_nor_cached(make: Make, tmp_path: Path) -> None:
    fused = make(fusion="mean").embed_late_chunks([CHUNKS])
    with CachedEmbedder(make(), tmp_path / "a.sqlite") as cached:
        first, second = (cached.embed_late_chunks([CHUNKS])[0] for _ in range(2))
        assert len(cached.store) == 0  # type: ignore[arg-type]
    assert np.array_equal(first, second)
    assert np.array_equal(first, fused[0])


def test_the_states_in_memory_are_bounded(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many documents a call has."""
    monkeypatch.setattr(pipeline, "STATES", 60)
    embedder = make()
    rows = embedder.embed_late_chunks([CHUNKS] * 40)
    assert len(rows) == 40
    count = len(make_tokenizer().encode(f"Passage: {''.join(CHUNKS)}").ids)
    assert count < make.engines[0].most_tokens <= 60
