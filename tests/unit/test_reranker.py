"""JinaReranker on an engine in memory: scores, order, errors, settings, sharing and closing."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from tokenizers import AddedToken

from tests.support.fake_engine import FakeEngine, logit_of
from tests.support.tokenizer import KNOWN, make_tokenizer
from vllm_jina_embed import JinaReranker, Ranked
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.errors import ClosedError, ConfigError, EngineError, InputError
from vllm_jina_embed.prompts.base import Prompt

Make = Callable[..., JinaReranker]
DOCUMENTS = ["the fox", "a dog", "brown", "quick and brown", "the"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint without weights: its facts and its tokenizer."""
    path = tmp_path_factory.mktemp("rerankers") / "Qwen3-Reranker-tiny"
    path.mkdir()
    config = {
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "hidden_size": 64,
        "max_position_embeddings": 4096,
    }
    (path / "config.json").write_text(json.dumps(config))
    tokenizer = make_tokenizer(f"yes\nno\n{KNOWN}")
    tokenizer.add_tokens([AddedToken(token, special=False) for token in ("<think>", "</think>")])
    tokenizer.save(str(path / "tokenizer.json"))
    return path


@pytest.fixture
def engines() -> list[FakeEngine]:
    """Every engine that the test started."""
    return []


@pytest.fixture
def make(folder: Path, engines: list[FakeEngine]) -> Iterator[Make]:
    """Make rerankers of a class whose engines live in memory; closes them all."""

    class InMemory(JinaReranker):
        fail: ClassVar[Any] = staticmethod(lambda prompt: None)
        _pool: ClassVar[EnginePool]

    def start(config: Any) -> FakeEngine:
        engines.append(FakeEngine(config, fail=InMemory.fail))
        return engines[-1]

    InMemory._pool = EnginePool(start)
    made: list[JinaReranker] = []

    def build(*, fail: Any = lambda prompt: None, **keywords: Any) -> JinaReranker:
        InMemory.fail = staticmethod(fail)
        made.append(InMemory(folder, **keywords))
        return made[-1]

    yield build
    for reranker in made:
        reranker.close()
    InMemory._pool.close()


def sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def test_scores_are_the_sigmoid_of_the_engines_numbers(make: Make, engines: list[FakeEngine]) -> None:
    """In the order of the documents; a short list overtakes bulk work."""
    reranker = make()
    scores = reranker.score("fox?", DOCUMENTS)
    prompts = sorted(engines[0].prompts, key=lambda prompt: -logit_of(prompt))
    assert (scores.dtype, scores.shape) == (np.dtype(np.float32), (5,))
    np.testing.assert_allclose(np.sort(scores)[::-1], [sigmoid(logit_of(one)) for one in prompts], rtol=1e-6)
    assert len({one.token_ids for one in engines[0].prompts}) == 5
    assert engines[0].urgent == [True] * 5
    for document, score in zip(DOCUMENTS, scores, strict=True):
        assert reranker.score("fox?", [document])[0] == score


def test_the_best_come_first_and_equal_ones_stay_in_order(make: Make) -> None:
    reranker = make()
    scores = reranker.score("fox?", DOCUMENTS)
    ranked = reranker.rerank("fox?", [*DOCUMENTS, *DOCUMENTS])
    order = [place for best in np.argsort(-scores) for place in (best, best + 5)]
    assert [one.position for one in ranked] == order
    assert ranked[0] == Ranked(position=order[0], score=float(scores.max()))
    assert reranker.rerank("fox?", iter(DOCUMENTS), top_n=2) == [ranked[0], ranked[2]]
    assert reranker.rerank("fox?", DOCUMENTS, 100) == reranker.rerank("fox?", DOCUMENTS)


def test_the_order_is_that_of_numbers_whose_scores_are_rounded_to_1(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def logit(self: FakeEngine, prompt: Prompt, *, urgent: bool = False) -> float:
        return 40.0 + len(prompt.token_ids)

    monkeypatch.setattr(FakeEngine, "logit", logit)
    ranked = make().rerank("fox?", ["a", "a a a", "a a"])
    assert [(one.position, one.score) for one in ranked] == [(1, 1.0), (2, 1.0), (0, 1.0)]


async def test_every_call_can_be_awaited(make: Make) -> None:
    reranker = make()
    scores, ranked = await asyncio.gather(
        reranker.ascore("fox?", DOCUMENTS), reranker.arerank("fox?", DOCUMENTS, 2, instruction="Find it")
    )
    np.testing.assert_array_equal(scores, reranker.score("fox?", DOCUMENTS))
    assert ranked == reranker.rerank("fox?", DOCUMENTS, 2, instruction="Find it")


def test_an_instruction_of_a_call_replaces_that_of_the_reranker(make: Make, engines: list[FakeEngine]) -> None:
    own, other = make(instruction="Find it"), make()
    np.testing.assert_array_equal(own.score("fox?", DOCUMENTS), other.score("fox?", DOCUMENTS, instruction="Find it"))
    assert not np.allclose(own.score("fox?", DOCUMENTS), other.score("fox?", DOCUMENTS))
    assert len(engines) == 1  # it decides no engine
    assert own.fingerprint != other.fingerprint


def test_no_documents_start_no_engine(make: Make, engines: list[FakeEngine]) -> None:
    reranker = make()
    assert reranker.score("fox?", []).shape == (0,)
    assert reranker.rerank("fox?", []) == []
    with pytest.raises(InputError, match="2 of 2 items"):
        reranker.score("fox?", ["", 3])
    with pytest.warns(UserWarning, match="scores are NaN"):
        assert reranker.rerank("fox?", [""], on_error="skip") == []
    assert engines == []


def test_a_bad_document_costs_no_other(make: Make) -> None:
    reranker = make()
    right = reranker.score("fox?", ["the fox", "brown"])
    documents = ["the fox", "", "brown", 3]
    with pytest.raises(InputError, match=r"2 of 4 items") as raised:
        reranker.score("fox?", documents)
    assert raised.value.positions == (1, 3)
    np.testing.assert_array_equal(raised.value.embeddings, [right[0], np.nan, right[1], np.nan])
    with pytest.warns(UserWarning, match=r"scores are NaN: 2 of 4 items[^$]*items\[1\]"):
        np.testing.assert_array_equal(reranker.score("fox?", documents, on_error="skip"), raised.value.embeddings)
    with pytest.warns(UserWarning, match="scores are NaN"):
        ranked = reranker.rerank("fox?", documents, on_error="skip")
    assert sorted(one.position for one in ranked) == [0, 2]


def test_what_the_engine_refuses_names_its_document(make: Make) -> None:
    def fail(prompt: Prompt) -> Exception | None:
        return InputError("too many tokens") if len(prompt.token_ids) > 300 else None

    with pytest.raises(InputError, match=r"items\[1\]: too many tokens"):
        make(fail=fail, max_length=4000).score("fox?", ["the fox", "fox " * 200])
    with pytest.raises(EngineError, match="broken"):
        make(fail=lambda prompt: EngineError("broken"), engine_kwargs={"a": 1}).score("fox?", ["the fox"])


@pytest.mark.parametrize("query", ["", 3, None, ["a", "b"]])
def test_a_bad_query_is_named(make: Make, engines: list[FakeEngine], query: Any) -> None:
    with pytest.raises(InputError, match=r"^query: "):
        make().score(query, DOCUMENTS)
    assert engines == []


def test_a_long_document_is_cut_with_one_warning(make: Make, engines: list[FakeEngine]) -> None:
    with pytest.warns(UserWarning, match=r"1 of 2 texts were longer .* lost their end \(positions 1\)"):
        make(max_length=300).score("fox?", ["a", "fox " * 300])
    assert max(len(prompt.token_ids) for prompt in engines[0].prompts) == 300
    with pytest.raises(InputError, match="query: leaves no room for a document"):
        make(max_length=300).score("fox " * 250, ["a"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"top_n": 0}, "top_n=0 must be a whole number over 0"),
        ({"top_n": True}, "top_n=True must be"),
        ({"top_n": "3"}, "top_n='3' must be"),
        ({"on_error": "ignore"}, "on_error='ignore' is unknown"),
        ({"instruction": ""}, "instruction: got an empty text"),
        ({"instruction": 3}, "instruction: got int"),
    ],
)
def test_what_a_call_cannot_mean_is_refused(make: Make, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make().rerank("fox?", DOCUMENTS, **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"truncate": "middle"}, "truncate='middle' is unknown"),
        ({"max_length": 0}, "max_length=0 must be a whole number over 0"),
        ({"min_pixels": 4}, "min_pixels and max_pixels mean nothing"),
        ({"on_error": "ignore"}, "on_error='ignore' is unknown"),
        ({"row": "nobody"}, "row='nobody' is not a reranker's; choose one of bge-reranker"),
        ({"row": "jina-v4"}, "row='jina-v4' is not a reranker's.*It embeds items: use JinaEmbedder"),
        ({"engine_kwargs": {}, "model_kwargs": {}}, "two names of one setting"),
    ],
)
def test_what_a_reranker_cannot_be_is_refused(make: Make, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**wrong)
    with pytest.raises(TypeError):
        make(task="retrieval")


def test_one_engine_for_all_and_none_after_the_last(make: Make, engines: list[FakeEngine]) -> None:
    one, other = make(), make(max_length=300)
    for reranker in (one, other):
        reranker.score("fox?", ["a"])
    assert len(engines) == 1
    one.close()
    one.close()
    assert engines[0].closed == 0
    with pytest.raises(ClosedError, match=r"JinaReranker.*is closed"):
        one.score("fox?", ["a"])
    with other:
        pass
    assert (engines[0].closed, other.closed) == (1, True)


async def test_it_closes_at_the_end_of_a_block(make: Make, engines: list[FakeEngine]) -> None:
    async with make() as reranker:
        await reranker.ascore("fox?", ["a"])
    assert engines[0].closed == 1


def test_a_forgotten_close_warns(make: Make, folder: Path) -> None:
    kind = type(make())

    def forget() -> None:
        kind(folder).score("fox?", ["a"])
        gc.collect()

    with pytest.warns(ResourceWarning, match=r"JinaReranker.*was not closed"):
        forget()


async def test_a_call_that_is_cancelled_while_the_engine_starts_computes_nothing(
    make: Make, engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start goes on for others; nobody waits for the scores."""
    reranker = make()
    started, go_on = threading.Event(), threading.Event()
    ready = reranker.backend.ready

    def slow() -> Any:
        started.set()
        assert go_on.wait(60)
        return ready()

    monkeypatch.setattr(reranker.backend, "ready", slow)
    call = asyncio.create_task(reranker.ascore("fox?", DOCUMENTS))
    assert await asyncio.to_thread(started.wait, 60)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go_on.set()
    await asyncio.get_running_loop().shutdown_default_executor()  # waits for the thread of the call
    scores = reranker.score("fox?", ["the fox"])  # behind whatever was submitted before it
    assert len(scores) == len(engines[0].prompts) == 1
