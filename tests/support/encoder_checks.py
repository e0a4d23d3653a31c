"""What is checked of every text encoder on the real vLLM, each against its own reference."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.real.test_faithful import FLOAT32_GATE
from tests.support.builders import builder_of
from tests.support.cells import Cells
from tests.support.encoders import EncoderReference, unit
from tests.support.images import noise
from tests.support.planted import tell_vllm
from tests.support.reference import distance
from tests.support.servers import plain_text, served
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.prompt_pieces import Template
from vllm_jina_embed.errors import ConfigError, EngineError, InputError
from vllm_jina_embed.inputs import items

FLOAT32 = {"engine_kwargs": {"dtype": "float32"}}
FAR = 100 * FLOAT32_GATE
"""How far at least a planted mistake is from the right vector."""
ONE_TOKEN = 10 * FLOAT32_GATE
"""The same of one token of fifty in a mean, which counts for little."""
TEXTS = [
    "a",
    "the quick brown fox",
    "Ein wunderschöner Sonnenuntergang am Strand",
    "浜辺に沈む美しい夕日 🙂",
    "  two  spaces,\nand a line",
    "def add(a, b): return a + b",
    "\u200b",
]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row with a checkpoint of it, and what the published code makes of a text.

    Attributes:
        row: The row.
        folder: A checkpoint in the published layout.
        reference: It in transformers.
        prefixes: What stands before a text, by role.
        longest: Most tokens of a prompt.
        plain: Returns the tokens of a text in which nothing is special, without both ends; apart from the package.
        ends: Ids of the first token and the last.
        hostile: Texts with the names of special tokens.
        sizes: Lengths of an embedding below the full one.
        options: What the embedder is made with.
        task: The task of each call; None for the default.
        by_role: References of roles whose weights are others.
        finish: Makes an embedding of what is pooled and its length; by default cut and normalised.
    """

    row: Model
    folder: Path
    reference: EncoderReference
    prefixes: Mapping[str, str]
    longest: int
    plain: Callable[[str], list[int]]
    ends: tuple[int, int]
    hostile: Sequence[str]
    sizes: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=lambda: FLOAT32)
    task: str | None = None
    by_role: Mapping[str, EncoderReference] = field(default_factory=dict)
    finish: Callable[[np.ndarray, int | None], np.ndarray] = lambda pooled, size: unit(pooled[:size])

    def ids(self, role: str, text: str) -> list[int]:
        """Return the tokens of a whole prompt."""
        return self.reference.ids(self.prefixes[role] + text)

    def states(self, role: str, ids: list[int]) -> np.ndarray:
        """Return the states of tokens."""
        return self.by_role.get(role, self.reference).states(ids)

    def vector(self, role: str, ids: list[int], size: int | None = None) -> np.ndarray:
        """Return the embedding of tokens."""
        return self.finish(self.reference.pooled(self.states(role, ids)), size)

    def expected(self, role: str, texts: Sequence[str], size: int | None = None) -> np.ndarray:
        """Return the embeddings of texts."""
        return np.stack([self.vector(role, self.ids(role, text), size) for text in texts])

    def of_count(self, role: str, count: int) -> str:
        """Return a text whose prompt has exactly ``count`` tokens: "a" is one."""
        text = " ".join(["a"] * (count - len(self.ids(role, "a")) + 1))
        assert len(self.ids(role, text)) == count
        return text

    def embedder(self, **options: Any) -> JinaEmbedder:
        """Return an embedder of the checkpoint."""
        return JinaEmbedder(self.folder, **{**self.options, "task": self.task, **options})


def worst(got: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """Return the largest 1 - cosine over all rows of all items, after their shapes."""
    assert [rows.shape for rows in got] == [rows.shape for rows in expected]
    return float(np.max([distance(one, other) for one, other in zip(got, expected, strict=True)]))


class EncoderTests:
    """What every text encoder shows. Who inherits it has the fixtures ``case`` and ``embedder``, its engine."""

    async def test_every_output(self, case: Case, embedder: JinaEmbedder, cells: Cells) -> None:
        """Embeddings of both roles and every size, and token vectors, of short texts and the longest, all at once."""
        hidden = len(case.expected("query", ["a"])[0])
        texts = {}
        for role in case.prefixes:
            shortest = len(case.ids(role, "a"))
            counts = [shortest + 20, shortest + 60, case.longest // 2, case.longest - 1, case.longest]
            texts[role] = [*TEXTS, *(case.of_count(role, count) for count in counts)]
        assert embedder.checkpoint.matryoshka_sizes == (*case.sizes, hidden)
        jobs: list[Any] = []
        for role in case.prefixes:
            call: Any = {"prompt_name": role, "task": case.task}
            jobs += [embedder.aembed(texts[role], dimensions=size, **call) for size in (*case.sizes, hidden)]
            jobs.append(embedder.aembed_multi_vector(texts[role], **call))
        answers: list[Any] = await asyncio.gather(*jobs)
        gaps = []
        for number, role in enumerate(case.prefixes):
            *dense, rows = answers[number * (len(case.sizes) + 2) :][: len(case.sizes) + 2]
            for size, got in zip((*case.sizes, hidden), dense, strict=True):
                assert (got.shape, got.dtype) == ((len(texts[role]), size), np.float32)
                np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
                right = case.expected(role, texts[role], size)
                gaps.append(cells.measure(case.row, "dense", texts[role], got, right))
            states = [unit(case.states(role, case.ids(role, text))) for text in texts[role]]
            gaps.append(cells.measure(case.row, "multi", texts[role], rows, states))
        assert all(gap <= FLOAT32_GATE for gap in gaps), gaps

    def test_special_tokens_in_a_text_stay_text(self, case: Case, embedder: JinaEmbedder) -> None:
        """Special tokens in a text are text, in embeddings and in token vectors."""
        first, last = case.ends
        for role, prefix in case.prefixes.items():
            whole = [[first, *case.plain(prefix + text), last] for text in case.hostile]
            call: Any = {"prompt_name": role, "task": case.task}
            got = embedder.embed(case.hostile, **call)
            assert distance(got, np.stack([case.vector(role, ids) for ids in whole])) <= FLOAT32_GATE
            rows = embedder.embed_multi_vector(case.hostile, **call)
            assert worst(rows, [unit(case.states(role, ids)) for ids in whole]) <= FLOAT32_GATE
            believed = case.expected(role, case.hostile[:1])  # transformers reads them as special tokens
            assert distance(got[:1], believed) > FAR

    def test_a_text_too_long_is_cut_alone(self, case: Case, embedder: JinaEmbedder) -> None:
        """A text too long loses the end that was asked for; its prefix and both special tokens stay."""
        for role, prefix in case.prefixes.items():
            text = "the quick " + "a " * (case.longest + 30)
            ids, head = case.ids(role, text), len(case.plain(prefix))
            first, last = case.ends
            for longest in (head + 20, case.longest):
                room = longest - head - 2
                for truncate, kept in (
                    ("end", [*ids[: longest - 1], last]),
                    ("start", [*ids[: 1 + head], *ids[-1 - room : -1], last]),
                ):
                    with case.embedder(truncate=truncate, max_length=longest) as other:
                        with pytest.warns(UserWarning, match=f"lost their {truncate}"):
                            got = other.embed([text], prompt_name=role)  # type: ignore[arg-type]
                        assert distance(got[0], case.vector(role, kept)) <= FLOAT32_GATE, (role, truncate)
            assert ids[0] == first
        with (
            case.embedder(truncate="error") as other,
            pytest.raises(InputError, match=rf"max_length is {case.longest}"),
        ):
            other.embed([text])

    def test_what_this_checkpoint_cannot_honour_is_refused(self, case: Case, embedder: JinaEmbedder) -> None:
        """Sizes, tasks, pixels and images that mean nothing to this checkpoint."""
        for wrong in ({"dimensions": 33}, {"task": "code"}, {"max_pixels": 100_000}):
            with pytest.raises(ConfigError, match=next(iter(wrong))):
                case.embedder(**wrong)
        with pytest.raises(InputError, match=r"items\[0\]: got an image; this checkpoint takes texts only"):
            embedder.embed([noise(20, 20, 1)])


def check_mistakes(
    case: Case,
    embedder: JinaEmbedder,
    mistakes: Callable[[str, str], Mapping[str, Any]],
    cells: Cells,
    *,
    far: float = FAR,
) -> None:
    """Vectors of planted mistakes are far from the engine's.

    Args:
        case: The row.
        embedder: Its engine.
        mistakes: Returns by name what is wrongly pooled of a role and a text.
        cells: Records how far.
        far: How far at least.
    """
    for role in case.prefixes:
        texts = TEXTS[1:5]
        for text, vector in zip(texts, embedder.embed(texts, prompt_name=role, task=case.task), strict=True):  # type: ignore[arg-type]
            gaps = {name: distance(vector, unit(wrong)) for name, wrong in mistakes(role, text).items()}
            assert cells.planted(case.row, gaps) > far, (role, gaps)


def check_planted_prompt(case: Case, embedder: JinaEmbedder, template: Template) -> None:
    """On the same engine: a row whose query prompt has a mistake gives other vectors, so the tests would find it."""
    row, task = replace(case.row, name="planted", templates={("any", "text"): template}), case.task or case.row.tasks[0]
    builder = builder_of(row, (case.folder / "tokenizer.json").read_text())
    texts = TEXTS[:5]
    prompts: Any = builder.build(
        items.good(items.texts(texts)), role="query", task=task, max_length=case.longest, truncate="error"
    )
    embedder.embed(["start"])
    engine: Any = embedder.backend.engine
    right = case.expected("query", texts)
    for prompt, expected in zip(prompts, right, strict=True):
        got = engine.run(engine.embed(prompt, dimensions=len(expected), task=task)).result()
        assert distance(got, expected) > FAR


def check_planted_start(
    case: Case, monkeypatch: pytest.MonkeyPatch, overrides: Mapping[str, Any], message: str
) -> None:
    """vLLM is told of something else than the row's: the check at the start finds it."""
    tell_vllm(monkeypatch, overrides)
    own = {**case.options["engine_kwargs"], "max_num_seqs": 7}  # equal options would get the engine that runs already
    with case.embedder(engine_kwargs=own) as embedder, pytest.raises(EngineError, match=message):
        embedder.embed(["a"])


def check_servers(case: Case, tmp_path: Path, *passed: str, plain: bool = True) -> None:
    """The same vectors by this package's server of either kind, and by a plain one that gives raw token states.

    Args:
        case: The row.
        tmp_path: For the servers' logs.
        *passed: Options of vLLM.
        plain: Whether a plain server knows the checkpoint.
    """
    own = ("--dtype", "float32")
    made = [
        (served(str(case.folder), tmp_path / "dense", *own, passed=passed), None, False),
        (served(str(case.folder), tmp_path / "tokens", *own, "--multi-vector", passed=passed), None, True),
        *([(plain_text(case.folder, tmp_path / "plain"), case.folder, True)] if plain else []),
    ]
    texts = {role: [*TEXTS, case.of_count(role, case.longest)] for role in case.prefixes}
    for one, model, has_tokens in made:
        with one as server, JinaEmbedder.from_server(server.url, model=model, task=case.task) as embedder:
            assert embedder.checkpoint.row == case.row
            for role in case.prefixes:
                for size in (*case.sizes[:1], None):
                    got = embedder.embed(texts[role], prompt_name=role, dimensions=size)  # type: ignore[arg-type]
                    assert distance(got, case.expected(role, texts[role], size)) <= FLOAT32_GATE
            if has_tokens:
                rows = embedder.embed_multi_vector(texts["query"], prompt_name="query")
                states = [unit(case.states("query", case.ids("query", text))) for text in texts["query"]]
                assert worst(rows, states) <= FLOAT32_GATE
