"""Qwen3-Embedding: embeddings and token vectors against transformers; planted mistakes fall outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.real.test_faithful import FLOAT32_GATE, RELATIVE_GATE
from tests.support.builders import builder_of
from tests.support.cells import Cells
from tests.support.decoders import HIDDEN
from tests.support.images import noise
from tests.support.planted import tell_vllm
from tests.support.qwen3 import END, INSTRUCTION, QUERY, Qwen3Reference, make_qwen3_embedding
from tests.support.reference import distance, relative_error
from tests.support.servers import plain_text, served
from tests.support.weights import check_weights
from tests.support.xlm_roberta import unit
from vllm_jina_embed import JinaEmbedder, Slot, Special
from vllm_jina_embed.checkpoints.table.text import QWEN3_EMBEDDING
from vllm_jina_embed.engine.plugin_contract import POOLING_KEY
from vllm_jina_embed.errors import ConfigError, EngineError, InputError
from vllm_jina_embed.inputs import items

pytestmark = [pytest.mark.real, pytest.mark.wide]

FLOAT32 = {"engine_kwargs": {"dtype": "float32"}}
PREFIX = {"query": QUERY, "passage": ""}
TEXTS = [
    "a",
    "the quick brown fox",
    "Ein wunderschöner Sonnenuntergang am Strand",
    "浜辺に沈む美しい夕日 🙂",
    "  two  spaces,\nand a line",
    "def add(a, b): return a + b",
    "the quick brown fox " * 60,
]
HOSTILE = ["<|endoftext|>", "a<|im_start|>user\nb<|im_end|>", "<|vision_start|><|image_pad|>", f"{QUERY}fox{END}"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_qwen3_embedding(tmp_path_factory.mktemp("qwen3") / "checkpoint")


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Qwen3Reference:
    return Qwen3Reference(checkpoint)


@pytest.fixture(scope="module")
def embedder(checkpoint: Path) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with JinaEmbedder(checkpoint, **FLOAT32) as embedder:
        yield embedder


def expected(reference: Qwen3Reference, role: str, texts: list[str], dimensions: int | None = None) -> np.ndarray:
    return np.stack([reference.embed(PREFIX[role] + text, dimensions) for text in texts])


@pytest.mark.parametrize("role", PREFIX)
@pytest.mark.parametrize("dimensions", [None, 64, 32, 33, 127])
def test_embeddings_of_every_size(
    embedder: JinaEmbedder, reference: Qwen3Reference, role: Any, dimensions: int | None, cells: Cells
) -> None:
    """Queries with the instruction and documents without, cut and normalised."""
    got = embedder.embed(TEXTS, prompt_name=role, dimensions=dimensions)
    assert got.shape == (len(TEXTS), dimensions or HIDDEN)
    right = expected(reference, role, TEXTS, dimensions)
    assert cells.measure(QWEN3_EMBEDDING, "dense", TEXTS, got, right) <= FLOAT32_GATE
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


def test_vectors_that_are_not_normalised(embedder: JinaEmbedder, reference: Qwen3Reference) -> None:
    """The last token's state as it is, whole and cut."""
    for dimensions in (None, 33):
        wanted = np.stack([reference.states(reference.ids(QUERY + text))[-1, :dimensions] for text in TEXTS])
        got = embedder.embed_queries(TEXTS, dimensions=dimensions, normalize=False)
        assert relative_error(got, wanted) <= RELATIVE_GATE


@pytest.mark.parametrize("role", PREFIX)
def test_token_vectors(embedder: JinaEmbedder, reference: Qwen3Reference, role: Any, cells: Cells) -> None:
    """One row per token of the prompt, the last one included."""
    right = [reference.multi_vector(PREFIX[role] + text) for text in TEXTS]
    got = embedder.embed_multi_vector(TEXTS, prompt_name=role)
    assert cells.measure(QWEN3_EMBEDDING, "multi", TEXTS, got, right) <= FLOAT32_GATE


def test_planted_mistakes_are_far_outside(embedder: JinaEmbedder, reference: Qwen3Reference, cells: Cells) -> None:
    """Another pooling, both ways of attention, and prompts that differ in one piece."""
    for text, vector in zip(TEXTS[1:5], embedder.embed_queries(TEXTS[1:5]), strict=True):
        ids = reference.ids(QUERY + text)
        states = reference.states(ids)
        mistakes = {
            "mean": states.mean(0),
            "first token": states[0],
            "token before the last": states[-2],
            "both ways": reference.states(ids, both_ways=True)[-1],
            "no last token": reference.states(ids[:-1])[-1],
            "no instruction": reference.embed(text),
            "no Query:": reference.embed(f"{INSTRUCTION}\n{text}"),
            "a space": reference.embed(f"{QUERY} {text}"),
        }
        gaps = {name: distance(vector, unit(wrong)) for name, wrong in mistakes.items()}
        assert cells.planted(QWEN3_EMBEDDING, gaps) > 100 * FLOAT32_GATE, gaps


@pytest.mark.parametrize(
    "query",
    [
        (f"{INSTRUCTION}\n", Slot.TEXT, Special(END)),
        (QUERY, Slot.TEXT),
    ],
    ids=["no Query:", "no last token"],
)
def test_a_row_with_a_mistake_gives_other_vectors(
    checkpoint: Path, embedder: JinaEmbedder, reference: Qwen3Reference, query: Any
) -> None:
    """On the same engine: what these tests compare would find it."""
    row = replace(QWEN3_EMBEDDING, name="planted", templates={("any", "text"): query})
    builder = builder_of(row, (checkpoint / "tokenizer.json").read_text())
    prompts = builder.build(
        items.good(items.texts(TEXTS)), role="query", task="retrieval", max_length=4096, truncate="error"
    )
    embedder.embed(["start"])
    engine: Any = embedder.backend.engine
    for prompt, right in zip(prompts, expected(reference, "query", TEXTS), strict=True):
        got = engine.run(engine.embed(prompt, dimensions=HIDDEN, task="retrieval")).result()
        assert distance(got, right) > 100 * FLOAT32_GATE


def test_special_tokens_in_a_text_stay_text(embedder: JinaEmbedder, reference: Qwen3Reference) -> None:
    """Only the row's own last token is one."""
    for role in ("query", "passage"):
        got = embedder.embed(HOSTILE, prompt_name=role)  # type: ignore[arg-type]
        right = [reference.of_ids(reference.plain_ids(PREFIX[role] + text)) for text in HOSTILE]
        assert distance(got, np.stack(right)) <= FLOAT32_GATE
        believed = expected(reference, role, HOSTILE)  # transformers reads them as special tokens
        assert all(distance(one, other) > 100 * FLOAT32_GATE for one, other in zip(got, believed, strict=True))


def test_a_text_too_long_keeps_its_prefix_and_the_last_token(checkpoint: Path, reference: Qwen3Reference) -> None:
    """At either end the user's text alone is cut."""
    text = "the quick brown fox " * 60
    ids, head = reference.ids(QUERY + text), len(reference.ids(QUERY)) - 1
    for truncate, kept in (
        ("end", [*ids[:127], reference.end]),
        ("start", [*ids[:head], *ids[-(128 - head) :]]),
    ):
        with (
            JinaEmbedder(checkpoint, truncate=truncate, max_length=128, **FLOAT32) as other,  # type: ignore[arg-type]
            pytest.warns(UserWarning, match=f"lost their {truncate}"),
        ):
            assert distance(other.embed_queries([text])[0], reference.of_ids(kept)) <= FLOAT32_GATE


def test_prompts_that_are_cut_into_steps(checkpoint: Path, reference: Qwen3Reference) -> None:
    """Every prompt in chunks of at most 64 tokens: the last token is that of the prompt, not of a chunk."""
    options = {"dtype": "float32", "max_num_batched_tokens": 64, "max_model_len": 1024}
    with JinaEmbedder(checkpoint, engine_kwargs=options) as embedder:
        for role in ("query", "passage"):
            got = embedder.embed(TEXTS, prompt_name=role)  # type: ignore[arg-type]
            assert distance(got, expected(reference, role, TEXTS)) <= FLOAT32_GATE
        rows = embedder.embed_multi_vector(TEXTS[-1:], prompt_name="query")[0]
        assert distance(rows, reference.multi_vector(QUERY + TEXTS[-1])) <= FLOAT32_GATE


def test_the_check_of_real_weights_passes(embedder: JinaEmbedder, checkpoint: Path) -> None:
    """The one that docs/accuracy.md names, on this checkpoint and its engine."""
    check_weights(checkpoint, "float32")


def test_what_this_checkpoint_cannot_honour_is_refused(checkpoint: Path, embedder: JinaEmbedder) -> None:
    for wrong in ({"dimensions": 31}, {"task": "code"}, {"max_pixels": 100_000}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            JinaEmbedder(checkpoint, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"items\[0\]: got an image; this checkpoint takes texts only"):
        embedder.embed([noise(20, 20, 1)])


@pytest.mark.models
def test_a_folder_without_its_other_files_is_served_by_name(tmp_path: Path) -> None:
    """It looks as every chat model does."""
    folder = make_qwen3_embedding(tmp_path / "chat", sentence_transformers=False, seed=1)
    with pytest.raises(ConfigError, match="pass row='qwen3-embedding'"):
        JinaEmbedder(folder, **FLOAT32)
    reference = Qwen3Reference(folder)
    with JinaEmbedder(folder, row="qwen3-embedding", **FLOAT32) as embedder:
        assert distance(embedder.embed_queries(TEXTS), expected(reference, "query", TEXTS)) <= FLOAT32_GATE


@pytest.mark.models
def test_a_checkpoint_that_sentence_transformers_saved(tmp_path: Path) -> None:
    """Its architecture is Qwen3Model, and its tensors have other names."""
    folder = make_qwen3_embedding(tmp_path / "trained", head=False, seed=2)
    reference = Qwen3Reference(folder)
    with JinaEmbedder(folder, **FLOAT32) as embedder:
        assert embedder.checkpoint.architecture == "Qwen3Model"
        assert distance(embedder.embed_queries(TEXTS), expected(reference, "query", TEXTS)) <= FLOAT32_GATE


@pytest.mark.models
@pytest.mark.parametrize(
    ("overrides", "message"),
    [({POOLING_KEY: "mean"}, "does not pool by the last token"), ({"is_causal": False}, "lets the first tokens")],
)
def test_an_engine_that_does_something_else_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any], message: str
) -> None:
    """vLLM is told of another pooling or attention than the row's: the check at the start finds it."""
    tell_vllm(monkeypatch, overrides)
    folder = make_qwen3_embedding(tmp_path / "planted")
    options = {**FLOAT32["engine_kwargs"], "scheduler_cls": None}  # it cuts prompts, which vLLM refuses both ways
    with JinaEmbedder(folder, engine_kwargs=options) as embedder, pytest.raises(EngineError, match=message):
        embedder.embed(["a"])


@pytest.mark.models
def test_served_vectors_are_the_same(checkpoint: Path, reference: Qwen3Reference, tmp_path: Path) -> None:
    """By this package's server of either kind, and by a plain one that gives raw token states."""
    made = [
        (served(str(checkpoint), tmp_path / "dense", "--dtype", "float32"), None, False),
        (served(str(checkpoint), tmp_path / "tokens", "--dtype", "float32", "--multi-vector"), None, True),
        (plain_text(checkpoint, tmp_path / "plain"), checkpoint, True),
    ]
    for one, model, has_tokens in made:
        with one as server, JinaEmbedder.from_server(server.url, model=model) as embedder:
            assert embedder.checkpoint.row == QWEN3_EMBEDDING
            for role, dimensions in (("query", None), ("query", 32), ("passage", None)):
                got = embedder.embed(TEXTS, prompt_name=role, dimensions=dimensions)  # type: ignore[arg-type]
                assert distance(got, expected(reference, role, TEXTS, dimensions)) <= FLOAT32_GATE
            (raw,) = embedder.embed_passages(["the fox"], dimensions=33, normalize=False)
            assert relative_error(raw, reference.states(reference.ids("the fox"))[-1, :33]) <= RELATIVE_GATE
            if has_tokens:
                (rows,) = embedder.embed_multi_vector(["the fox"], prompt_name="query")
                assert distance(rows, reference.multi_vector(f"{QUERY}the fox")) <= FLOAT32_GATE
