"""Texts in chunks on the real engine: the stated mean of what transformers gives for each chunk's tokens.

The mean is written out here; chunks are made by the tokenizer alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.real.test_faithful import FLOAT32_GATE, RELATIVE_GATE
from tests.support.qwen3 import QUERY, Qwen3Reference, make_qwen3_embedding
from tests.support.reference import Reference, distance, relative_error
from tests.support.servers import served
from tests.support.xlm_roberta import XlmReference, make_xlm_roberta, unit
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.checkpoints.description import DEMO_FOLDER
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.llama_index import VllmJinaEmbedding

pytestmark = [pytest.mark.real, pytest.mark.wide]

SENTENCES = [
    "the quick brown fox jumps over the lazy dog",
    "Ein wunderschöner Sonnenuntergang am Strand",
    "浜辺に沈む美しい夕日 🙂",
    "def add(a, b): return a + b  # 1234567890",
    "una silla roja junto a la ventana",
    "Describe the image. What is shown there?",
]
TEXT = ". ".join(SENTENCES[number % 6][number // 6 * 3 :] for number in range(10))
"""Parts of it differ, so that a missing one shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model, and how transformers is asked for a chunk of it.

    Attributes:
        folder: The checkpoint.
        ids: Returns the tokens of a query, without those at its ends.
        head: How many of them every chunk begins with.
        ends: The tokens before and behind these.
        pooled: Returns what is pooled of a prompt's tokens.
    """

    folder: Path
    ids: Callable[[str], list[int]]
    head: int
    ends: tuple[list[int], list[int]]
    pooled: Callable[[list[int]], np.ndarray]

    def chunks(self, text: str, limit: int) -> list[tuple[list[int], int]]:
        """Return the prompt of each chunk and the number of the text's own tokens in it."""
        ids, (before, after) = self.ids(text), self.ends
        room = limit - len(before) - len(after) - self.head
        own = [ids[start : start + room] for start in range(self.head, len(ids), room)]
        return [([*before, *ids[: self.head], *part, *after], len(part)) for part in own]

    def mean(self, text: str, limit: int, *, raw: bool = False, dimensions: int | None = None) -> np.ndarray:
        """Return the mean of the chunks' vectors, weighted by tokens."""
        parts = self.chunks(text, limit)
        rows = [self.pooled(prompt)[:dimensions].astype(np.float64) for prompt, _ in parts]
        counts = np.array([count for _, count in parts])
        vectors = np.stack(rows if raw else [unit(row) for row in rows])
        mean = (vectors * counts[:, None]).sum(0) / counts.sum()
        return np.asarray(mean if raw else unit(mean))


def demo(folder: Path) -> Case:
    reference = Reference(DEMO_FOLDER)
    plain = reference.tokenizer

    def ids(text: str) -> list[int]:
        found: list[int] = plain(f"Query: {text}", add_special_tokens=False).input_ids
        return found

    head = len(plain("Query:", add_special_tokens=False).input_ids)
    pooled = lambda prompt: reference.averaged(*reference.text_states(prompt)).numpy()  # noqa: E731
    return Case(folder=DEMO_FOLDER, ids=ids, head=head, ends=([], []), pooled=pooled)


def qwen3(folder: Path) -> Case:
    reference = Qwen3Reference(make_qwen3_embedding(folder))
    return Case(
        folder=folder,
        ids=lambda text: reference.ids(QUERY + text)[:-1],
        head=len(reference.ids(QUERY)) - 1,
        ends=([], [reference.end]),
        pooled=lambda prompt: reference.states(prompt)[-1],
    )


def xlm_roberta(folder: Path) -> Case:
    reference = XlmReference(make_xlm_roberta(folder))
    return Case(
        folder=folder,
        ids=lambda text: reference.ids(text)[1:-1],
        head=0,
        ends=([0], [2]),
        pooled=lambda prompt: reference.states(prompt)[0],
    )


MAKE: dict[str, Callable[[Path], Case]] = {"demo": demo, "qwen3": qwen3, "xlm-roberta": xlm_roberta}


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=[pytest.mark.models] * (name == "qwen3")) for name in MAKE]
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """The model, whose engine runs as long."""
    made = MAKE[request.param](tmp_path_factory.mktemp("long") / "checkpoint")
    with JinaEmbedder(made.folder, engine_kwargs={"dtype": "float32"}) as keeps:
        keeps.embed(["start"])
        yield made


def embedder(case: Case, **settings: Any) -> JinaEmbedder:
    options = {"long_text": "chunks", "engine_kwargs": {"dtype": "float32"}, **settings}
    return JinaEmbedder(case.folder, **options)


def limit_of(case: Case) -> int:
    """Return a length with room for about 20 tokens of a text, where the last chunk is at most half as long."""
    least = case.head + sum(map(len, case.ends))
    return next(least + room for room in range(17, 30) if 4 <= case.chunks(TEXT, least + room)[-1][1] <= room // 2)


def test_a_long_text_is_the_mean_of_its_chunks(case: Case) -> None:
    """Chunks of equal length and a shorter last one, at norm 1 and as pooled; another mean falls outside."""
    limit = limit_of(case)
    counts = [count for _, count in case.chunks(TEXT, limit)]
    assert len(counts) > 5
    with embedder(case, max_length=limit) as chunked, embedder(case, max_length=limit, normalize=False) as raw:
        (row,) = chunked.embed_queries([TEXT])
        assert distance(row, case.mean(TEXT, limit)) <= FLOAT32_GATE
        np.testing.assert_allclose(np.linalg.norm(row), 1, atol=1e-6)
        assert relative_error(raw.embed_queries([TEXT])[0], case.mean(TEXT, limit, raw=True)) <= RELATIVE_GATE
        vectors = np.stack([unit(case.pooled(prompt)) for prompt, _ in case.chunks(TEXT, limit)])
        wrong = {
            "first chunk": vectors[0],
            "without the last": (vectors[:-1] * np.array(counts[:-1])[:, None]).sum(0),
            "equal weights": vectors.sum(0),
            "chunks that begin one token later": case.mean(TEXT, limit - 1),
        }
        for name, other in wrong.items():
            assert distance(row, unit(other)) > 10 * FLOAT32_GATE, name


def test_a_text_that_fits_is_not_divided(case: Case) -> None:
    limit = limit_of(case)
    with embedder(case, max_length=limit) as chunked, embedder(case, max_length=limit, long_text=None) as plain:
        assert distance(chunked.embed_queries(["the fox"]), plain.embed_queries(["the fox"])) <= 1e-7


def test_both_adapters(case: Case) -> None:
    limit = limit_of(case)
    options: dict[str, Any] = {"long_text": "chunks", "max_length": limit, "engine_kwargs": {"dtype": "float32"}}
    with VllmJinaEmbeddings(model=case.folder, **options) as one, VllmJinaEmbedding(case.folder, **options) as other:  # type: ignore[arg-type]
        rows: Sequence[Any] = [one.embed_query(TEXT), other.get_query_embedding(TEXT)]
        assert distance(np.array(rows), np.stack([case.mean(TEXT, limit)] * 2)) <= FLOAT32_GATE


def test_a_text_longer_than_the_model_itself(tmp_path: Path) -> None:
    """Without any max_length: an encoder of 128 positions gets chunks of 128 tokens."""
    made = xlm_roberta(tmp_path / "checkpoint")
    text = TEXT * 3
    assert len(made.ids(text)) > 3 * 128
    options: dict[str, Any] = {"dtype": "float32"}
    with JinaEmbedder(made.folder, long_text="chunks", engine_kwargs=options) as chunked:
        assert distance(chunked.embed([text])[0], made.mean(text, 128)) <= FLOAT32_GATE


@pytest.mark.siege
def test_a_server_is_asked_for_the_chunks(tmp_path: Path) -> None:
    """Of each kind; it needs to know nothing of it."""
    made = qwen3(tmp_path / "checkpoint")
    limit = limit_of(made)
    for kind in ((), ("--multi-vector",)):
        with (
            served(str(made.folder), tmp_path / "log", "--dtype", "float32", *kind) as server,
            JinaEmbedder.from_server(server.url, long_text="chunks", max_length=limit) as remote,
        ):
            for dimensions in (None, 33):
                got = remote.embed_queries(["a", TEXT], dimensions=dimensions)[1]
                assert distance(got, made.mean(TEXT, limit, dimensions=dimensions)) <= FLOAT32_GATE
