"""What the tests of each row over a decoder ask of an embedder, against its reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.bare import bare_vllm
from tests.support.builders import builder_of
from tests.support.cells import Cells
from tests.support.decoders import STEP, TEXTS, DecoderReference
from tests.support.planted import tell_vllm
from tests.support.reference import distance
from tests.support.servers import served
from tests.support.xlm_roberta import unit
from vllm_jina_embed import JinaEmbedder, Model
from vllm_jina_embed.errors import EngineError
from vllm_jina_embed.inputs import items

GATE = 1e-6
"""Largest 1 - cosine in float32; the bound of docs/accuracy.md is 1e-5."""
FLOAT32 = {"engine_kwargs": {"dtype": "float32"}}
ROLES = ("query", "passage")
STEPS = {"engine_kwargs": {"dtype": "float32", "max_num_batched_tokens": STEP, "max_model_len": 1024}}
"""Options of an embedder whose engine computes the last of ``TEXTS`` in several steps."""
Prefix = Mapping[str, str]
UNRECORDED = Cells(None, "")
"""For tests that compare once more what others record."""


def expected(reference: DecoderReference, prefix: str, texts: Sequence[str] = TEXTS) -> np.ndarray:
    """Return the reference's embeddings ``(n, hidden)``."""
    return np.stack([reference.embed(prefix + text) for text in texts])


def check_embeddings(
    embedder: JinaEmbedder, reference: DecoderReference, prefix: Prefix, cells: Cells = UNRECORDED
) -> dict[str, float]:
    """Check short and long texts of both roles; return and print the largest 1 - cosine of each."""
    found = {}
    for role in ROLES:
        got = embedder.embed(TEXTS, prompt_name=role)  # type: ignore[arg-type]
        right = expected(reference, prefix[role])
        found[role] = cells.measure(embedder.checkpoint.row, "dense", TEXTS, got, right)
        np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
    return _within(found)


def check_multi_vectors(
    embedder: JinaEmbedder, reference: DecoderReference, prefix: Prefix, cells: Cells
) -> dict[str, float]:
    """Check that each token of a prompt has its row; return and print the largest 1 - cosine."""
    found = {}
    for role in ROLES:
        got = embedder.embed_multi_vector(TEXTS, prompt_name=role)  # type: ignore[arg-type]
        right = [reference.multi_vector(prefix[role] + text) for text in TEXTS]
        found[f"rows of a {role}"] = cells.measure(embedder.checkpoint.row, "multi", TEXTS, got, right)
    return _within(found)


def check_hostile(
    embedder: JinaEmbedder, reference: DecoderReference, prefix: Prefix, texts: Sequence[str], believed: int
) -> None:
    """Check that special tokens in texts stay text.

    Args:
        embedder: Of the row.
        reference: Its reference.
        prefix: By role, what stands before a text.
        texts: Texts that spell special tokens.
        believed: How many of them, the first ones, transformers reads as these tokens.
    """
    for role in ROLES:
        got = embedder.embed(texts, prompt_name=role)  # type: ignore[arg-type]
        right = [reference.of_ids(reference.plain_ids(prefix[role] + text)) for text in texts]
        assert distance(got, np.stack(right)) <= GATE
        read = expected(reference, prefix[role], texts[:believed])
        assert all(distance(one, other) > 100 * GATE for one, other in zip(got, read, strict=False))


def check_planted(embedder: JinaEmbedder, text: str, mistakes: Mapping[str, np.ndarray], cells: Cells) -> None:
    """Check that a query's vector is far from each of these vectors ``(hidden,)``."""
    vector = embedder.embed_queries([text])[0]
    gaps = {name: distance(vector, unit(wrong)) for name, wrong in mistakes.items()}
    assert cells.planted(embedder.checkpoint.row, gaps) > 100 * GATE, gaps


def check_planted_row(
    embedder: JinaEmbedder, folder: Path, planted: Model, right: np.ndarray, texts: Sequence[str] = TEXTS
) -> None:
    """Check that a row with other prompts gives other vectors on the embedder's own engine.

    Args:
        embedder: Of the right row.
        folder: Its checkpoint.
        planted: The row with a mistake in a query's prompt.
        right: The right vectors of the queries ``(n, hidden)``.
        texts: The queries.
    """
    embedder.embed(["start"])
    builder = builder_of(replace(planted, name="planted"), (folder / "tokenizer.json").read_text())
    prompts = builder.build(
        items.good(items.texts(list(texts))), role="query", task="retrieval", max_length=4096, truncate="error"
    )
    engine: Any = embedder.backend.engine
    for prompt, vector in zip(prompts, right, strict=True):
        got = engine.run(engine.embed(prompt, dimensions=len(vector), task="retrieval")).result()
        assert distance(got, vector) > 100 * GATE


def check_truncated(
    folder: Path, reference: DecoderReference, prefix: str, *, before: int, after: int, **options: Any
) -> None:
    """Check that of a query too long the user's text alone is cut, at either end.

    Args:
        folder: The checkpoint.
        reference: Its reference.
        prefix: What stands before a query.
        before: How many special tokens stand in front.
        after: How many stand behind.
        **options: Of the embedder, beside those that cut.
    """
    text, most = TEXTS[-1], 128
    ids = reference.ids(prefix + text)
    head = len(reference.ids(prefix.rstrip())) - after if prefix else before
    kept = {
        "end": [*ids[: most - after], *ids[len(ids) - after :]],
        "start": [*ids[:head], *ids[len(ids) - (most - head) :]],
    }
    for truncate, of in kept.items():
        assert len(of) == most < len(ids)
        with (
            JinaEmbedder(folder, truncate=truncate, max_length=most, **options) as embedder,  # type: ignore[arg-type]
            pytest.warns(UserWarning, match=f"lost their {truncate}"),
        ):
            assert distance(embedder.embed_queries([text])[0], reference.of_ids(of)) <= GATE


def check_served(folder: Path, reference: DecoderReference, prefix: Prefix, log: Path) -> None:
    """Check this package's server of dense vectors, and its client."""
    with (
        served(str(folder), log, "--dtype", "float32") as server,
        JinaEmbedder.from_server(server.url) as embedder,
    ):
        check_embeddings(embedder, reference, prefix)


def check_bare_strings(
    embedder: JinaEmbedder, checkpoint: Path, reference: DecoderReference, prefix: str, folder: Path
) -> None:
    """Bare vLLM leaves the last token of a string out; with our ids its vectors are ours.

    Args:
        embedder: Its engine runs.
        checkpoint: The same checkpoint.
        reference: Of it.
        prefix: In front of a query.
        folder: For what bare vLLM writes.
    """
    strings = [prefix + text for text in TEXTS]
    ids = [reference.ids(string) for string in strings]
    by_string, by_ids = np.split(bare_vllm(checkpoint, [*strings, *ids], folder), 2)
    right = expected(reference, prefix)
    assert distance(by_ids, right) <= GATE
    assert distance(by_string, np.stack([reference.of_ids(one[:-1]) for one in ids])) <= GATE
    gaps = [distance(one, other) for one, other in zip(by_string, right, strict=True)]
    print(f"bare vLLM, strings: 1 - cosine {min(gaps):.3f} to {max(gaps):.3f}")
    assert min(gaps) > 100 * GATE
    assert distance(embedder.embed_queries(TEXTS), right) <= GATE


def check_refused_at_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch, overrides: Mapping[str, Any], message: str
) -> None:
    """Check that an engine that is told something else than the row says does not serve.

    Args:
        folder: The checkpoint.
        monkeypatch: With which vLLM is told.
        overrides: Keys of ``hf_overrides`` with other values.
        message: Of the error, a regular expression.
    """
    tell_vllm(monkeypatch, overrides)
    options = {**FLOAT32["engine_kwargs"], "scheduler_cls": None}  # it cuts prompts, which vLLM refuses both ways
    with JinaEmbedder(folder, engine_kwargs=options) as embedder, pytest.raises(EngineError, match=message):
        embedder.embed(["a"])


def _within(found: dict[str, float]) -> dict[str, float]:
    for name, worst in found.items():
        print(f"{name:>24}  1 - cosine at most {worst:.1e}")
    assert all(worst <= GATE for worst in found.values()), found
    return found
