"""XLM-RoBERTa in bge-m3's layout: dense and token vectors against transformers; planted mistakes fall outside."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.real.test_faithful import FLOAT32_GATE
from tests.support.cells import Cells
from tests.support.images import noise
from tests.support.planted import tell_vllm
from tests.support.reference import distance
from tests.support.servers import plain_text, served
from tests.support.unigram import segment
from tests.support.xlm_roberta import HIDDEN, POSITIONS, XlmReference, make_xlm_roberta, unit
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.checkpoints.table.bge import XLM_ROBERTA
from vllm_jina_embed.engine.plugin_contract import POOLING_KEY
from vllm_jina_embed.engine.pool import running_engines
from vllm_jina_embed.errors import ConfigError, EngineError, InputError
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.llama_index import VllmJinaEmbedding

pytestmark = [pytest.mark.real, pytest.mark.wide]

FLOAT32 = {"engine_kwargs": {"dtype": "float32"}}
LONGEST = POSITIONS - 2
TEXTS = [
    "a",
    "the quick brown fox",
    "Ein wunderschöner Sonnenuntergang am Strand",
    "浜辺に沈む美しい夕日 🙂",
    "  two  spaces,\nand a line",
    "\u200b",
    "def add(a, b): return a + b",
]
HOSTILE = ["<s> hi </s>", "a<mask>b <pad>", "</s></s>", "<unk>", "\uff1cs\uff1e hi", " <s>", "<s"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_xlm_roberta(tmp_path_factory.mktemp("bge") / "checkpoint")


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> XlmReference:
    return XlmReference(checkpoint)


@pytest.fixture(scope="module")
def embedder(checkpoint: Path) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with JinaEmbedder(checkpoint, **FLOAT32) as embedder:
        yield embedder


def worst(got: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Return the largest 1 - cosine over all rows of all items, after their shapes."""
    assert [rows.shape for rows in got] == [rows.shape for rows in expected]
    return float(np.max([distance(one, other) for one, other in zip(got, expected, strict=True)]))


def of_tokens(reference: XlmReference, count: int) -> str:
    """Return a text of exactly ``count`` tokens with both ends: "a" is one, and "a b" another."""
    text = " ".join(["a"] * (count - 2))
    assert len(reference.ids(text)) == count
    return text


async def test_dense_and_token_vectors_of_mixed_lengths_at_once(
    embedder: JinaEmbedder, reference: XlmReference, cells: Cells
) -> None:
    """Texts of 3 to all tokens, both roles and both kinds of vector in one batch of one engine."""
    lengths = np.random.default_rng(0).integers(3, LONGEST, 60).tolist()
    texts = [*TEXTS, *(of_tokens(reference, count) for count in (*lengths, LONGEST))]
    dense = [embedder.aembed(texts, prompt_name=role, dimensions=HIDDEN) for role in ("query", "passage")]
    multi = [embedder.aembed_multi_vector(texts, prompt_name=role) for role in ("query", "passage")]
    answers: list[Any] = await asyncio.gather(*dense, *multi)
    expected = np.stack([reference.embed(text) for text in texts])
    for got in answers[:2]:
        assert got.shape == (len(texts), HIDDEN)
        assert got.dtype == np.float32
        assert cells.measure(XLM_ROBERTA, "dense", texts, got, expected) <= FLOAT32_GATE
        np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
    rows = [reference.multi_vector(text) for text in texts]
    for got in answers[2:]:
        assert cells.measure(XLM_ROBERTA, "multi", texts, got, rows) <= FLOAT32_GATE
        np.testing.assert_allclose(np.linalg.norm(np.concatenate(got), axis=1), 1, atol=1e-6)


def test_planted_mistakes_are_far_outside(embedder: JinaEmbedder, reference: XlmReference, cells: Cells) -> None:
    """Mean pooling, raw rows without their ends, positions from 0, 1 or 3, and texts with a role before them."""
    texts = TEXTS[1:5]
    dense, multi = embedder.embed(texts), embedder.embed_multi_vector(texts)
    for text, vector, rows in zip(texts, dense, multi, strict=True):
        ids = reference.ids(text)
        states = reference.states(ids)
        mistakes = {
            "mean": states.mean(0),
            "last token": states[-1],
            "no ends": reference.states(ids[1:-1])[0],
            "no start": reference.states(ids[1:])[0],
            "no end": reference.states(ids[:-1])[0],
            "a role": reference.states(reference.ids("query: " + text))[0],
            **{f"position {first}": reference.states(ids, first_position=first)[0] for first in (0, 1, 3)},
        }
        gaps = {name: distance(vector, unit(wrong)) for name, wrong in mistakes.items()}
        assert cells.planted(XLM_ROBERTA, gaps) > 100 * FLOAT32_GATE, gaps
        assert distance(vector, unit(reference.states(ids, first_position=2)[0])) <= FLOAT32_GATE
        inner = reference.states(ids[1:-1])
        assert rows.shape[0] == len(inner) + 2
        assert distance(rows[1:-1], inner) > 100 * FLOAT32_GATE
        for first in (0, 1, 3):
            assert distance(rows, reference.states(ids, first_position=first)) > 100 * FLOAT32_GATE


def test_hostile_text_stays_text(embedder: JinaEmbedder, reference: XlmReference) -> None:
    """Special tokens in a text are what sentencepiece makes of them; switching added tokens off would not do."""
    plain = reference.tokenizer.backend_tokenizer
    expected = [[0, *segment(plain, unicodedata.normalize("NFKC", text)), 2] for text in HOSTILE]
    states = [reference.states(ids) for ids in expected]
    assert worst(embedder.embed_multi_vector(HOSTILE), [unit(rows) for rows in states]) <= FLOAT32_GATE
    dense = embedder.embed(HOSTILE)
    assert distance(dense, np.stack([unit(rows[0]) for rows in states])) <= FLOAT32_GATE
    believed = reference.embed(HOSTILE[0])  # transformers reads them as special tokens
    assert distance(dense[0], believed) > 100 * FLOAT32_GATE


@pytest.mark.parametrize("more", [1, 2, 300])
def test_a_text_too_long_loses_the_end_that_was_asked_for(
    checkpoint: Path, embedder: JinaEmbedder, reference: XlmReference, more: int
) -> None:
    """Both special tokens are kept; at the limit nothing is lost."""
    text = "the quick " + of_tokens(reference, LONGEST - len(reference.ids("the quick")) + 2 + more)
    ids = reference.ids(text)
    assert len(ids) == LONGEST + more
    for truncate, kept in (("end", [*ids[: LONGEST - 1], 2]), ("start", [0, *ids[-(LONGEST - 1) :]])):
        with JinaEmbedder(checkpoint, truncate=truncate, **FLOAT32) as other:  # type: ignore[arg-type]
            with pytest.warns(UserWarning, match=rf"1 of 1 texts .* lost their {truncate}"):
                got = other.embed([text])
            assert distance(got, unit(reference.states(kept)[0])) <= FLOAT32_GATE
    message = rf"items\[1\]: got {LONGEST + more} tokens; max_length is {LONGEST}"
    with JinaEmbedder(checkpoint, truncate="error", **FLOAT32) as other, pytest.raises(InputError, match=message):
        other.embed(["a", text])
    with JinaEmbedder(checkpoint, max_length=20, **FLOAT32) as other, pytest.warns(UserWarning, match="lost their end"):
        assert distance(other.embed([text]), unit(reference.states([*ids[:19], 2])[0])) <= FLOAT32_GATE


def test_one_image_is_named_and_the_rest_is_kept(embedder: JinaEmbedder, reference: XlmReference) -> None:
    """In dense and in token vectors."""
    items: list[Any] = ["a", noise(20, 20, 1), "the quick brown fox"]
    for call in (embedder.embed, embedder.embed_multi_vector):
        with pytest.raises(InputError, match=r"items\[1\]: got an image; this checkpoint takes texts only") as caught:
            call(items)
        assert caught.value.positions == (1,)
    with pytest.raises(InputError) as caught:
        embedder.embed(items)
    rows: Any = caught.value.embeddings
    assert np.isnan(rows[1]).all()
    assert distance(rows[[0, 2]], np.stack([reference.embed(items[0]), reference.embed(items[2])])) <= FLOAT32_GATE


def test_both_frameworks_on_the_same_engine(checkpoint: Path, embedder: JinaEmbedder, reference: XlmReference) -> None:
    """The adapters know nothing of this model."""
    embedder.embed(["start"])
    before = running_engines()
    lang = VllmJinaEmbeddings(model=checkpoint, **FLOAT32)
    llama = VllmJinaEmbedding(model_name=checkpoint, **FLOAT32)
    expected = reference.embed("a question")
    for got in (
        lang.embed_query("a question"),
        lang.embed_documents(["a question"])[0],
        llama.get_query_embedding("a question"),
        llama.get_text_embedding("a question"),
    ):
        assert distance(np.array(got), expected) <= FLOAT32_GATE
    assert running_engines() == before
    lang.close()
    llama.close()


def test_scores_are_those_of_the_reference(embedder: JinaEmbedder, reference: XlmReference) -> None:
    """MaxSim over all tokens."""
    queries, items = TEXTS[:2], TEXTS[2:5]
    got = embedder.score(queries, items, multi_vector=True)
    expected = [
        [(reference.multi_vector(one) @ reference.multi_vector(other).T).max(1).sum() for other in items]
        for one in queries
    ]
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_what_this_checkpoint_cannot_honour_is_refused(checkpoint: Path, embedder: JinaEmbedder) -> None:
    """Before anything is computed."""
    for wrong in ({"dimensions": 64}, {"task": "code"}, {"max_pixels": 100_000}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            JinaEmbedder(checkpoint, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="prompt_name='document'"):
        embedder.embed(["a"], prompt_name="document")  # type: ignore[arg-type]


@pytest.mark.wide
def test_served_vectors_are_the_same(checkpoint: Path, reference: XlmReference, tmp_path: Path) -> None:
    """By this package's server of either kind, and by a plain one that gives raw token states."""
    made = [
        (served(str(checkpoint), tmp_path / "dense", "--dtype", "float32"), None, False),
        (served(str(checkpoint), tmp_path / "tokens", "--dtype", "float32", "--multi-vector"), None, True),
        (plain_text(checkpoint, tmp_path / "plain"), checkpoint, True),
    ]
    texts = [*TEXTS, *HOSTILE[2:4], of_tokens(reference, LONGEST)]
    with JinaEmbedder(checkpoint, **FLOAT32) as local:
        dense, multi = local.embed(texts), local.embed_multi_vector(texts)
    for one, model, has_tokens in made:
        with one as server, JinaEmbedder.from_server(server.url, model=model) as embedder:
            assert embedder.checkpoint.row.name == "xlm-roberta"
            assert distance(embedder.embed(texts), dense) <= FLOAT32_GATE
            if has_tokens:
                assert worst(embedder.embed_multi_vector(texts), multi) <= FLOAT32_GATE
            with pytest.raises(InputError, match=r"items\[0\]: got an image"):
                embedder.embed([noise(9, 9, 1)])


@pytest.mark.wide
def test_weights_in_a_bin_file_as_they_are_published(tmp_path: Path) -> None:
    """bge-m3 itself has no safetensors."""
    folder = make_xlm_roberta(tmp_path / "published", weights="bin", seed=1)
    reference = XlmReference(folder)
    with JinaEmbedder(folder, **FLOAT32) as embedder:
        assert distance(embedder.embed(TEXTS), np.stack([reference.embed(text) for text in TEXTS])) <= FLOAT32_GATE


@pytest.mark.wide
def test_a_checkpoint_of_another_pooling_does_not_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was trained for the mean would give vectors of the wrong kind: its files say so, and so do its vectors.

    vLLM is told of another pooling here, so that the check at the start has something to find.
    """
    folder = make_xlm_roberta(tmp_path / "mean", pooling="mean_tokens")
    with pytest.raises(ConfigError, match="has the pooling mean"):
        JinaEmbedder(folder, **FLOAT32)
    tell_vllm(monkeypatch, {POOLING_KEY: "mean"})
    folder = make_xlm_roberta(tmp_path / "cls")
    with JinaEmbedder(folder, **FLOAT32) as embedder, pytest.raises(EngineError, match="first token"):
        embedder.embed(["a"])
