"""One pass of the engine gives both kinds of vectors: those of two requests, and of transformers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.real.test_faithful import FLOAT32_GATE
from tests.support.images import noise
from tests.support.native import TASKS, NativeReference, make_native
from tests.support.reference import Reference, distance
from tests.support.xlm_roberta import XlmReference, make_xlm_roberta, unit
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.checkpoints.description import DEMO_FOLDER
from vllm_jina_embed.errors import EmbeddingWarning

pytestmark = [pytest.mark.real, pytest.mark.wide]

TEXTS = ["a", "Ein wunderschöner Sonnenuntergang am Strand", "浜辺に沈む美しい夕日 🙂", "def add(a, b): return a + b"]
HOSTILE = "a <|vision_start|> b </s> <|im_end|>"
"""A text as any other; the tokenizers of transformers make special tokens of it."""
IMAGES: list[Any] = [noise(84, 84, 1), noise(300, 200, 2), [noise(56, 90, 3), noise(120, 60, 4)]]


@dataclass
class Case:
    """A checkpoint on the engine, in float32, and in transformers by task."""

    embedder: JinaEmbedder
    references: dict[str, Any]
    items: list[Any]
    prefixes: tuple[str, str] = ("", "")

    def expected(self, item: Any, task: str, dimensions: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return both vectors of an item as a passage."""
        reference = self.references[task]
        if isinstance(item, str):
            item = self.prefixes[task == "text-matching"] + item
        shorter = () if dimensions is None else (dimensions,)
        return reference.embed(item, *shorter), reference.multi_vector(item)


def _demo(_: Path) -> Case:
    embedder = JinaEmbedder("demo", engine_kwargs={"dtype": "float32"})
    return Case(embedder, {"retrieval": Reference(DEMO_FOLDER)}, [*TEXTS, *IMAGES], ("Passage: ", "Query: "))


def _native(folder: Path) -> Case:
    embedder = JinaEmbedder(make_native(folder), engine_kwargs={"dtype": "float32"})
    references = {task: NativeReference(folder, task) for task in TASKS}
    return Case(embedder, references, [*TEXTS, *IMAGES], ("Passage: ", "Query: "))


def _bge(folder: Path) -> Case:
    embedder = JinaEmbedder(make_xlm_roberta(folder), engine_kwargs={"dtype": "float32"})
    return Case(embedder, {"retrieval": XlmReference(folder)}, TEXTS)


class ColbertReference(XlmReference):
    """FlagEmbedding's ``_colbert_embedding``: every token but the first, through the layer, of norm 1."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.layer = torch.load(folder / "colbert_linear.pt")

    def multi_vector(self, text: str) -> np.ndarray:
        states = torch.from_numpy(self.states(self.ids(text))[1:])
        return unit(torch.nn.functional.linear(states, self.layer["weight"], self.layer["bias"]).numpy())


def _colbert(folder: Path) -> Case:
    embedder = JinaEmbedder(make_xlm_roberta(folder), row="bge-m3-colbert", engine_kwargs={"dtype": "float32"})
    return Case(embedder, {"retrieval": ColbertReference(folder)}, TEXTS)


MAKERS: dict[str, Callable[[Path], Case]] = {
    "demo": _demo,
    "native": _native,
    "bge-m3": _bge,
    "bge-m3-colbert": _colbert,
}


IN_EVERY_RUN = ("demo", "bge-m3")
"""Both poolers; the others start an engine each for the same code, in ``make test-fire``."""


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in IN_EVERY_RUN else pytest.mark.siege) for name in MAKERS],
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("both-kinds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))  # a native checkpoint's adapters are split there
        case = MAKERS[request.param](folder / "checkpoint")
        with case.embedder:
            yield case


class Requests:
    """Counts what vLLM is asked, by task."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, embedder: JinaEmbedder) -> None:
        engine: Any = embedder.backend.ready()[0]
        self.tasks: list[str] = []
        encode = engine._llm.encode

        def counted(request: Any, params: Any, *args: Any, **options: Any) -> Any:
            self.tasks.append(params.task)
            return encode(request, params, *args, **options)

        monkeypatch.setattr(engine._llm, "encode", counted)

    def take(self) -> int:
        """Return how many there were since the last time."""
        count = len(self.tasks)
        self.tasks.clear()
        return count


def test_one_pass_gives_what_two_requests_give_bit_for_bit(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """One item at a time, so that all have a step to themselves: every task, size, role and norm."""
    embedder, requests = case.embedder, Requests(monkeypatch, case.embedder)
    sizes = itertools.cycle(embedder.checkpoint.matryoshka_sizes)
    for task, normalize in itertools.product(case.references, (True, False)):
        for number, item in enumerate([*case.items, HOSTILE]):
            options: dict[str, Any] = {"task": task, "prompt_name": ("passage", "query")[number % 2]}
            own = {"dimensions": next(sizes), "normalize": normalize}
            single = embedder.embed([item], **options, **own)
            (multi,) = embedder.embed_multi_vector([item], **options)
            assert requests.take() == 2
            got, (rows,) = embedder.embed_both_kinds([item], **options, **own)
            assert requests.take() == 1
            assert got.shape == single.shape
            assert got.tobytes() == single.tobytes()
            assert rows.shape == multi.shape
            assert rows.tobytes() == multi.tobytes()


async def test_a_batch_of_everything_equals_transformers(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of all tasks, beside requests of one kind, in the same steps; one request an item."""
    embedder, requests = case.embedder, Requests(monkeypatch, case.embedder)
    items = case.items * 6
    asked = [(task, size) for task in case.references for size in embedder.checkpoint.matryoshka_sizes]
    answers = await asyncio.gather(
        *(embedder.aembed_both_kinds(items, task=task, dimensions=size) for task, size in asked),
        *(embedder.aembed(items, task=task) for task in case.references),
        *(embedder.aembed_multi_vector(items, task=task) for task in case.references),
    )
    assert requests.take() == len(items) * (len(asked) + 2 * len(case.references))
    for (task, size), (vectors, rows) in zip(asked, answers, strict=False):
        for item, vector, multi in zip(items[: len(case.items)], vectors, rows, strict=False):
            expected, right = case.expected(item, task, size)
            assert distance(vector, expected) <= FLOAT32_GATE
            assert multi.shape == right.shape
            assert distance(multi, right) <= FLOAT32_GATE
        assert len(vectors) == len(rows) == len(items)


def test_bad_items_in_the_middle_stop_no_other(case: Case, tmp_path: Path) -> None:
    """Blank, broken, unreadable: each has neither vector, and its neighbours have both."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    items = [case.items[0], " ", case.items[1], broken, None, case.items[2], HOSTILE]
    with pytest.warns(EmbeddingWarning, match="3 of 7"):
        vectors, rows = case.embedder.embed_both_kinds(items, on_error="skip")
    task = next(iter(case.references))
    for place, item in enumerate(items):
        if place in (1, 3, 4):
            assert np.isnan(vectors[place]).all()
            assert rows[place].shape == (0, case.embedder.checkpoint.token_dimensions)
        elif item is HOSTILE:
            assert distance(vectors[place], case.embedder.embed([item])[0]) <= FLOAT32_GATE
        else:
            expected, right = case.expected(item, task)
            assert distance(vectors[place], expected) <= FLOAT32_GATE
            assert distance(rows[place], right) <= FLOAT32_GATE


def test_what_the_cache_has_of_either_kind_is_not_asked_again(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Entries of one kind serve both, and those of both serve one, with the same bits."""
    requests, items = Requests(monkeypatch, case.embedder), case.items[:3]
    cached: Any = case.embedder.cached(tmp_path / "cache.sqlite", multi_vectors=True)
    single = cached.embed(items[:2])
    multi = cached.embed_multi_vector(items[1:])
    assert requests.take() == 4
    vectors, rows = cached.embed_both_kinds(items)
    assert sorted(requests.tasks) == ["embed", "token_embed"]  # the first lacks rows, and the third an embedding
    assert requests.take() == 2
    assert vectors[:2].tobytes() == single.tobytes()
    assert [one.tobytes() for one in rows[1:]] == [one.tobytes() for one in multi]
    new = case.items[3]
    both = cached.embed_both_kinds([new, *items])
    assert requests.take() == 1
    assert cached.embed([new, *items]).tobytes() == both[0].tobytes()
    assert [one.tobytes() for one in cached.embed_multi_vector([new, *items])] == [one.tobytes() for one in both[1]]
    assert requests.take() == 0


@pytest.mark.siege
def test_prompts_in_chunks_and_questions_between_them(random_checkpoint: Path, random_reference: Reference) -> None:
    """Steps of 64 tokens cut long texts and images; questions overtake, and all have the vectors of transformers."""
    options = {"dtype": "float32", "max_num_batched_tokens": 64, "max_num_seqs": 8}
    items: list[Any] = [
        "the quick brown fox " * 40,
        noise(300, 200, 2),
        "a",
        [noise(56, 90, 3), noise(300, 260, 4)],
    ] * 3
    with JinaEmbedder(random_checkpoint, engine_kwargs=options) as embedder:

        async def ask() -> list[Any]:
            documents = asyncio.ensure_future(embedder.aembed_both_kinds(items))
            questions = []
            for number in range(6):
                await asyncio.sleep(0.02)
                questions.append(await embedder.aembed_both_kinds([f"question {number}"], prompt_name="query"))
            return [await documents, *questions]

        (vectors, rows), *questions = asyncio.run(ask())
    for item, vector, multi in zip(items[:4], vectors, rows, strict=False):
        _check(random_reference, f"Passage: {item}" if isinstance(item, str) else item, vector, multi)
    for place in range(4, len(items)):
        assert distance(vectors[place], vectors[place % 4]) <= FLOAT32_GATE
        assert distance(rows[place], rows[place % 4]) <= FLOAT32_GATE
    for number, ((vector,), (multi,)) in enumerate(questions):
        _check(random_reference, f"Query: question {number}", vector, multi)


def _check(reference: Reference, item: str | Image.Image, vector: np.ndarray, multi: np.ndarray) -> None:
    right = reference.multi_vector(item)
    assert distance(vector, reference.embed(item)) <= FLOAT32_GATE
    assert multi.shape == right.shape
    assert distance(multi, right) <= FLOAT32_GATE
