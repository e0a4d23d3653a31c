"""Late chunks on the real engine against transformers: means of the states of one pass over the whole document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from tests.real.test_faithful import FLOAT32_GATE, RELATIVE_GATE
from tests.support.qwen3 import make_qwen3_embedding
from tests.support.reference import Reference, distance, relative_error
from tests.support.servers import served
from tests.support.xlm_roberta import XlmReference, make_xlm_roberta, unit
from vllm_jina_embed import ConfigError, JinaEmbedder
from vllm_jina_embed.checkpoints.description import DEMO_FOLDER
from vllm_jina_embed.checkpoints.table.bge import XLM_ROBERTA

pytestmark = [pytest.mark.real, pytest.mark.wide]

CHUNKS = [
    "Berlin is the capital of Germany.",
    " The city has four million inhabitants.",
    " Er liegt am Strand 日本語 🙂.",
]
MEAN = replace(XLM_ROBERTA, name="mean", pooling="mean", matryoshka_sizes=(32,), vectors_before={})


def spans(tokenizer: PreTrainedTokenizerFast, prefix: str, chunks: Sequence[str], *, ends: int) -> list[int]:
    """Return how many tokens belong to each chunk: its own, by how many its beginning has alone.

    The chunks begin with spaces, so no token is in two; ``ends`` tokens stand on each side of the text.
    """
    texts = [prefix + "".join(chunks[: number + 1]) for number in range(len(chunks))]
    until = [len(tokenizer(text, add_special_tokens=False).input_ids) for text in texts]
    counts = np.diff([0, *until])
    counts[0] += ends
    counts[-1] += ends
    return [int(count) for count in counts]


def means(states: np.ndarray, counts: list[int], dimensions: int | None = None) -> np.ndarray:
    """Return the mean of each span, cut."""
    assert len(states) == sum(counts)
    parts = np.split(states.astype(np.float64), np.cumsum(counts)[:-1])
    return np.stack([part.mean(0)[:dimensions] for part in parts])


@pytest.fixture(scope="module")
def demo() -> Reference:
    return Reference(DEMO_FOLDER)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[JinaEmbedder, XlmReference]]:
    """An encoder that is averaged, whose tokens see both sides."""
    folder = make_xlm_roberta(tmp_path_factory.mktemp("late") / "checkpoint", pooling="mean_tokens")
    with JinaEmbedder(folder, row=MEAN, engine_kwargs={"dtype": "float32"}) as embedder:
        yield embedder, XlmReference(folder)


@pytest.mark.parametrize("role", ["query", "passage"])
def test_the_chunks_of_the_demo(demo_embedder: JinaEmbedder, demo: Reference, role: Any) -> None:
    """At two sizes, normalised and not; a document of one chunk has its usual embedding."""
    prefix = f"{role.title()}: "
    states = demo.token_states(prefix + "".join(CHUNKS))[1].numpy()
    counts = spans(demo.tokenizer, prefix, CHUNKS, ends=0)
    for dimensions in (None, 64):
        expected = means(states, counts, dimensions)
        (rows,) = demo_embedder.embed_late_chunks([CHUNKS], prompt_name=role, dimensions=dimensions)
        assert distance(rows, expected) <= FLOAT32_GATE
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
        (raw,) = demo_embedder.embed_late_chunks([CHUNKS], prompt_name=role, dimensions=dimensions, normalize=False)
        assert relative_error(raw, expected) <= RELATIVE_GATE
    one, usual = (
        demo_embedder.embed_late_chunks([["".join(CHUNKS)]], prompt_name=role)[0],
        demo_embedder.embed(["".join(CHUNKS)], prompt_name=role),
    )
    assert distance(one, usual) <= FLOAT32_GATE


def test_planted_mistakes_are_far_outside(demo_embedder: JinaEmbedder, demo: Reference) -> None:
    """Spans one token off, chunks by themselves, and normalised states, which may not be averaged."""
    states = demo.token_states("Passage: " + "".join(CHUNKS))[1].numpy()
    counts = spans(demo.tokenizer, "Passage: ", CHUNKS, ends=0)
    (rows,) = demo_embedder.embed_late_chunks([CHUNKS])
    mistakes = {
        "a token off": means(states, [counts[0] + 1, counts[1] - 1, counts[2]]),
        "chunks alone": np.stack([demo.embed(f"Passage: {chunk}") for chunk in CHUNKS]),
        "normalised states": means(unit(states), counts),
    }
    for name, wrong in mistakes.items():
        assert distance(rows, wrong) > 10 * FLOAT32_GATE, name


def test_the_chunks_of_an_encoder(encoder: tuple[JinaEmbedder, XlmReference]) -> None:
    """Each has seen what stands behind it too; its ends count with the first and the last."""
    embedder, reference = encoder
    documents = [CHUNKS[:2], ["a", " b", " c"]]
    for chunks, rows in zip(documents, embedder.embed_late_chunks(documents), strict=True):
        states = reference.states(reference.ids("".join(chunks)))
        counts = spans(reference.tokenizer, "", chunks, ends=1)
        assert distance(rows, means(states, counts)) <= FLOAT32_GATE
        inner = means(states[1:-1], spans(reference.tokenizer, "", chunks, ends=0))
        assert distance(rows, inner) > 10 * FLOAT32_GATE


def test_a_model_of_the_last_token_is_refused(tmp_path: Path) -> None:
    with (
        JinaEmbedder(make_qwen3_embedding(tmp_path / "checkpoint")) as embedder,
        pytest.raises(ConfigError, match="pools by the last token"),
    ):
        embedder.embed_late_chunks([CHUNKS])


@pytest.mark.siege
def test_a_server_of_token_states_gives_them_and_another_says_so(demo: Reference, tmp_path: Path) -> None:
    counts = spans(demo.tokenizer, "Passage: ", CHUNKS, ends=0)
    expected = means(demo.token_states("Passage: " + "".join(CHUNKS))[1].numpy(), counts)
    with (
        served("demo", tmp_path / "log", "--multi-vector") as server,
        JinaEmbedder.from_server(server.url) as remote,
    ):
        assert distance(remote.embed_late_chunks([CHUNKS])[0], expected) <= FLOAT32_GATE
    with (
        served("demo", tmp_path / "log") as server,
        JinaEmbedder.from_server(server.url) as remote,
        pytest.raises(ConfigError, match="--multi-vector"),
    ):
        remote.embed_late_chunks([CHUNKS])
