"""The second look in LangChain: documents of texts and images, callbacks, and the retriever around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from tests.support.images import noise
from tests.support.in_memory import in_memory, write_folder
from tests.unit.scoring.test_maxsim import by_definition
from vllm_jina_embed import InputError, JinaEmbedder, MediaPolicy
from vllm_jina_embed.errors import EmbeddingWarning
from vllm_jina_embed.langchain import MaxSimReranker, VllmJinaEmbeddings, image_document, image_retriever_tool

QUESTION = "where is the red circle"
IMAGES = [noise(40, 30, seed=1), noise(30, 40, seed=2)]


@pytest.fixture
def embedder(tmp_path: Path) -> Iterator[JinaEmbedder]:
    IMAGES[1].save(tmp_path / "image.png")
    media = MediaPolicy(allowed_root=tmp_path)
    with in_memory([])(write_folder(tmp_path / "checkpoint"), media=media) as embedder:
        yield embedder


@pytest.fixture
def documents(embedder: JinaEmbedder) -> list[Document]:
    """Texts, an image in its content and one by reference."""
    media = embedder.settings.media
    assert media.allowed_root is not None
    return [
        Document("a blue square", metadata={"n": 0}, id="zero"),
        image_document(IMAGES[0], metadata={"n": 1}, id="one"),
        Document("where the red circle is", metadata={"n": 2}),
        image_document(Path(media.allowed_root) / "image.png", mode="reference", media=media, metadata={"n": 3}),
    ]


def expected(embedder: JinaEmbedder, query: Any) -> list[tuple[int, float]]:
    items = ["a blue square", IMAGES[0], "where the red circle is", IMAGES[1]]
    asked = embedder.embed_multi_vector([query], prompt_name="query")
    scores = by_definition(asked, embedder.embed_multi_vector(items))[0]
    return sorted(enumerate(scores.tolist()), key=lambda pair: -pair[1])


def told(found: Any) -> list[tuple[int, float]]:
    return [(one.metadata["n"], one.metadata["relevance_score"]) for one in found]


@pytest.mark.parametrize("by_image", [False, True])
async def test_documents_are_ranked_as_by_brute_force(
    embedder: JinaEmbedder, documents: list[Document], by_image: bool
) -> None:
    """An image is compared as an image, in the documents and as the query; the caller's documents stay as they are."""
    query = image_document(IMAGES[1]).page_content if by_image else QUESTION
    reranker = MaxSimReranker(embedder=embedder)
    before = [one.model_copy(deep=True) for one in documents]
    found = reranker.compress_documents(documents, query)
    wanted = expected(embedder, IMAGES[1] if by_image else QUESTION)
    assert [n for n, _ in told(found)] == [n for n, _ in wanted]
    assert [s for _, s in told(found)] == pytest.approx([s for _, s in wanted], abs=1e-5)
    assert await reranker.acompress_documents(documents, query) == found
    assert documents == before
    same = {one.metadata["n"]: one for one in found}
    for document in documents:
        copy = same[document.metadata["n"]]
        assert (copy.page_content, copy.id) == (document.page_content, document.id)
        assert copy.metadata == {**document.metadata, "relevance_score": copy.metadata["relevance_score"]}


async def test_it_is_the_second_look_of_a_retriever(embedder: JinaEmbedder, documents: list[Document]) -> None:
    """The store's own order is another one, from one engine."""
    store = InMemoryVectorStore(VllmJinaEmbeddings(embedder=embedder))
    store.add_documents(documents)
    retriever = ContextualCompressionRetriever(
        base_retriever=store.as_retriever(search_kwargs={"k": 4}),
        base_compressor=MaxSimReranker(embedder=embedder, top_n=2),
    )
    wanted = [n for n, _ in expected(embedder, QUESTION)][:2]
    assert [one.metadata["n"] for one in retriever.invoke(QUESTION)] == wanted
    assert [one.metadata["n"] for one in await retriever.ainvoke(QUESTION)] == wanted


class Heard(BaseCallbackHandler):
    """Keeps what it is told of runs."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.parents: dict[Any, Any] = {}

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: Any, parent_run_id: Any = None, **rest: Any
    ) -> None:
        self.parents[rest["name"]] = parent_run_id
        self.seen.append((f"start {rest['name']}", inputs))

    def on_chain_end(self, outputs: Any, **rest: Any) -> None:
        self.seen.append(("end", outputs))

    def on_chain_error(self, error: BaseException, **rest: Any) -> None:
        self.seen.append(("error", error))


@pytest.mark.parametrize("is_async", [False, True])
async def test_callbacks_get_a_run_with_inputs_results_and_errors(
    embedder: JinaEmbedder, documents: list[Document], is_async: bool
) -> None:
    heard = Heard()
    reranker = MaxSimReranker(embedder=embedder, top_n=1)

    async def call(given: list[Document]) -> Any:
        if is_async:
            return await reranker.acompress_documents(given, QUESTION, callbacks=[heard])
        return reranker.compress_documents(given, QUESTION, callbacks=[heard])

    found = await call(documents)
    assert heard.seen == [
        ("start MaxSimReranker", {"query": QUESTION, "documents": documents}),
        ("end", {"documents": found}),
    ]
    heard.seen.clear()
    with pytest.raises(InputError) as caught:
        await call([Document(" ")])
    assert [kind for kind, _ in heard.seen] == ["start MaxSimReranker", "error"]
    assert heard.seen[1][1] is caught.value
    heard.seen.clear()
    assert await call([]) == []
    assert [kind for kind, _ in heard.seen] == ["start MaxSimReranker", "end"]


async def test_a_retrievers_callbacks_are_those_of_the_second_look(
    embedder: JinaEmbedder, documents: list[Document]
) -> None:
    """As a child of its run."""
    store = InMemoryVectorStore(VllmJinaEmbeddings(embedder=embedder))
    store.add_documents(documents)
    retriever = ContextualCompressionRetriever(
        base_retriever=store.as_retriever(), base_compressor=MaxSimReranker(embedder=embedder)
    )
    heard = Heard()
    retriever.invoke(QUESTION, config={"callbacks": [heard]})
    assert heard.parents["MaxSimReranker"] is not None
    heard.parents.clear()
    await retriever.ainvoke(QUESTION, config={"callbacks": [heard]})
    assert heard.parents["MaxSimReranker"] is not None


def test_bad_documents_are_named(embedder: JinaEmbedder, tmp_path: Path) -> None:
    """One that is empty, one that is none, and an image of which a splitter kept a part."""
    reranker = MaxSimReranker(embedder=embedder)
    cut = image_document(IMAGES[0]).page_content[:-40] + "!"
    for bad in (Document(" "), "no document", Document(cut)):
        with pytest.raises(InputError) as caught:
            reranker.compress_documents([Document("a"), bad, Document("b")], QUESTION)  # type: ignore[list-item]
        assert caught.value.positions == (1,)
    for query in ("", "data:image/png;base64,AAAA"):
        with pytest.raises(InputError, match=r"queries\[0\]"):
            reranker.compress_documents([Document("a")], query)
    with in_memory([])(write_folder(tmp_path / "other"), on_error="skip") as skipping:
        with pytest.warns(EmbeddingWarning, match=r"not ranked: items\[0\]"):
            found = MaxSimReranker(embedder=skipping).compress_documents([Document(" "), Document("a")], QUESTION)
        assert [one.page_content for one in found] == ["a"]


def test_an_agents_tool_shows_what_the_second_look_found(embedder: JinaEmbedder, documents: list[Document]) -> None:
    """Images by reference too: the limits are those of the reranker's embedder."""
    store = InMemoryVectorStore(VllmJinaEmbeddings(embedder=embedder))
    store.add_documents(documents)
    retriever = ContextualCompressionRetriever(
        base_retriever=store.as_retriever(), base_compressor=MaxSimReranker(embedder=embedder)
    )
    message = image_retriever_tool(retriever).invoke(
        {"name": "search", "args": {"query": QUESTION}, "id": "1", "type": "tool_call"}
    )
    assert [one.metadata["n"] for one in message.artifact] == [n for n, _ in expected(embedder, QUESTION)]
    assert [block["type"] for block in message.content].count("image") == 2
