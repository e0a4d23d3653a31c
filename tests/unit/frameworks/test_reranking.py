"""What the second look has in common in both frameworks, on an engine in memory: keywords, lifetime, one order."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.stores import InMemoryByteStore
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore

from tests.support.fake_engine import FakeEngine
from tests.support.images import noise
from tests.support.in_memory import in_memory, write_folder
from tests.unit.scoring.test_maxsim import by_definition
from vllm_jina_embed import ConfigError, InputError, JinaEmbedder, MediaPolicy, langchain, llama_index
from vllm_jina_embed.frameworks.fields import SHARED
from vllm_jina_embed.scoring.ranking import Ranked

QUESTION = "where is the red circle"
TEXTS = ["a blue square", "where the red circle is", "a", "where is the red circle"]
RERANKERS = [langchain.MaxSimReranker, llama_index.MaxSimReranker]
both = pytest.mark.parametrize("kind", RERANKERS, ids=["langchain", "llama_index"])


@pytest.fixture
def engines() -> list[FakeEngine]:
    return []


@pytest.fixture
def embedder(tmp_path: Path, engines: list[FakeEngine]) -> Iterator[JinaEmbedder]:
    with in_memory(engines)(write_folder(tmp_path / "checkpoint")) as embedder:
        yield embedder


def ask(reranker: Any, texts: list[str] = TEXTS, query: str = QUESTION) -> list[tuple[str, float]]:
    """Return the texts and scores in the order of a reranker."""
    if isinstance(reranker, langchain.MaxSimReranker):
        found = reranker.compress_documents([Document(text) for text in texts], query)
        return [(one.page_content, one.metadata["relevance_score"]) for one in found]
    nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in texts]
    return [(one.node.get_content(), one.score) for one in reranker.postprocess_nodes(nodes, query_str=query)]


@both
@pytest.mark.parametrize(
    "wrap",
    [
        lambda e: e,
        lambda e: langchain.VllmJinaEmbeddings(embedder=e),
        lambda e: llama_index.VllmJinaEmbedding(embedder=e),
    ],
)
def test_an_embedder_and_both_adapters_give_one_order(
    kind: Any, embedder: JinaEmbedder, wrap: Callable[[Any], Any]
) -> None:
    """That of brute force; nobody closes what was passed in."""
    asked = embedder.embed_multi_vector([QUESTION], prompt_name="query")
    scores = by_definition(asked, embedder.embed_multi_vector(TEXTS))[0]
    order = np.argsort(-scores, kind="stable")
    with kind(embedder=wrap(embedder)) as reranker:
        found = ask(reranker)
    assert [text for text, _ in found] == [TEXTS[place] for place in order]
    assert [score for _, score in found] == pytest.approx(scores[order].tolist(), abs=1e-5)
    assert all(type(score) is float for _, score in found)
    assert not embedder.closed
    assert ask(kind(embedder=embedder, top_n=2)) == found[:2]
    assert ask(kind(embedder=embedder, top_n=9)) == found
    assert ask(reranker, []) == []


@both
def test_every_setting_reaches_the_embedder_of_its_own(kind: Any) -> None:
    """Those that change a multi-vector; sizes and norms of embeddings are unknown keywords here."""
    model = "jinaai/jina-embeddings-v4-vllm-retrieval"
    given: dict[str, Any] = {
        "task": "retrieval", "truncate": "start", "max_length": 77, "min_pixels": 4000, "max_pixels": 50_000,
        "media": MediaPolicy(max_bytes=1000), "show_progress": True, "on_error": "skip",
        "engine_kwargs": {"dtype": "float32"}, "revision": "v1", "row": "jina-v4",
    }  # fmt: skip
    assert {*given} == {*SHARED}
    made = kind(model=model, top_n=3, **given)
    assert made._reranker.settings == JinaEmbedder(model, **given).settings
    assert kind(model_name=model).model == made.model_name == model
    for state in (pickle.loads(pickle.dumps(made)), made.model_copy()):
        assert state._reranker.settings == made._reranker.settings
        assert state.top_n == 3
    for unknown in ("dimensions", "normalize", "fusion", "long_text", "topn", "top_k"):
        with pytest.raises(ValueError, match=f"{unknown}\n.*Extra inputs are not permitted"):
            kind(model=model, **{unknown: None})


@both
@pytest.mark.parametrize("top_n", [0, -1, "3", 2.5, True])
def test_a_wrong_number_of_results_is_refused(kind: Any, top_n: Any) -> None:
    with pytest.raises(ValueError, match="top_n"):
        kind(model="demo", top_n=top_n)


@both
def test_what_cannot_score_is_refused(kind: Any, embedder: JinaEmbedder) -> None:
    """Other objects, models without multi-vectors, and an embedder with settings beside it."""
    with pytest.raises(ValueError, match="got a FakeList as embedder; expected a JinaEmbedder"):
        kind(embedder=type("FakeList", (list,), {})())
    with pytest.raises(ValueError, match="it has no multi-vectors"):
        kind(model="google/siglip-base-patch16-224")
    with pytest.raises(ValueError, match=r"embedder=\.\.\. has its own model, task; pass an embedder or settings"):
        kind(embedder=embedder, model="demo", task="retrieval")


@both
def test_its_own_engine_is_closed_and_shows_its_settings(kind: Any, embedder: JinaEmbedder) -> None:
    own = kind(model="demo")
    own.close()
    assert own._own.closed
    shown = kind(embedder=embedder)
    assert (shown.model, shown.task) == (embedder.model, embedder.task)
    assert "embedder" not in shown.model_dump()


@both
@pytest.mark.parametrize("place", ["file", "framework"])
def test_a_cache_keeps_what_was_computed(
    kind: Any, place: str, embedder: JinaEmbedder, engines: list[FakeEngine], tmp_path: Path
) -> None:
    """In an SQLite file, or a store of the framework."""
    stores: dict[Any, Any] = {langchain.MaxSimReranker: InMemoryByteStore, llama_index.MaxSimReranker: SimpleKVStore}
    store = tmp_path / "cache.sqlite" if place == "file" else stores[kind]()
    with kind(embedder=embedder, cache=store) as reranker:
        found = ask(reranker)
        assert ask(reranker) == found == ask(kind(embedder=embedder))
        computed = len(engines[0].prompts)
        assert computed == 2 * (1 + len(TEXTS))
        assert ask(reranker, TEXTS[:2])[0] in found
        assert len(engines[0].prompts) == computed


class Backwards:
    """A reranker that is not ours: it scores by position alone."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.asked: list[tuple[Any, list[Any], Any]] = []
        self.closed = 0

    def rerank(self, query: Any, items: Any, top_n: int | None = None) -> list[Ranked]:
        self.asked.append((query, list(items), top_n))
        count = len(self.asked[-1][1])
        return [Ranked(position=place, score=float(place)) for place in reversed(range(count))][:top_n]

    async def arerank(self, query: Any, items: Any, top_n: int | None = None) -> list[Ranked]:
        return self.rerank(query, items, top_n)

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


async def test_the_framework_classes_take_anything_that_reranks(embedder: JinaEmbedder) -> None:
    """What a cross-encoder is handed: the query, the items with their images, and how many to return."""
    from vllm_jina_embed.langchain.reranking import Compressor
    from vllm_jina_embed.llama_index.reranking import Postprocessor

    core = Backwards(embedder.settings)
    compressor, postprocessor = Compressor(top_n=1), Postprocessor(top_n=1)
    compressor._reranker = postprocessor._reranker = core
    image = langchain.image_document(noise(20, 20))
    documents = [Document("a"), image]
    nodes = [NodeWithScore(node=TextNode(text="a")), NodeWithScore(node=llama_index.image_node(noise(20, 20)))]
    (first,) = compressor.compress_documents(documents, QUESTION)
    (second,) = await compressor.acompress_documents(documents, QUESTION)
    assert first == second
    assert (first.page_content, first.metadata["relevance_score"]) == (image.page_content, 1.0)
    (third,) = postprocessor.postprocess_nodes(nodes, query_str=QUESTION)
    (fourth,) = await postprocessor.apostprocess_nodes(nodes, query_str=QUESTION)
    assert third.node is fourth.node is nodes[1].node
    assert [(query, top_n) for query, _, top_n in core.asked] == [(QUESTION, 1)] * 4
    assert [items[0] for _, items, _ in core.asked] == ["a"] * 4
    assert isinstance(core.asked[2][1][1], bytes)  # the node's image, not the text that stands for it
    compressor.close()
    await postprocessor.aclose()
    assert core.closed == 2


def test_an_error_of_an_item_is_the_same_in_both(embedder: JinaEmbedder) -> None:
    for kind in RERANKERS:
        with pytest.raises(InputError) as caught:
            ask(kind(embedder=embedder), ["a", " ", "b"])
        assert caught.value.positions == (1,)
    assert issubclass(InputError, ValueError)
    assert issubclass(ConfigError, ValueError)
