"""An agent searches, sees images, cites them, and searches on by what it saw."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.schema import ImageNode, NodeWithScore, QueryBundle, TextNode
from PIL import Image

from tests.support.chat import ScriptedChat, asks, says
from tests.support.embedders import FakeEmbedder
from tests.support.images import encoded, noise
from vllm_jina_embed import ConfigError, InputError, MediaPolicy
from vllm_jina_embed._arrays import Floats
from vllm_jina_embed.llama_index import VllmJinaEmbedding, image_node, image_retriever_tool, unified_retriever

TOOL = "search_texts_and_images"


@pytest.fixture
def retriever(embedding: VllmJinaEmbedding, paths: list[Path]) -> BaseRetriever:
    """Three images and a long text; every search finds all."""
    nodes = [image_node(path, caption=f"caption {path.stem}", id_=path.stem) for path in paths]
    nodes.append(TextNode(text="word " * 1000, id_="text"))
    index = VectorStoreIndex(embedding(nodes), embed_model=embedding)
    return unified_retriever(index, similarity_top_k=4)


def shown(blocks: list[object]) -> list[Image.Image]:
    return [Image.open(block.resolve_image()) for block in blocks if isinstance(block, ImageBlock)]


def headed(blocks: list[object], beginning: str) -> TextBlock:
    (block,) = [one for one in blocks if isinstance(one, TextBlock) and one.text.startswith(beginning)]
    return block


def name_of(blocks: Sequence[object], text: str) -> str:
    """The name by which an answer says that the image beside ``text`` can be asked for."""
    (block,) = [one for one in blocks if isinstance(one, TextBlock) and text in one.text]
    found = re.search(r"image-[0-9a-f]{8}", block.text)
    assert found is not None
    return found[0]


async def test_an_agent_sees_what_it_found(retriever: BaseRetriever, paths: list[Path]) -> None:
    """End to end: the chat model is sent the images as blocks beside their numbers, and cites one."""
    chat = ScriptedChat(lambda _: asks(TOOL, query="a caption"), lambda _: says("It is in [1]."))
    agent = FunctionAgent(tools=[image_retriever_tool(retriever)], llm=chat.llm, streaming=False)
    response = await agent.run("What is there?")
    assert str(response) == "It is in [1]."
    (result,) = [message for message in chat.heard[-1] if message.role == "tool"]
    assert sorted(image.size for image in shown(result.blocks)) == [(40, 30), (41, 30), (42, 30)]
    heads = [block.text for block in result.blocks if isinstance(block, TextBlock)]
    assert [head[:4] for head in heads] == ["[1] ", "[2] ", "[3] ", "[4] "]
    (call,) = response.tool_calls
    for number, hit in enumerate(call.tool_output.raw_output, start=1):
        expected = f"caption {hit.node_id}" if hit.node_id != "text" else "word word"
        assert expected in headed(result.blocks, f"[{number}]").text, "the application resolves citations so"
    for block, following in zip(result.blocks, result.blocks[1:], strict=False):
        if isinstance(block, TextBlock) and " (image-" in block.text:
            assert isinstance(following, ImageBlock), "each image stands behind its number"


async def test_an_agent_searches_by_an_image_that_it_saw(
    retriever: BaseRetriever, embedding: VllmJinaEmbedding, fake: FakeEmbedder, paths: list[Path]
) -> None:
    """Its id comes from the first answer; the application may name further images."""
    chat = ScriptedChat(
        lambda _: asks(TOOL, query="anything"),
        lambda heard: asks(TOOL, image=name_of(heard[-1].blocks, "caption two")),
        lambda _: asks(TOOL, image="the user's"),
        lambda _: says("done"),
    )
    tool = image_retriever_tool(retriever, embedding=embedding, images={"the user's": paths[2].read_bytes()})
    response = await FunctionAgent(tools=[tool], llm=chat.llm, streaming=False).run("Find more like the second.")
    assert [call.tool_output.is_error for call in response.tool_calls] == [False] * 3
    assert [role for role, _, _ in fake.calls][-3:] == ["mixed query"] * 3
    asked = fake.calls[-2][1][0]
    assert isinstance(asked, dict)
    assert isinstance(asked["image"], Image.Image)
    assert fake.calls[-1][1] == [{"image": paths[2].read_bytes()}]


async def test_an_error_reaches_the_model_as_a_message(
    retriever: BaseRetriever, embedding: VllmJinaEmbedding, paths: list[Path]
) -> None:
    """It names no file: a path from the model is not opened."""
    chat = ScriptedChat(lambda _: asks(TOOL, image=str(paths[0])), lambda _: says("Sorry."))
    tool = image_retriever_tool(retriever, embedding=embedding)
    response = await FunctionAgent(tools=[tool], llm=chat.llm, streaming=False).run("Look.")
    (call,) = response.tool_calls
    assert call.tool_output.is_error
    assert "there is no image" in call.tool_output.content


async def test_sync_and_async_answer_alike(
    retriever: BaseRetriever, embedding: VllmJinaEmbedding, paths: list[Path]
) -> None:
    """By text and by image."""
    tool = image_retriever_tool(retriever, embedding=embedding, images={"mine": paths[0]})
    for arguments in ({"query": "a"}, {"image": "mine"}):
        assert tool.call(**arguments).blocks == (await tool.acall(**arguments)).blocks


def test_the_query_is_the_models_own(retriever: BaseRetriever, fake: FakeEmbedder) -> None:
    """LlamaIndex's RetrieverTool would ask for 'query is a red circle' and line breaks."""
    image_retriever_tool(retriever)(query=" a red circle\n")
    assert fake.calls[-1][:2] == ("mixed query", ["a red circle"])


def test_answers_are_bounded(retriever: BaseRetriever) -> None:
    """Number, side and bytes of images, length of texts."""
    tool = image_retriever_tool(retriever, max_images=2, max_side=20, max_bytes=1000, max_characters=100)
    blocks = tool(query="a").blocks
    assert len(shown(blocks)) == 2
    assert all(max(image.size) <= 20 for image in shown(blocks))
    assert all(len(base64.b64decode(block.image)) <= 1000 for block in blocks if isinstance(block, ImageBlock))
    texts = [block.text for block in blocks if isinstance(block, TextBlock)]
    assert sum("this answer shows no more images" in text for text in texts) == 1
    assert max(map(len, texts)) < 300
    assert any(text.endswith(" [...]") for text in texts)
    assert shown(image_retriever_tool(retriever, max_images=0)(query="a").blocks) == []


class Found(BaseRetriever):
    """Finds what it is told."""

    def __init__(self, *nodes: object) -> None:
        super().__init__()
        self.nodes = nodes

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=node) for node in self.nodes]


def test_an_image_that_is_gone_is_shown_by_its_thumbnail(tmp_path: Path) -> None:
    """And said to be one; without a thumbnail the reason is said."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(noise(400, 300)))
    kept, bare = image_node(path), image_node(path, thumbnail=False)
    path.unlink()
    blocks = image_retriever_tool(Found(kept, bare))(query="a").blocks
    assert [image.size for image in shown(blocks)] == [(128, 96)]
    assert "a thumbnail: the image itself cannot be opened)" in headed(blocks, "[1]").text
    assert "does not exist" in headed(blocks, "[2]").text


def test_the_media_policy_holds_for_what_the_store_names(paths: list[Path], tmp_path: Path) -> None:
    """A store that others write to could name any file."""
    tool = image_retriever_tool(
        Found(ImageNode(image_path=str(paths[0]), text="x")), media=MediaPolicy(allowed_root=tmp_path)
    )
    blocks = tool(query="a").blocks
    assert shown(blocks) == []
    assert "outside the media policy's allowed_root" in headed(blocks, "[1]").text


def test_the_embedders_own_media_policy_is_the_default(paths: list[Path], tmp_path: Path) -> None:
    """Of ``embedding=``, and of the retriever's index without it."""
    strict = VllmJinaEmbedding(embedder=FakeEmbedder(media=MediaPolicy(allowed_root=tmp_path)))
    hit = ImageNode(image_path=str(paths[0]), text="x", embedding=[1.0] * 128)
    retriever = unified_retriever(VectorStoreIndex([hit], embed_model=strict), similarity_top_k=1)
    for tool in (image_retriever_tool(retriever), image_retriever_tool(Found(hit), embedding=strict)):
        assert "outside the media policy's allowed_root" in headed(tool(query="a").blocks, "[1]").text
    assert shown(image_retriever_tool(retriever, media=MediaPolicy())(query="a").blocks) != []


async def test_old_names_are_taken_with_a_warning(
    retriever: BaseRetriever, embedding: VllmJinaEmbedding, paths: list[Path]
) -> None:
    """For one version; both names at once are a mistake."""
    with pytest.warns(DeprecationWarning, match="max_pictures") as warned:
        tool = image_retriever_tool(  # type: ignore[call-arg]
            retriever, embedding=embedding, pictures={"mine": paths[0]}, max_pictures=1, max_picture_bytes=5000
        )
    assert len(warned) == 3
    with pytest.warns(DeprecationWarning, match=r"picture=\.\.\. is deprecated"):
        found = tool.call(picture="mine")
    assert len(shown(found.blocks)) == 1
    with pytest.warns(DeprecationWarning, match=r"picture=\.\.\. is deprecated"):
        assert (await tool.acall(picture="mine")).blocks == found.blocks
    with pytest.raises(ConfigError, match="got both"):
        tool.call(image="mine", picture="mine")
    with pytest.raises(ConfigError, match=r"max_pictures=\.\.\. is the old name of max_images=\.\.\.; got both"):
        image_retriever_tool(retriever, max_pictures=1, max_images=1)  # type: ignore[call-arg]


def test_nothing_found_is_said() -> None:
    """An empty message confuses some chat models."""
    assert image_retriever_tool(Found())(query="a").content == "Nothing was found."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give a query, or an image"),
        ({"query": "a", "image": "b"}, "not both"),
        ({"image": "b"}, "none yet"),
        ({"query": 7}, "query: got int; expected a string"),
        ({"query": ["a"]}, "query: got list"),
        ({"image": {"id": "a"}}, "image: got dict"),
    ],
)
def test_bad_arguments_are_named(
    retriever: BaseRetriever, embedding: VllmJinaEmbedding, arguments: dict[str, str], message: str
) -> None:
    """In words that a chat model can act on."""
    with pytest.raises(InputError, match=message):
        image_retriever_tool(retriever, embedding=embedding)(**arguments)


def test_bad_settings_are_named(retriever: BaseRetriever) -> None:
    """Before an agent runs."""
    with pytest.raises(ConfigError, match="need embedding"):
        image_retriever_tool(retriever, images={"a": b""})
    with pytest.raises(ConfigError, match="max_side=0"):
        image_retriever_tool(retriever, max_side=0)


def test_the_schema_offers_an_image_only_where_it_can_be_used(
    retriever: BaseRetriever, embedding: VllmJinaEmbedding
) -> None:
    """What the chat model is told."""
    plain = image_retriever_tool(retriever).metadata
    assert list(plain.get_parameters_dict()["properties"]) == ["query"]
    both = image_retriever_tool(retriever, embedding=embedding, name="look").metadata
    assert both.to_openai_tool()["function"]["name"] == "look"
    assert list(both.get_parameters_dict()["properties"]) == ["query", "image"]


def test_a_data_uri_is_an_image_to_search_by(
    retriever: BaseRetriever, embedding: VllmJinaEmbedding, fake: FakeEmbedder, base64s: list[str]
) -> None:
    """From an application that calls the tool itself."""
    uri = f"data:image/png;base64,{base64s[0]}"
    image_retriever_tool(retriever, embedding=embedding)(image=uri)
    assert fake.calls[-1][:2] == ("mixed query", [{"image": uri}])


@pytest.mark.fire
async def test_a_chat_model_sees_no_folder_of_the_host(
    embedding: VllmJinaEmbedding, paths: list[Path], tmp_path: Path
) -> None:
    """Not in results, their metadata, or errors, whatever keeps an image from being opened; it is logged."""
    folder = str(paths[0].parent)
    gone = ImageNode(
        image_path=f"{folder}/none.png", text="x", id_="gone", metadata={"file_path": f"{folder}/none.png"}
    )
    text = ImageNode(image_path=__file__, text="x", id_="text")
    uri = ImageNode(image_path=f"file://{folder}/none.png", text="x", id_="uri")
    nodes = [image_node(paths[0], caption="A chart", id_="good"), gone, text, uri]
    mine = {"mine": f"{folder}/none.png"}
    tool = image_retriever_tool(Found(*nodes), embedding=embedding, images=mine, media=MediaPolicy())
    seen = [block.text for block in tool(query="a").blocks if isinstance(block, TextBlock)]
    assert "image_path: one.png" in seen[0]
    assert "file_path: none.png" in seen[1]
    notes = {block.splitlines()[0].partition(", ")[2] for block in seen[1:]}
    assert len(notes) == 1, "which of all it is tells whether a file is there"
    assert notes.pop().startswith("cannot be shown")
    failing = VllmJinaEmbedding(embedder=NoImages())
    asking = image_retriever_tool(Found(*nodes), embedding=failing, images=mine, media=MediaPolicy())
    blocks = [block for block in asking(query="a").blocks if isinstance(block, TextBlock)]
    for name in [*(name_of([block], "") for block in blocks[1:]), "mine"]:
        with pytest.raises(InputError, match=f"the image '{name}' cannot be opened") as caught:
            await asking.acall(image=name)
        seen.append(str(caught.value))
        with pytest.raises(InputError) as again:
            asking.call(image=name)
        assert str(again.value) == str(caught.value)
    assert all(folder not in block and str(Path(__file__).parent) not in block for block in seen)


@pytest.mark.fire
def test_an_image_that_is_nearly_a_data_uri_is_told_to_the_model(
    retriever: BaseRetriever, embedding: VllmJinaEmbedding, base64s: list[str]
) -> None:
    with pytest.raises(InputError, match="parameters beside base64"):
        image_retriever_tool(retriever, embedding=embedding)(image=f"data:image/png;a=b;base64,{base64s[0]}")


@pytest.mark.fire
def test_what_is_not_unicode_reaches_no_chat_model() -> None:
    """A provider would fail to encode it."""
    node = TextNode(text="caf\udce9", metadata={"file_path": "/home/caf\udce9.txt", "a\udce9": "x"})
    (block,) = image_retriever_tool(Found(node))(query="a").blocks
    assert block.text.encode().decode() == "[1] caf%E9.txt\nfile_path: caf%E9.txt\na%E9: x\n\ncaf%E9"


class NoImages(FakeEmbedder):
    """Cannot open any image, and says where it lies, as the core does."""

    def embed(self, items: Sequence[object], **options: Any) -> Floats:
        raise InputError(f"items[0]: the file {items[0]!r} does not exist.", positions=[0])

    async def aembed(self, items: Sequence[object], **options: Any) -> Floats:
        return self.embed(items)
