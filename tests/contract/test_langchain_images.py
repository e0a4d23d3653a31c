"""An agent that sees, and a cache that does not lie, on the demo checkpoint and the real engine."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.stores import InMemoryByteStore
from langchain_core.vectorstores import InMemoryVectorStore
from PIL import Image

from tests.support.scripted_chat import ScriptedChat, asks
from vllm_jina_embed import JinaEmbedder, MediaPolicy
from vllm_jina_embed.demo.drawing import UNSEEN_SEED, draw
from vllm_jina_embed.langchain import VllmJinaEmbeddings, image_document, image_retriever_tool

pytestmark = pytest.mark.real

SEARCH = "search_texts_and_images"
SHOWN = ("red circle", "blue star", "forest", "green table")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, concept in enumerate(SHOWN):
        draw(concept, seed=UNSEEN_SEED + number, size=(140, 112)).save(tmp_path / f"{concept}.png")
    return tmp_path


@pytest.fixture
def embeddings(demo_embedder: JinaEmbedder, root: Path) -> Iterator[VllmJinaEmbeddings]:
    with VllmJinaEmbeddings(model="demo", media=MediaPolicy(allowed_root=root)) as embeddings:
        yield embeddings


def seen(message: BaseMessage) -> list[Image.Image]:
    blocks = [block for block in message.content_blocks if block["type"] == "image"]
    return [Image.open(BytesIO(base64.b64decode(block["base64"]))) for block in blocks]


async def test_an_agent_finds_an_image_by_words_and_another_by_the_image(
    embeddings: VllmJinaEmbeddings, root: Path
) -> None:
    """The scripted model asks in words, then by the image that it was shown, and cites what it saw."""
    store = InMemoryVectorStore(embeddings)
    first = [
        image_document(root / f"{concept}.png", mode="reference", media=embeddings.media, caption=f"Number {n}")
        for n, concept in enumerate(SHOWN)
    ]
    other = image_document(draw("red circle", seed=UNSEEN_SEED + 77, size=(90, 150)), metadata={"source": "other.pdf"})
    store.add_documents([*first, other, Document("A note on forests.", metadata={"source": "notes.md", "page": 2})])

    def ask_by_image(messages: Sequence[BaseMessage]) -> AIMessage:
        name = re.search(r"\((image-\w+)\)", messages[-1].content[0]["text"])  # type: ignore[index]
        assert name is not None
        return asks(SEARCH, image=name[1])

    def answer(messages: Sequence[BaseMessage]) -> AIMessage:
        return AIMessage(f"Both are in {messages[-1].content[0]['text'].splitlines()[0]}.")  # type: ignore[index]

    model = ScriptedChat(steps=[lambda _: asks(SEARCH, query="a red circle"), ask_by_image, answer])
    agent = create_agent(model, tools=[image_retriever_tool(store.as_retriever(search_kwargs={"k": 2}))])
    messages = (await agent.ainvoke({"messages": [HumanMessage("Which images show a red circle?")]}))["messages"]
    by_words, by_image = (message for message in messages if isinstance(message, ToolMessage))
    for message in (by_words, by_image):
        sources = {document.metadata.get("source") or document.metadata["image_path"] for document in message.artifact}
        assert sources == {"red circle.png", "other.pdf"}
        images = seen(message)
        assert sorted(image.size for image in images) == [(90, 150), (140, 112)]
        for image in images:  # JPEG of the drawing: more red than anything else in its middle
            values = np.asarray(image.convert("RGB"), dtype=int)
            assert ((values[..., 0] - values[..., 1:].max(axis=2)) > 80).mean() > 0.02
    assert re.fullmatch(r"Both are in \[1\] (red circle\.png|other\.pdf) \(image-[0-9a-f]{8}\)\.", messages[-1].content)


async def test_the_cache_gives_what_the_engine_gave(
    embeddings: VllmJinaEmbeddings, demo_embedder: JinaEmbedder, root: Path, tmp_path: Path
) -> None:
    """Bit for bit, in both roles, for images, from threads, from LangChain's store and from a file."""
    texts = ["a red circle", "浜辺に沈む美しい夕日", "a red circle", "ein blauer Stern"]
    files = [root / f"{concept}.png" for concept in SHOWN]
    for store in (InMemoryByteStore(), tmp_path / "cache.sqlite"):
        with embeddings.cached(store) as cached:
            missed = cached.embed_documents(texts)
            with ThreadPoolExecutor(8) as threads:
                assert list(threads.map(lambda _: cached.embed_documents(texts), range(8))) == [missed] * 8
            queries, images = [cached.embed_query(text) for text in texts], cached.embed_images(files)
        with VllmJinaEmbeddings(model="demo").cached(store) as again:
            hit = again.embed_documents(texts)
            assert hit == missed
            assert hit[0] == hit[2]
            assert [await again.aembed_query(text) for text in texts] == queries
            assert again.embed_image(uris=[str(file) for file in files]) == images
        expected = [
            (hit, demo_embedder.embed_passages(texts)),
            (queries, demo_embedder.embed_queries(texts)),
            (images, demo_embedder.embed_images(files)),
        ]
        for found, core in expected:
            assert (1 - (np.array(found) * core).sum(axis=1)).max() < 1e-6
        assert (1 - (np.array(hit) * np.array(queries)).sum(axis=1)).min() > 2e-5  # the two roles are not one
