"""Agents' tools of both frameworks over a second look: the frameworks' own ones, with each of our rerankers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_classic")
pytest.importorskip("llama_index.core")

from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import MockLLM
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.tools import QueryEngineTool

from tests.support.chat import ScriptedChat, asks, says
from tests.support.images import noise
from tests.support.in_memory import in_memory, write_folder
from tests.support.in_memory_rerankers import in_memory_reranker, write_qwen3_vl
from vllm_jina_embed import InputError, MaxSimReranker, langchain, llama_index

QUESTION = "where is the red circle"
TEXTS = ["a blue square", "where is the red dog", "a", "the red circle"]
NAMES = ["MaxSimReranker", "VllmJinaReranker"]


@pytest.fixture(params=NAMES)
def second(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Any, list[tuple[str, float]]]]:
    """The name of the adapters' class, what it is passed, and the texts with their scores, best first."""
    if request.param == "MaxSimReranker":
        with in_memory([])(write_folder(tmp_path / "checkpoint")) as embedder:
            best = MaxSimReranker(embedder).rerank(QUESTION, TEXTS)
            yield request.param, {"embedder": embedder}, [(TEXTS[one.position], one.score) for one in best]
        return
    with in_memory_reranker([])(write_qwen3_vl(tmp_path)) as reranker:
        best = reranker.rerank(QUESTION, TEXTS)
        yield request.param, {"reranker": reranker}, [(TEXTS[one.position], one.score) for one in best]


async def test_langchains_retriever_tool_gives_the_best_first(second: Any) -> None:
    """As text to the chat model, and as documents with their scores to the application."""
    name, given, best = second
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    store.add_documents([Document(text) for text in TEXTS])
    retriever = ContextualCompressionRetriever(
        base_retriever=store.as_retriever(), base_compressor=getattr(langchain, name)(top_n=2, **given)
    )
    tool = create_retriever_tool(
        retriever, "search", "Find texts.", document_separator="|", response_format="content_and_artifact"
    )
    call: dict[str, Any] = {"name": "search", "args": {"query": QUESTION}, "id": "1", "type": "tool_call"}
    for message in (tool.invoke(call), await tool.ainvoke(call)):
        assert message.content == "|".join(text for text, _ in best[:2])
        assert [(one.page_content, one.metadata["relevance_score"]) for one in message.artifact] == best[:2]


async def test_llama_indexs_query_engine_tool_gives_the_best_first(second: Any) -> None:
    """By itself, and called by an agent."""
    name, given, best = second
    index = VectorStoreIndex([TextNode(text=text) for text in TEXTS], embed_model=MockEmbedding(embed_dim=4))
    engine = index.as_query_engine(
        llm=MockLLM(), similarity_top_k=4, node_postprocessors=[getattr(llama_index, name)(top_n=2, **given)]
    )
    tool = QueryEngineTool.from_defaults(engine, name="search", description="Find texts.")

    def told(output: Any) -> list[tuple[str, float]]:
        return [(one.node.get_content(), one.score) for one in output.raw_output.source_nodes]

    for output in (tool.call(input=QUESTION), await tool.acall(input=QUESTION)):
        assert told(output) == best[:2]
        assert best[0][0] in output.content  # MockLLM repeats what it was asked
    chat = ScriptedChat(lambda _: asks("search", input=QUESTION), lambda _: says("There."))
    response = await FunctionAgent(tools=[tool], llm=chat.llm, streaming=False).run("Where?")
    (call,) = response.tool_calls
    assert told(call.tool_output) == best[:2]


async def test_documents_that_are_none_are_named(second: Any) -> None:
    """Of the other framework, without content; metadata may be missing, or hold a score."""
    name, given, best = second
    compressor = getattr(langchain, name)(**given)
    for bad, said in (
        (llama_index.image_node(noise(9, 9)), r"got ImageNode of llama_index\.core\.schema; expected a Document"),
        (Document.model_construct(metadata={}), "the document has no page_content"),
        (Document.model_construct(page_content=None, metadata={}), "got NoneType"),
    ):
        for documents in ([Document("a"), bad], [bad]):
            with pytest.raises(InputError, match=said) as caught:
                compressor.compress_documents(documents, QUESTION)
            assert caught.value.positions == (len(documents) - 1,)
            with pytest.raises(InputError, match=said):
                await compressor.acompress_documents(documents, QUESTION)
    bare = Document.model_construct(page_content=TEXTS[1], metadata=None)
    scored = Document(TEXTS[0], metadata={"relevance_score": 7.0, "n": 1})
    found = compressor.compress_documents([scored, bare], QUESTION)
    scores = dict(best)
    assert {one.page_content: one.metadata["relevance_score"] for one in found} == {
        text: pytest.approx(scores[text]) for text in TEXTS[:2]
    }
    assert scored.metadata == {"relevance_score": 7.0, "n": 1}


async def test_nodes_that_are_none_are_named(second: Any) -> None:
    """A node without its score's wrapper, and None, before an observer gets them."""
    name, given, _ = second
    postprocessor = getattr(llama_index, name)(**given)
    good = NodeWithScore(node=TextNode(text="a"))
    for bad in (TextNode(text="b"), None, Document("c")):
        with pytest.raises(InputError, match=rf"nodes\[1\]: got {type(bad).__name__}; expected a NodeWith") as caught:
            postprocessor.postprocess_nodes([good, bad], query_str=QUESTION)
        assert caught.value.positions == (1,)
        with pytest.raises(InputError, match=r"nodes\[1\]"):
            await postprocessor.apostprocess_nodes([good, bad], query_str=QUESTION)
