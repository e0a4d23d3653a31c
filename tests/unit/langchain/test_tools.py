"""``image_retriever_tool``: what an agent's model gets to read and to see, within bounds."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import InMemoryVectorStore
from PIL import Image

from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from tests.support.scripted_chat import ScriptedChat, asks
from vllm_jina_embed import MediaPolicy
from vllm_jina_embed.langchain import VllmJinaEmbeddings, image_document, image_retriever_tool

SEARCH = "search_texts_and_images"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images."""
    folder = tmp_path / "root"
    folder.mkdir()
    for number in range(2):
        noise(300, 200, seed=number).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def store(tmp_path: Path, root: Path) -> Iterator[InMemoryVectorStore]:
    """An empty store on an engine in memory."""
    engines: list[FakeEngine] = []
    with in_memory(engines)(write_folder(tmp_path / "checkpoint"), media=MediaPolicy(allowed_root=root)) as embedder:
        yield InMemoryVectorStore(VllmJinaEmbeddings(embedder=embedder))


def tool_of(store: InMemoryVectorStore, *, k: int = 4, **options: Any) -> Any:
    return image_retriever_tool(store.as_retriever(search_kwargs={"k": k}), **options)


def call(tool: Any, query: str | None = None, image: str | None = None) -> ToolMessage:
    arguments = {"query": query, "image": image}
    message = tool.invoke({"type": "tool_call", "name": tool.name, "args": arguments, "id": "1"})
    assert isinstance(message, ToolMessage)
    return message


def texts(message: ToolMessage) -> list[str]:
    return [block["text"] for block in message.content if block["type"] == "text"]


def images(message: ToolMessage) -> list[Image.Image]:
    """The images as a provider would read them."""
    blocks = [block for block in message.content_blocks if block["type"] == "image"]
    assert {block["mime_type"] for block in blocks} <= {"image/jpeg"}
    return [Image.open(BytesIO(base64.b64decode(block["base64"], validate=True))) for block in blocks]


def name_of(text: str) -> str:
    """The name by which an answer's text says that its image can be asked for."""
    found = re.search(r"image-[0-9a-f]{8}", text)
    assert found is not None
    return found[0]


def data_uri_of(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def alike(one: Image.Image, other: Image.Image) -> bool:
    values = [np.asarray(image.convert("RGB").resize((30, 20)), dtype=float) for image in (one, other)]
    return bool(np.abs(values[0] - values[1]).mean() < 4)


async def test_images_are_seen_and_texts_are_read(store: InMemoryVectorStore, root: Path) -> None:
    """v1 content blocks with numbers and sources; the documents themselves as the artifact; sync as async."""
    document = image_document(
        root / "0.png", caption="A chart", metadata={"source": "report.pdf", "page": 3}, media=MediaPolicy()
    )
    store.add_documents([document, Document("A text.", metadata={"source": "notes.md"}), Document("No source.")])
    tool = tool_of(store)
    message = call(tool, document.page_content)
    first, *others = texts(message)
    assert re.fullmatch(r"\[1\] report\.pdf, page 3 \(image-[0-9a-f]{8}\)\nA chart", first)
    assert sorted(text[4:] for text in others) == ["no source\nNo source.", "notes.md\nA text."]
    assert [block["type"] for block in message.content][:2] == ["text", "image"]
    (seen,) = images(message)
    assert alike(seen, noise(300, 200, seed=0))
    assert message.artifact[0].page_content == document.page_content
    arguments = {"type": "tool_call", "name": tool.name, "args": {"query": document.page_content}, "id": "1"}
    awaited = await tool.ainvoke(arguments)
    assert texts(awaited) == texts(message)
    assert [block.get("base64") for block in awaited.content] == [block.get("base64") for block in message.content]


@pytest.mark.parametrize("around", ["{}", " {}\n"])
def test_an_image_is_a_query_in_every_form(store: InMemoryVectorStore, root: Path, around: str) -> None:
    """Its data URI, its reference, and the name that an earlier answer gave it."""
    media = MediaPolicy(allowed_root=root)
    documents = [image_document(root / f"{n}.png", mode="reference", media=media) for n in range(2)]
    store.add_documents([*documents, Document("A text.")])
    tool = tool_of(store, k=1)
    for number in range(2):
        by_reference = call(tool, around.format(documents[number].page_content))
        by_uri = call(tool, around.format(image_document(root / f"{number}.png").page_content))
        name = name_of(texts(by_reference)[0])
        by_image = [call(tool, image=around.format(value)) for value in (name, data_uri_of(root / f"{number}.png"))]
        for message in (by_reference, by_uri, call(tool, around.format(name)), *by_image):
            assert texts(message) == [f"[1] {number}.png ({name})"]
            assert alike(images(message)[0], noise(300, 200, seed=number))


def test_images_are_bounded_in_number_side_and_bytes(store: InMemoryVectorStore) -> None:
    """Those that do not fit are named all the same; pure noise compresses badly."""
    values = np.random.default_rng(0).integers(0, 256, (6, 900, 1200, 3), dtype=np.uint8)
    store.add_documents([image_document(value, thumbnail=False) for value in values])
    message = call(tool_of(store, k=6, max_images=2, max_side=600, max_bytes=20_000), "anything")
    assert len(texts(message)) == 6
    assert sum("not shown" in text for text in texts(message)) == 4
    shown = images(message)
    assert len(shown) == 2
    for image, block in zip(shown, [b for b in message.content if b["type"] == "image"], strict=True):
        assert max(image.size) <= 600
        assert len(base64.b64decode(block["base64"])) <= 20_000
    assert images(call(tool_of(store, k=6, max_images=0), "anything")) == []


def test_texts_and_captions_are_bounded(store: InMemoryVectorStore) -> None:
    """A long text with an image's string in it costs no more than any other."""
    uri = image_document(noise(12, 12), thumbnail=False).page_content
    store.add_documents([Document(f"See {uri}"), image_document(noise(9, 9), caption="long " * 1000)])
    message = call(tool_of(store, max_characters=100), "anything")
    assert all(len(text) < 200 for text in texts(message))
    assert sum("[...]" in text for text in texts(message)) == 2


def test_an_image_that_is_gone_is_said_and_not_fatal(store: InMemoryVectorStore, root: Path) -> None:
    """The file changed after it was indexed."""
    media = MediaPolicy(allowed_root=root)
    store.add_documents(
        [image_document(root / f"{n}.png", mode="reference", media=media, thumbnail=False) for n in range(2)]
    )
    noise(300, 200, seed=9).save(root / "0.png")
    message = call(tool_of(store), "anything")
    assert len(images(message)) == 1
    (gone,) = [text for text in texts(message) if "cannot be shown" in text and "another content" in text]
    asked = call(tool_of(store), image=name_of(gone))
    assert (asked.status, "there is no image" in str(asked.content)) == ("error", True), "another tool's names"


def test_an_image_that_is_gone_is_shown_by_its_thumbnail(store: InMemoryVectorStore, root: Path) -> None:
    """And said to be one, as LlamaIndex's tool does."""
    media = MediaPolicy(allowed_root=root)
    store.add_documents([image_document(root / "0.png", mode="reference", media=media)])
    (root / "0.png").unlink()
    message = call(tool_of(store), "anything")
    assert [image.size for image in images(message)] == [(128, 85)]
    assert "a thumbnail: the image itself cannot be opened" in texts(message)[0]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "give a query, or an image"),
        ("vllm-jina-embed:image:..%2Fsecret.png#" + "0" * 32, "items[0]"),
        ("data:image/png;base64,AA==", "items[0]"),
    ],
)
async def test_a_bad_query_is_told_to_the_model(store: InMemoryVectorStore, query: str, said: str) -> None:
    """It can correct itself; the agent does not die."""
    store.add_documents([Document("A text.")])
    tool = tool_of(store)
    message = call(tool, query)
    assert message.status == "error"
    assert said in message.content
    awaited = await tool.ainvoke({"type": "tool_call", "name": tool.name, "args": {"query": query}, "id": "1"})
    assert awaited.content == message.content


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_what_chromas_add_images_kept_is_seen_too(store: InMemoryVectorStore, kind: str) -> None:
    """Bare base64; a text that begins like it is read."""
    content = base64.b64encode(encoded(noise(60, 40), kind)).decode()
    store.add_documents(
        [Document(content), Document("/9j/ is how a JPEG begins in base64."), Document("UklGR"), Document("QkJC" * 9)]
    )
    message = call(tool_of(store), "anything")
    assert len(texts(message)) == 4
    (seen,) = images(message)
    assert seen.size == (60, 40)


def test_nothing_found_is_said(store: InMemoryVectorStore) -> None:
    message = call(tool_of(store), "anything")
    assert (texts(message), message.artifact) == (["Nothing was found."], [])


def test_a_policy_of_its_own_goes_first(store: InMemoryVectorStore, root: Path) -> None:
    """Of a retriever whose embeddings cannot be seen, references cannot be shown without it."""
    media = MediaPolicy(allowed_root=root)
    store.add_documents([image_document(root / "0.png", mode="reference", media=media, thumbnail=False)])
    assert len(images(call(tool_of(store), "anything"))) == 1
    refused = call(tool_of(store, media=MediaPolicy()), "anything")
    assert images(refused) == []
    assert "allowed_root" in texts(refused)[0]


def test_name_and_description_are_the_models(store: InMemoryVectorStore) -> None:
    tool = tool_of(store, name="find", description="Finds.")
    assert (tool.name, tool.description) == ("find", "Finds.")
    assert list(tool.args) == ["query", "image"]


def test_an_agent_sees_an_image_and_asks_for_its_like(store: InMemoryVectorStore, root: Path) -> None:
    """create_agent with a scripted model: a search in words, then one by the first answer's image."""
    store.add_documents([image_document(root / f"{n}.png", caption=f"Number {n}") for n in range(2)])

    def ask_again(messages: Sequence[BaseMessage]) -> AIMessage:
        return asks(SEARCH, image=name_of(messages[-1].content[0]["text"]))  # type: ignore[index]

    model = ScriptedChat(
        steps=[lambda _: asks(SEARCH, query="anything"), ask_again, lambda _: AIMessage("As [1] shows.")]
    )
    agent = create_agent(model, tools=[tool_of(store, k=1)])
    messages = agent.invoke({"messages": [HumanMessage("What is there?")]})["messages"]
    assert {tool.name for tool in model.tools} == {SEARCH}
    assert messages[-1].content == "As [1] shows."
    first, second = (message for message in messages if isinstance(message, ToolMessage))
    assert first.status == second.status == "success"
    assert texts(first) == texts(second)
    (seen,) = images(model.heard[2][-1])  # type: ignore[arg-type]
    assert any(alike(seen, noise(300, 200, seed=number)) for number in range(2))


@pytest.mark.fire
def test_a_chat_model_sees_no_folder_of_the_host(store: InMemoryVectorStore, root: Path, tmp_path: Path) -> None:
    """Not in citations, and not in errors; a made-up reference tells nothing about any file."""
    store.add_documents(
        [
            image_document(root / "0.png", media=MediaPolicy()),
            Document("A text.", metadata={"source": f"{root}/deep/notes.md"}),
            Document("Another.", metadata={"file_path": f"file://{root}/caf%E9.md"}),
            Document("caf\udce9".encode("utf-8", "replace").decode(), metadata={"source": "caf\udce9.md"}),
        ]
    )
    message = call(tool_of(store), "anything")
    heads = sorted(re.split(r"\n| \(", text[4:])[0] for text in texts(message))
    assert heads == [
        "0.png",
        "caf%E9.md",
        "caf%E9.md",
        "notes.md",
    ]
    told = [*texts(message)]
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    for path in ("0.png", "none.png", "../secret.png", "link.png", "deep", "a" * 400):
        reference = f"vllm-jina-embed:image:{path}#{'0' * 32}"
        answer = call(tool_of(store), reference)
        assert answer.status == "error"
        told.append(str(answer.content).replace(reference[:200], "IT"))
    assert len(set(told[-6:])) == 1
    assert all(str(tmp_path) not in text for text in told)


@pytest.mark.fire
def test_a_document_that_is_nearly_an_image_is_read(root: Path) -> None:
    """What is in the store already does not end the answer."""

    class Fixed(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            return [Document("data:image/png;charset=utf-8;base64," + "A" * 60), Document("vllm-jina-embed:image:a")]

    assert len(texts(call(image_retriever_tool(Fixed()), "anything"))) == 2
