"""``VllmJinaReranker`` in both frameworks, on an engine in memory: keywords, lifetime, order, images, events."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.schema import NodeWithScore, TextNode

from tests.support.fake_engine import FakeEngine
from tests.support.images import noise
from tests.support.in_memory_rerankers import in_memory_reranker, write_qwen3, write_qwen3_vl
from vllm_jina_embed import InputError, JinaReranker, MediaPolicy, langchain, llama_index
from vllm_jina_embed.errors import EmbeddingWarning
from vllm_jina_embed.frameworks.fields import ENGINE

QUESTION = "where is the red circle"
TEXTS = ["a blue square", "where the red circle is", "a", "where is the red circle"]
IMAGES = [noise(40, 30, seed=1), noise(30, 40, seed=2)]
RERANKERS = [langchain.VllmJinaReranker, llama_index.VllmJinaReranker]
both = pytest.mark.parametrize("kind", RERANKERS, ids=["langchain", "llama_index"])


@pytest.fixture
def engines() -> list[FakeEngine]:
    return []


@pytest.fixture
def reranker(tmp_path: Path, engines: list[FakeEngine]) -> Iterator[JinaReranker]:
    """One that takes texts, images and both."""
    IMAGES[1].save(tmp_path / "image.png")
    media = MediaPolicy(allowed_root=tmp_path)
    with in_memory_reranker(engines)(write_qwen3_vl(tmp_path), media=media) as reranker:
        yield reranker


async def ask(adapter: Any, given: list[Any], query: Any = QUESTION) -> list[tuple[Any, float]]:
    """Return documents or nodes, and scores, in the order of an adapter; awaited, it gives the same."""
    if isinstance(adapter, langchain.VllmJinaReranker):
        documents = [Document(one) if isinstance(one, str) else one for one in given]
        found = adapter.compress_documents(documents, query)
        assert await adapter.acompress_documents(documents, query) == found
        assert not any("relevance_score" in one.metadata for one in documents)
        return [(one.page_content, one.metadata["relevance_score"]) for one in found]
    nodes = [NodeWithScore(node=TextNode(text=one) if isinstance(one, str) else one, score=0.5) for one in given]
    ranked = adapter.postprocess_nodes(nodes, query_str=query)
    assert await adapter.apostprocess_nodes(nodes, query_str=query) == ranked
    assert [one.score for one in nodes] == [0.5] * len(nodes)
    return [(one.node.text or one.node, one.score) for one in ranked]  # type: ignore[attr-defined]


@both
async def test_results_come_in_the_order_of_the_rerankers_scores(kind: Any, reranker: JinaReranker) -> None:
    """Its scores stand where each framework keeps them; nobody closes what was passed in."""
    right = [(TEXTS[one.position], one.score) for one in reranker.rerank(QUESTION, TEXTS)]
    assert len({score for _, score in right}) == len(TEXTS)
    with kind(reranker=reranker) as adapter:
        assert await ask(adapter, TEXTS) == right
        assert all(type(score) is float for _, score in await ask(adapter, TEXTS))
    assert not reranker.closed
    assert await ask(kind(reranker=reranker, top_n=2), TEXTS) == right[:2]
    assert await ask(kind(reranker=reranker, top_n=9), TEXTS) == right
    assert await ask(kind(reranker=reranker), []) == []


@both
async def test_an_image_is_judged_as_an_image(kind: Any, reranker: JinaReranker, engines: list[FakeEngine]) -> None:
    """In its content or by reference, with a text beside it, and as the query; never as the text that stands for it."""
    media = reranker.settings.media
    assert media.allowed_root is not None
    by_reference: dict[str, Any] = {"mode": "reference", "media": media}
    path = Path(media.allowed_root) / "image.png"
    query = langchain.image_document(IMAGES[1]).page_content
    if kind is langchain.VllmJinaReranker:
        given: list[Any] = [
            "a blue square",
            langchain.image_document(IMAGES[0]),
            langchain.image_document(path, **by_reference),
            langchain.image_document(IMAGES[0], text="the circle"),
        ]
    else:
        given = [
            "a blue square",
            llama_index.image_node(IMAGES[0]),
            llama_index.image_node(path, **by_reference),
            llama_index.image_node(IMAGES[0], text="the circle"),
        ]
    items = ["a blue square", IMAGES[0], IMAGES[1], {"text": "the circle", "image": IMAGES[0]}]
    for asked, item in ((QUESTION, QUESTION), (query, IMAGES[1])):
        right = [one.score for one in reranker.rerank(item, items)]
        engines[0].prompts.clear()
        found = await ask(kind(reranker=reranker), given, asked)
        assert [score for _, score in found] == right
        of_query = int(asked == query)
        assert sorted(len(one.images) for one in engines[0].prompts[:4]) == [of_query, *[1 + of_query] * 3]


@both
async def test_every_setting_reaches_the_reranker_of_its_own(kind: Any, tmp_path: Path) -> None:
    """Those of an embedder, and misspelt ones, are unknown here."""
    model = "Qwen/Qwen3-VL-Reranker-2B"
    given: dict[str, Any] = {
        "truncate": "start", "max_length": 777, "min_pixels": 5000, "max_pixels": 50_000,
        "media": MediaPolicy(max_bytes=1000), "show_progress": True, "on_error": "skip",
        "engine_kwargs": {"dtype": "float32"}, "revision": "v1", "row": "qwen3-vl-reranker",
    }  # fmt: skip
    assert {*given} == {*ENGINE}
    made = kind(model=model, top_n=3, instruction="Find it", **given)
    assert made._reranker.settings == JinaReranker(model, instruction="Find it", **given).settings
    assert kind(model_name=model).model == made.model_name == model
    dumped = {name: value for name, value in made.model_dump().items() if name in made.model_fields_set}
    dumped["media"] = given["media"]
    for copy in (pickle.loads(pickle.dumps(made)), made.model_copy(), kind(**dumped)):
        assert (copy._reranker.settings.instruction, copy.top_n) == ("Find it", 3)
        assert copy._reranker.settings.engine == made._reranker.settings.engine
    for unknown in ("task", "dimensions", "embedder", "cache", "topn", "top_k", "prompt_name"):
        with pytest.raises(ValueError, match=f"{unknown}\n.*Extra inputs are not permitted"):
            kind(model=model, **{unknown: None})


@both
async def test_what_is_pickled_with_a_reranker_owns_its_copy(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its settings; whoever made the first one cannot close the copy. What goes with one stays one."""
    monkeypatch.setattr(JinaReranker, "_pool", in_memory_reranker([])._pool)
    with JinaReranker(write_qwen3(tmp_path), instruction="Find it") as reranker:
        made = kind(reranker=reranker, top_n=2)
        right = await ask(made, TEXTS)
        first, second, kept = pickle.loads(pickle.dumps([made, made.model_copy(), reranker]))
        for copy in (first, second):
            assert copy.reranker is copy._reranker
            assert copy.reranker.settings == reranker.settings
            assert copy.reranker is not kept
            assert await ask(copy, TEXTS) == right
        first.close()
        assert (first.reranker.closed, second.reranker.closed, kept.closed, reranker.closed) == (True, *[False] * 3)
        await second.aclose()
        assert second.reranker.closed
        made.close()
        assert not reranker.closed
    own = kind(model=str(reranker.checkpoint.location))
    with pickle.loads(pickle.dumps(own)) as copy:
        assert len(await ask(copy, TEXTS)) == 4
    assert (copy._reranker.closed, own._reranker.closed) == (True, False)
    assert JinaReranker._pool.running() == 0


@both
def test_a_row_of_ones_own_is_named_by_its_digest_in_json(kind: Any, reranker: JinaReranker) -> None:
    row = reranker.checkpoint.row
    model = str(reranker.checkpoint.location)
    told = kind(model=model, row=row).model_dump(mode="json")
    told.pop("class_name", None)  # of LlamaIndex, which takes it out when it reads
    assert told["row"] == f"{row.name}@{row.digest}"
    assert kind(**told)._reranker.settings.checkpoint.row is row
    with pytest.raises(ValueError, match="has digest"):
        kind(model=model, row=f"{row.name}@0123456789abcdef")


@both
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "got no model; pass model="),
        ({"model": "Qwen/Qwen3-Reranker-0.6B", "top_n": 0}, "top_n"),
        ({"model": "Qwen/Qwen3-Reranker-0.6B", "top_n": "3"}, "top_n"),
        ({"model": "Qwen/Qwen3-Embedding-0.6B"}, "Use vllm_jina_embed.JinaEmbedder"),
        ({"model": "BAAI/bge-reranker-v2-m3", "instruction": "Find it"}, "takes no instruction"),
        ({"reranker": ["no reranker"]}, "got a list as reranker; expected a JinaReranker"),
    ],
)
def test_what_is_no_reranker_is_refused(kind: Any, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**wrong)


@both
def test_one_that_is_passed_in_shows_its_settings_and_takes_no_others(kind: Any, reranker: JinaReranker) -> None:
    shown = kind(reranker=reranker)
    assert (shown.model, shown.instruction) == (reranker.model, reranker.settings.instruction)
    assert shown.media == reranker.settings.media
    assert "reranker" not in shown.model_dump()
    with pytest.raises(
        ValueError, match=r"reranker=\.\.\. has its own instruction, model; pass a reranker or settings"
    ):
        kind(reranker=reranker, model="Qwen/Qwen3-Reranker-0.6B", instruction="Find it")
    with pytest.raises(ValueError, match="expected a JinaReranker"):
        kind(reranker=kind(reranker=reranker))


@both
async def test_its_own_reranker_is_closed(kind: Any, tmp_path: Path) -> None:
    first, second = (kind(model=str(write_qwen3(tmp_path))) for _ in range(2))
    first.close()
    await second.aclose()
    assert first._reranker.closed
    assert second._reranker.closed


@both
async def test_bad_items_are_named_or_left_out(kind: Any, tmp_path: Path) -> None:
    """Also an image that a reranker of texts does not take."""
    cls, folder = in_memory_reranker([]), write_qwen3(tmp_path)
    image = (langchain.image_document if kind is langchain.VllmJinaReranker else llama_index.image_node)(IMAGES[0])
    with cls(folder) as strict, cls(folder, on_error="skip") as skipping:
        with pytest.raises(InputError, match="takes texts only") as caught:
            await ask(kind(reranker=strict), ["a", " ", image])
        assert caught.value.positions == (1, 2)
        with pytest.warns(EmbeddingWarning, match="2 of 3 items"):
            assert [text for text, _ in await ask(kind(reranker=skipping), ["a", " ", image])] == ["a"]
        with pytest.raises(InputError, match="query"):
            await ask(kind(reranker=strict), ["a"], " ")


async def test_it_is_the_compressor_of_a_retriever_and_tells_callbacks(reranker: JinaReranker) -> None:
    class Heard(BaseCallbackHandler):
        def __init__(self) -> None:
            self.names: list[str] = []

        def on_chain_start(self, serialized: Any, inputs: Any, **rest: Any) -> None:
            self.names.append(rest["name"])

    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    store.add_texts(TEXTS)
    retriever = ContextualCompressionRetriever(
        base_retriever=store.as_retriever(search_kwargs={"k": 4}),
        base_compressor=langchain.VllmJinaReranker(reranker=reranker, top_n=2),
    )
    heard = Heard()
    found = retriever.invoke(QUESTION, config={"callbacks": [heard]})
    right = [TEXTS[one.position] for one in reranker.rerank(QUESTION, TEXTS, 2)]
    assert [one.page_content for one in found] == right
    assert [one.page_content for one in await retriever.ainvoke(QUESTION)] == right
    assert heard.names == ["VllmJinaReranker"]


def test_it_tells_llama_indexs_observers(reranker: JinaReranker) -> None:
    """Both its old callbacks and its events."""
    seen: list[Any] = []

    class Heard(BaseEventHandler):
        def handle(self, event: Any, **rest: Any) -> None:
            seen.append(event)

    dispatcher, heard, debug = get_dispatcher(), Heard(), LlamaDebugHandler(print_trace_on_end=False)
    dispatcher.add_event_handler(heard)
    try:
        adapter = llama_index.VllmJinaReranker(reranker=reranker, top_n=1, callback_manager=CallbackManager([debug]))
        adapter.postprocess_nodes([NodeWithScore(node=TextNode(text=one)) for one in TEXTS], query_str=QUESTION)
    finally:
        dispatcher.event_handlers.remove(heard)
    start, end = (one for one in seen if isinstance(one, ReRankStartEvent | ReRankEndEvent))
    assert (start.query, start.top_n, start.model_name) == (QUESTION, 1, reranker.checkpoint.label)
    assert [one.node.text for one in end.nodes] == [TEXTS[int(np.argmax(reranker.score(QUESTION, TEXTS)))]]
    assert len(debug.get_event_pairs(CBEventType.RERANKING)) == 1
