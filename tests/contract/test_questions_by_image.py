"""An image that is searched by has a query's prompt, whatever it is passed to, where the model has one for images."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import QueryBundle, VectorStoreIndex

from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import JinaEmbedder, langchain, llama_index
from vllm_jina_embed.checkpoints.prompt_pieces import Slot
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.demo.corpus import DemoItem
from vllm_jina_embed.demo.frameworks import LangChainSearch, LlamaIndexSearch

IMAGE = noise(30, 20)
URI = f"data:image/png;base64,{base64.b64encode(encoded(IMAGE)).decode()}"
BY_ROLE = replace(
    JINA_V4,
    name="own-by-role",
    templates={key: pieces for key, pieces in JINA_V4.templates.items() if key[1] == "text"}
    | {("query", "image"): ("Find: ", Slot.IMAGES), ("passage", "image"): (Slot.IMAGES, " Describe.")},
    vectors_before={},
)


@dataclass
class Bench:
    """An embedder over a row with two prompts for images, its engines, and where files may lie."""

    embedder: JinaEmbedder
    engines: list[FakeEngine]
    path: Path

    def asked(self) -> list[tuple[int, ...]]:
        """Return the token ids of every prompt with an image since the last call."""
        ids = [prompt.token_ids for engine in self.engines for prompt in engine.prompts if prompt.images]
        for engine in self.engines:
            engine.prompts.clear()
        return ids

    def llama_index(self) -> llama_index.VllmJinaEmbedding:
        return llama_index.VllmJinaEmbedding(embedder=self.embedder)

    def langchain(self) -> langchain.VllmJinaEmbeddings:
        return langchain.VllmJinaEmbeddings(embedder=self.embedder)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    engines: list[FakeEngine] = []
    with in_memory(engines)(write_folder(tmp_path / "model"), row=BY_ROLE) as embedder:
        yield Bench(embedder, engines, tmp_path)


def file_of(bench: Bench) -> str:
    path = bench.path / "asked.png"
    IMAGE.save(path)
    return str(path)


# --- questions --------------------------------------------------------------------------------------------------------


def core(bench: Bench) -> None:
    bench.embedder.embed([IMAGE], prompt_name="query")


def core_score(bench: Bench) -> None:
    bench.embedder.score([IMAGE], ["a text"])


def image_query(bench: Bench) -> None:
    """As a file, as it is, and as bytes."""
    for image in (file_of(bench), IMAGE, encoded(IMAGE), URI):
        assert bench.llama_index().image_query(image).embedding == pytest.approx(expected(bench))


async def aimage_query(bench: Bench) -> None:
    for image in (file_of(bench), IMAGE, encoded(IMAGE), URI):
        assert (await bench.llama_index().aimage_query(image)).embedding == pytest.approx(expected(bench))


def cached_image_query(bench: Bench) -> None:
    """A vector that is kept of the passage is none of the question."""
    with in_memory(bench.engines)(bench.path / "model", row=BY_ROLE) as embedder:
        cached = llama_index.VllmJinaEmbedding(embedder=embedder.cached(bench.path / "cache.sqlite"))
        passage = cached.get_image_embedding(IMAGE)
        bench.asked()
        assert cached.image_query(IMAGE).embedding != passage
        cached.embedder.close()  # type: ignore[union-attr]


def data_uri_to_llama_index(bench: Bench) -> None:
    bench.llama_index().get_query_embedding(URI)


def retriever_of(bench: Bench) -> Any:
    index = VectorStoreIndex(nodes=[], embed_model=bench.llama_index())
    return llama_index.unified_retriever(index, similarity_top_k=1)


def unified_retriever(bench: Bench) -> None:
    retriever_of(bench).retrieve(QueryBundle("words", image_path=file_of(bench)))


async def async_unified_retriever(bench: Bench) -> None:
    await retriever_of(bench).aretrieve(QueryBundle("words", image_path=file_of(bench)))


def llama_index_tool(bench: Bench) -> None:
    llama_index.image_retriever_tool(retriever_of(bench), embedding=bench.llama_index()).call(image=URI)


async def async_llama_index_tool(bench: Bench) -> None:
    await llama_index.image_retriever_tool(retriever_of(bench), embedding=bench.llama_index()).acall(image=URI)


def data_uri_to_langchain(bench: Bench) -> None:
    bench.langchain().embed_query(URI)


def langchain_tool(bench: Bench) -> None:
    retriever = InMemoryVectorStore(bench.langchain()).as_retriever()
    langchain.image_retriever_tool(retriever).invoke({"image": URI})


async def async_langchain_tool(bench: Bench) -> None:
    retriever = InMemoryVectorStore(bench.langchain()).as_retriever()
    await langchain.image_retriever_tool(retriever).ainvoke({"image": URI})


def late_interaction(bench: Bench) -> None:
    pytest.importorskip("qdrant_client")
    from vllm_jina_embed.late_interaction import LateInteractionIndex

    index = LateInteractionIndex(bench.embedder)
    index.search(IMAGE)
    retriever = llama_index.LateInteractionRetriever(index)
    retriever.retrieve(retriever.image_query(IMAGE))
    retriever.retrieve(QueryBundle("words", image_path=file_of(bench)))
    langchain.LateInteractionRetriever(index=index).invoke(URI)
    index.close()


async def mcp(bench: Bench) -> None:
    """An image that the client brings along, and one of the corpus, by its id and its name."""
    pytest.importorskip("mcp.server.mcpserver")
    from tests.support.indexes import write_files
    from vllm_jina_embed.mcp.building import build
    from vllm_jina_embed.mcp.opening import opened
    from vllm_jina_embed.mcp.server import Service

    folder = write_files(bench.path / "folder", {"a.png": encoded(IMAGE), "a.txt": "a text"})
    build(folder, bench.path / "index", bench.embedder)
    bench.asked()
    with opened(bench.path / "index") as corpus:
        service = Service(corpus, bench.embedder)
        service._ready = service._sound = asyncio.ensure_future(asyncio.sleep(0))
        await service.search(image=URI)
        await service.search(image="a.png")
        await service.search(image=next(iter(service._view._named)))
        assert len(bench.engines[0].prompts) == 3
        await service.search(image="a.txt#L1-1")  # a text's own embedding is stored, and is that of a passage
        assert len(bench.engines[0].prompts) == 3


def of_the_demo(search: type[Any], adapter: Any, bench: Bench) -> Any:
    made = search("demo")
    for name in ("_embeddings", "_embedding"):
        if hasattr(made, name):
            setattr(made, name, adapter)
    return made.ask(DemoItem(name="a", concept="a", language=None, content=IMAGE), 1)


async def demo_in_langchain(bench: Bench) -> None:
    await of_the_demo(LangChainSearch, bench.langchain(), bench)


async def demo_in_llama_index(bench: Bench) -> None:
    await of_the_demo(LlamaIndexSearch, bench.llama_index(), bench)


def expected(bench: Bench) -> list[float]:
    row: list[float] = bench.embedder.embed([IMAGE], prompt_name="query")[0].tolist()
    return row


QUESTIONS: list[Callable[[Bench], Any]] = [
    core, core_score, image_query, aimage_query, cached_image_query, data_uri_to_llama_index, unified_retriever,
    async_unified_retriever, llama_index_tool, async_llama_index_tool, data_uri_to_langchain, langchain_tool,
    async_langchain_tool, late_interaction, mcp, demo_in_langchain, demo_in_llama_index,
]  # fmt: skip


async def ids_of(bench: Bench, call: Callable[[Bench], Any]) -> set[tuple[int, ...]]:
    bench.asked()
    result = call(bench)
    if asyncio.iscoroutine(result):
        await result
    return set(bench.asked())


@pytest.mark.parametrize("ask", QUESTIONS, ids=lambda ask: ask.__name__)
async def test_an_image_that_is_searched_by_has_the_prompt_of_a_query(
    bench: Bench, ask: Callable[[Bench], Any]
) -> None:
    """And no other prompt."""
    query = await ids_of(bench, core)
    assert query != await ids_of(bench, lambda bench: bench.embedder.embed_images([IMAGE]))
    assert await ids_of(bench, ask) == query


PASSAGES: list[Callable[[Bench], Any]] = [
    lambda bench: bench.langchain().embed_image(IMAGE),
    lambda bench: bench.langchain().embed_images([IMAGE]),
    lambda bench: bench.langchain().embed_documents([URI]),
    lambda bench: bench.llama_index().get_image_embedding(IMAGE),
    lambda bench: bench.llama_index().aget_image_embedding(IMAGE),
    lambda bench: bench.llama_index().get_image_embedding_batch([IMAGE]),
    lambda bench: bench.llama_index()([llama_index.image_node(IMAGE)]),
]


@pytest.mark.parametrize("number", range(len(PASSAGES)))
async def test_an_image_that_is_stored_has_the_prompt_of_a_passage(bench: Bench, number: int) -> None:
    """Of LangChain's ``embed_image`` too, which stores index with."""
    passage = await ids_of(bench, lambda bench: bench.embedder.embed_images([IMAGE]))
    assert await ids_of(bench, PASSAGES[number]) == passage


async def test_an_image_of_an_index_is_not_embedded_again_where_both_roles_have_one_prompt(tmp_path: Path) -> None:
    """Its stored vector is that of the question then."""
    pytest.importorskip("mcp.server.mcpserver")
    from tests.support.indexes import write_files
    from vllm_jina_embed.mcp.building import build
    from vllm_jina_embed.mcp.opening import opened
    from vllm_jina_embed.mcp.server import Service

    engines: list[FakeEngine] = []
    folder = write_files(tmp_path / "folder", {"a.png": encoded(IMAGE)})
    with in_memory(engines)(write_folder(tmp_path / "model")) as embedder:
        build(folder, tmp_path / "index", embedder)
        engines[0].prompts.clear()
        with opened(tmp_path / "index") as corpus:
            service = Service(corpus, embedder)
            service._sound = asyncio.ensure_future(asyncio.sleep(0))
            await service.search(image="a.png")
    assert engines[0].prompts == []
