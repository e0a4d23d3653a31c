"""The second look in LlamaIndex: nodes of texts and images, events, and the query engine around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex, get_response_synthesizer
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ImageBlock
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.callbacks.schema import EventPayload
from llama_index.core.instrumentation.events.query import QueryEndEvent, QueryStartEvent
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import Node, NodeWithScore, QueryBundle, TextNode

from tests.support.chat import ScriptedChat, asks, says
from tests.support.images import noise
from tests.support.in_memory import in_memory, write_folder
from tests.support.observers import Recorder
from tests.unit.scoring.test_maxsim import by_definition
from vllm_jina_embed import InputError, JinaEmbedder, MediaPolicy
from vllm_jina_embed.errors import EmbeddingWarning
from vllm_jina_embed.inputs.images import open_image
from vllm_jina_embed.inputs.metadata import content_hash, placeholder
from vllm_jina_embed.llama_index import (
    ImageQuery,
    MaxSimReranker,
    VllmJinaEmbedding,
    image_node,
    image_retriever_tool,
    unified_retriever,
)

QUESTION = "where is the red circle"
IDS = ["square", "first", "circle", "second"]
TEXTS = {"square": "a blue square", "circle": "where the red circle is"}


@pytest.fixture
def embedder(tmp_path: Path) -> Iterator[JinaEmbedder]:
    with in_memory([])(write_folder(tmp_path / "checkpoint")) as embedder:
        yield embedder


@pytest.fixture
def nodes(paths: list[Path]) -> list[NodeWithScore]:
    """Texts, an image by path and one inside its node; the scores of the first stage are wrong on purpose."""
    found = [
        TextNode(text=TEXTS["square"], id_="square"),
        image_node(paths[0], id_="first", caption="where is the red circle"),
        TextNode(text=TEXTS["circle"], id_="circle"),
        image_node(paths[1].read_bytes(), id_="second", text="words beside it, which this model takes no image with"),
    ]
    return [NodeWithScore(node=node, score=0.5) for node in found]


def expected(embedder: JinaEmbedder, query: Any, paths: list[Path]) -> list[tuple[str, float]]:
    items = [TEXTS["square"], paths[0], TEXTS["circle"], paths[1]]
    asked = embedder.embed_multi_vector([query], prompt_name="query")
    scores = by_definition(asked, embedder.embed_multi_vector(items))[0]
    return sorted(zip(IDS, scores.tolist(), strict=True), key=lambda pair: -pair[1])


def told(found: Any) -> list[tuple[str, float]]:
    return [(one.node.node_id, pytest.approx(one.score, abs=1e-5)) for one in found]


QUERIES = ["text", "image_path", "ImageQuery", "pixels of image_query", "data URI"]


@pytest.mark.parametrize("kind", QUERIES)
async def test_nodes_are_ranked_as_by_brute_force(
    embedder: JinaEmbedder, nodes: list[NodeWithScore], paths: list[Path], kind: str
) -> None:
    """An image is compared as an image, not its caption; by text, and by an image however it is given."""
    embedding = VllmJinaEmbedding(embedder=embedder)
    query: Any = {
        "text": QueryBundle(QUESTION),
        "image_path": QueryBundle("words", image_path=str(paths[1])),
        "ImageQuery": ImageQuery("words", image=paths[1]),
        "pixels of image_query": embedding.image_query(open_image(paths[1], MediaPolicy()), "words"),
        "data URI": QueryBundle(open_uri(paths[1])),
    }[kind]
    wanted = expected(embedder, QUESTION if kind == "text" else paths[1], paths)
    reranker = MaxSimReranker(embedder=embedding)
    found = reranker.postprocess_nodes(nodes, query_bundle=query)
    assert told(found) == wanted
    assert told(await reranker.apostprocess_nodes(nodes, query_bundle=query)) == wanted
    assert [one.score for one in nodes] == [0.5] * 4  # the caller's own stay as they are
    by_id = {one.node.node_id: one.node for one in nodes}
    assert all(one.node is by_id[one.node.node_id] for one in found)


def open_uri(path: Path) -> str:
    from vllm_jina_embed.inputs.encoding import data_uri

    return data_uri(path.read_bytes(), "image/png")


def test_a_questions_own_words_count_not_those_that_hyde_made_of_it(
    embedder: JinaEmbedder, nodes: list[NodeWithScore], paths: list[Path]
) -> None:
    query = QueryBundle(QUESTION, custom_embedding_strs=["a made up passage", "another"])
    assert told(MaxSimReranker(embedder=embedder).postprocess_nodes(nodes, query)) == expected(
        embedder, QUESTION, paths
    )


async def test_it_is_the_second_look_of_a_query_engine(
    embedder: JinaEmbedder, nodes: list[NodeWithScore], paths: list[Path]
) -> None:
    """By text and by image; nodes come out of the store as they went in."""
    embedding = VllmJinaEmbedding(embedder=embedder)
    index = VectorStoreIndex(embedding([one.node for one in nodes]), embed_model=embedding)
    engine = RetrieverQueryEngine.from_args(
        unified_retriever(index, similarity_top_k=4),
        llm=MockLLM(),
        node_postprocessors=[MaxSimReranker(embedder=embedding, top_n=2)],
    )
    wanted = expected(embedder, QUESTION, paths)[:2]
    assert told(engine.query(QUESTION).source_nodes) == wanted
    assert told((await engine.aquery(QUESTION)).source_nodes) == wanted
    pixels = open_image(paths[1], MediaPolicy())
    found = engine.retrieve(embedding.image_query(pixels))
    assert told(found) == expected(embedder, pixels, paths)[:2]


@pytest.mark.parametrize("by_image", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
async def test_events_and_callbacks_are_sent(
    embedder: JinaEmbedder,
    nodes: list[NodeWithScore],
    paths: list[Path],
    recorder: Recorder,
    by_image: bool,
    is_async: bool,
) -> None:
    """One start and one end each; observers never get an image that was asked by, but a short text for it."""
    debug = LlamaDebugHandler(print_trace_on_end=False)
    reranker = MaxSimReranker(embedder=embedder, top_n=2, callback_manager=CallbackManager([debug]))
    query = QueryBundle("words", image_path=str(paths[0])) if by_image else QueryBundle(QUESTION)
    if is_async:
        found = await reranker.apostprocess_nodes(nodes, query)
    else:
        found = reranker.postprocess_nodes(nodes, query)
    shown = placeholder(content_hash(open_image(paths[0], MediaPolicy()))) if by_image else QUESTION
    start, end = (event for event in recorder.seen if isinstance(event, ReRankStartEvent | ReRankEndEvent))
    assert (start.query, start.top_n, start.model_name) == (shown, 2, embedder.checkpoint.label)
    assert [one.node.node_id for one in start.nodes] == IDS
    assert isinstance(end, ReRankEndEvent)
    assert end.nodes == found
    ((begun, ended),) = debug.get_event_pairs(CBEventType.RERANKING)
    assert begun.payload[EventPayload.QUERY_STR] == shown
    assert (begun.payload[EventPayload.NODES], begun.payload[EventPayload.TOP_K]) == (nodes, 2)
    assert ended.payload[EventPayload.NODES] == found


def test_a_query_engine_sends_the_events_of_the_second_look(
    embedder: JinaEmbedder, nodes: list[NodeWithScore], recorder: Recorder
) -> None:
    """Inside the engine's own, and to the callbacks of the engine."""
    debug = LlamaDebugHandler(print_trace_on_end=False)
    embedding = VllmJinaEmbedding(embedder=embedder)
    index = VectorStoreIndex(embedding([one.node for one in nodes]), embed_model=embedding)
    engine = RetrieverQueryEngine(
        unified_retriever(index, similarity_top_k=4),
        response_synthesizer=get_response_synthesizer(llm=MockLLM()),
        node_postprocessors=[MaxSimReranker(embedder=embedding, top_n=2)],
        callback_manager=CallbackManager([debug]),
    )
    found = engine.query(QUESTION).source_nodes
    kinds = [type(event) for event in recorder.seen]
    assert kinds.count(ReRankStartEvent) == kinds.count(ReRankEndEvent) == 1
    start, end = kinds.index(ReRankStartEvent), kinds.index(ReRankEndEvent)
    assert kinds.index(QueryStartEvent) < kinds.index(RetrievalEndEvent) < start < end < kinds.index(QueryEndEvent)
    (ended,) = (event for event in recorder.seen if isinstance(event, ReRankEndEvent))
    assert [one.node.node_id for one in ended.nodes] == [one.node.node_id for one in found]
    assert len(debug.get_event_pairs(CBEventType.RERANKING)) == 1


@pytest.mark.parametrize("by_image", [False, True])
async def test_an_agents_tool_shows_what_the_second_look_found(
    embedder: JinaEmbedder, nodes: list[NodeWithScore], paths: list[Path], by_image: bool
) -> None:
    """By words, and by an image that the application named; without the second look the order is another."""
    embedding = VllmJinaEmbedding(embedder=embedder)
    index = VectorStoreIndex(embedding([one.node for one in nodes]), embed_model=embedding)
    retriever = unified_retriever(index, similarity_top_k=4)
    options: dict[str, Any] = {"embedding": embedding, "images": {"mine": paths[1]}}
    reranker = MaxSimReranker(embedder=embedding, top_n=3)
    tool = image_retriever_tool(retriever, node_postprocessors=[reranker], **options)
    asked = {"image": "mine"} if by_image else {"query": QUESTION}
    wanted = expected(embedder, paths[1] if by_image else QUESTION, paths)[:3]
    for output in (tool.call(**asked), await tool.acall(**asked)):
        assert told(output.raw_output) == wanted
        assert sum(isinstance(block, ImageBlock) for block in output.blocks) == sum(
            name in ("first", "second") for name, _ in wanted
        )
    plain = image_retriever_tool(retriever, **options).call(**asked).raw_output
    assert [one.node.node_id for one in plain] != [name for name, _ in wanted]


async def test_an_agent_calls_that_tool(embedder: JinaEmbedder, nodes: list[NodeWithScore], paths: list[Path]) -> None:
    """End to end: the chat model reads the best first, and cites it."""
    embedding = VllmJinaEmbedding(embedder=embedder)
    index = VectorStoreIndex(embedding([one.node for one in nodes]), embed_model=embedding)
    tool = image_retriever_tool(
        unified_retriever(index, similarity_top_k=4), node_postprocessors=[MaxSimReranker(embedder=embedding, top_n=1)]
    )
    chat = ScriptedChat(lambda _: asks(tool.metadata.get_name(), query=QUESTION), lambda _: says("It is [1]."))
    response = await FunctionAgent(tools=[tool], llm=chat.llm, streaming=False).run("Where?")
    assert str(response) == "It is [1]."
    (call,) = response.tool_calls
    assert told(call.tool_output.raw_output) == expected(embedder, QUESTION, paths)[:1]


def test_the_tools_images_are_read_under_the_rerankers_limits(
    embedder: JinaEmbedder, nodes: list[NodeWithScore], paths: list[Path], tmp_path: Path
) -> None:
    """Where nothing else names any: a file outside its folder is not shown."""
    media = MediaPolicy(allowed_root=tmp_path)
    retriever = VectorStoreIndex(
        [TextNode(text="a", embedding=[1.0])], embed_model=MockEmbedding(embed_dim=1)
    ).as_retriever()
    with in_memory([])(embedder.checkpoint.location, media=media) as bounded:
        tool = image_retriever_tool(retriever, node_postprocessors=[MaxSimReranker(embedder=bounded)])
        assert tool._view.media == media


def test_a_missing_query_is_named(embedder: JinaEmbedder, nodes: list[NodeWithScore]) -> None:
    reranker = MaxSimReranker(embedder=embedder)
    for query, said in ((None, "came without a query"), (QueryBundle(""), "neither text nor image")):
        with pytest.raises(InputError, match=said):
            reranker.postprocess_nodes(nodes, query_bundle=query)


async def test_bad_nodes_are_named(embedder: JinaEmbedder, nodes: list[NodeWithScore], tmp_path: Path) -> None:
    """A node without text, and one whose image is gone; they are left out where the embedder skips."""
    bad = [TextNode(text=" ", id_="empty"), image_node(noise(9, 9), id_="gone")]
    bad[1].image_path, bad[1].image = str(tmp_path / "gone.png"), None  # type: ignore[attr-defined]
    for node in bad:
        given = [nodes[0], NodeWithScore(node=node)]
        reranker = MaxSimReranker(embedder=embedder)
        with pytest.raises(InputError) as caught:
            reranker.postprocess_nodes(given, query_str=QUESTION)
        assert caught.value.positions == (1,)
        with pytest.raises(InputError) as caught:
            await reranker.apostprocess_nodes(given, query_str=QUESTION)
        assert caught.value.positions == (1,)
        with (
            in_memory([])(write_folder(tmp_path / "other"), on_error="skip") as skipping,
            pytest.warns(EmbeddingWarning, match="not ranked"),
        ):
            found = MaxSimReranker(embedder=skipping).postprocess_nodes(given, query_str=QUESTION)
        assert [one.node.node_id for one in found] == ["square"]


def test_a_node_of_resources_is_an_image_too(embedder: JinaEmbedder, paths: list[Path]) -> None:
    """As everywhere in the adapter: the kind of the node decides, not its text."""
    from llama_index.core.schema import MediaResource

    node = Node(image_resource=MediaResource(path=paths[0]), id_="resource")
    (found,) = MaxSimReranker(embedder=embedder).postprocess_nodes([NodeWithScore(node=node)], query_str=QUESTION)
    asked = embedder.embed_multi_vector([QUESTION], prompt_name="query")
    assert found.score == pytest.approx(by_definition(asked, embedder.embed_multi_vector([paths[0]]))[0, 0], abs=1e-5)
