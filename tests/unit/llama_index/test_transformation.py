"""The embedding as a transformation: nodes with images are embedded as their images, in one call."""

from __future__ import annotations

import base64
import warnings
from pathlib import Path

import numpy as np
import pytest
from llama_index.core import Document, QueryBundle, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import (
    BaseNode,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)

from tests.support.embedders import FakeEmbedder
from vllm_jina_embed import InputError
from vllm_jina_embed._arrays import Floats
from vllm_jina_embed.llama_index import VllmJinaEmbedding, image_document, image_node, name_images

LONG = " ".join(f"Sentence number {number} of a long caption." for number in range(200))


@pytest.fixture(params=["__call__", "acall"])
def transform(request: pytest.FixtureRequest, embedding: VllmJinaEmbedding) -> object:
    """Both ways in."""

    async def call(nodes: list[BaseNode]) -> list[BaseNode]:
        return embedding(nodes) if request.param == "__call__" else await embedding.acall(nodes)

    return call


async def test_every_kind_of_node_is_embedded_as_what_it_holds(
    transform, fake: FakeEmbedder, paths: list[Path], base64s: list[str]
) -> None:
    """One mixed call, in order, in the role of passages."""
    data_uri = f"data:image/png;base64,{base64s[2]}"
    png = [base64.b64decode(text) for text in base64s]
    nodes = [
        TextNode(text="a text", metadata={"page": 3}),
        ImageNode(image_path=str(paths[0]), text="one.png"),
        ImageNode(image=base64s[1], text="caption", metadata={"image_sha256": "1"}),
        ImageNode(image_url=data_uri, text="caption", metadata={"image_sha256": "2"}),
        ImageNode(image=data_uri, text="caption", metadata={"image_sha256": "3"}),
        ImageDocument(image_path=str(paths[1]), text="two.png"),
        ImageDocument(image=base64s[0], text="x", metadata={"image_sha256": "4"}),
        Node(image_resource=MediaResource(path=paths[2]), text_resource=MediaResource(text="three.png")),
        Node(text_resource=MediaResource(text="another text")),
        Document(text="a document"),
        IndexNode(text="an index node", index_id="i"),
    ]
    expected = [
        "page: 3\n\na text", paths[0], png[1], data_uri, data_uri, paths[1], png[0], paths[2],
        "another text", "a document", "an index node",
    ]  # fmt: skip
    found = await transform(nodes)
    assert [(role, items) for role, items, _ in fake.calls] == [("mixed passage", expected)]
    roles = ["passage", *["image"] * 7, *["passage"] * 3]
    assert [node.embedding for node in found] == [fake.vector(r, i) for r, i in zip(roles, expected, strict=True)]
    assert [node.node_id for node in found] == [node.node_id for node in nodes]


async def test_nothing_in_nothing_out(transform, fake: FakeEmbedder) -> None:
    """No call for an empty list."""
    assert await transform([]) == []
    assert fake.calls == []


def test_a_plain_index_gives_one_ranking(embedding: VllmJinaEmbedding, fake: FakeEmbedder, paths: list[Path]) -> None:
    """The documented line: a splitter, the embedding, an ordinary index; nothing is embedded a second time."""
    documents = [Document(text="a text"), *(image_document(path) for path in paths)]
    index = VectorStoreIndex.from_documents(
        documents, transformations=[SentenceSplitter(), embedding], embed_model=embedding
    )
    assert [role for role, _, _ in fake.calls] == ["mixed passage"]
    retriever = index.as_retriever(similarity_top_k=10)
    found = retriever.retrieve(QueryBundle("", embedding=fake.vector("image", paths[1])))
    assert len(found) == len(documents)
    assert found[0].node.image_path == str(paths[1])
    assert found[0].score == pytest.approx(1)


@pytest.mark.parametrize("key", ["page", "caption"])
def test_nodes_with_other_metadata_are_no_copies(embedding: VllmJinaEmbedding, base64s: list[str], key: str) -> None:
    """One logo on two pages of a document: each has its page, also in the order in which metadata were set."""
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="report")}
    first, other, copy = (
        ImageNode(image=base64s[0], text="a logo", metadata=metadata, relationships=source)
        for metadata in ({key: 1, "file": "a"}, {key: 2, "file": "a"}, {"file": "a", key: 1})
    )
    nodes = embedding([first, other, copy])
    assert [node.node_id for node in nodes] == [first.node_id, other.node_id]
    assert [node.metadata[key] for node in nodes] == [1, 2]


def test_a_splitter_makes_no_copies_of_an_image(embedding: VllmJinaEmbedding, paths: list[Path]) -> None:
    """A long caption is cut into pieces, each with the image: they become one node again, with the whole caption."""
    splitter = SentenceSplitter(chunk_size=200, chunk_overlap=20)
    document = image_document(paths[0], caption=LONG, thumbnail=False)
    cut = splitter([document, Document(text=LONG)])
    images = [node for node in cut if isinstance(node, ImageNode)]
    assert len(images) > 5, "the premise: LlamaIndex copies the image to every piece"
    found = embedding(cut)
    (joined,) = [node for node in found if isinstance(node, ImageNode)]
    assert joined.text == LONG
    assert joined.ref_doc_id == document.doc_id
    assert joined.prev_node is None
    assert joined.next_node is None
    assert len(found) - 1 == len(cut) - len(images), "texts stay cut"


def test_equal_images_of_two_documents_stay_two_nodes(embedding: VllmJinaEmbedding, paths: list[Path]) -> None:
    """Only copies within one document are joined."""
    documents = [image_document(paths[0]), image_document(paths[0])]
    assert len(embedding(SentenceSplitter()(documents))) == 2
    assert len(embedding([image_node(paths[0]), image_node(paths[0])])) == 2


def test_a_node_with_an_image_and_no_text_is_not_dropped(embedding: VllmJinaEmbedding, paths: list[Path]) -> None:
    """Indexes drop nodes whose text is empty, even those that carry an embedding."""
    bare = [ImageNode(image_path=str(paths[0])), Node(image_resource=MediaResource(path=paths[1]))]
    with pytest.warns(UserWarning, match="2 nodes hold images that their text and metadata do not name"):
        nodes = embedding(bare)
    index = VectorStoreIndex(nodes, embed_model=embedding)
    assert len(index.as_retriever(similarity_top_k=9).retrieve(QueryBundle("", embedding=nodes[0].embedding))) == 2
    assert [node.get_content() for node in nodes] == ["<image one.png>", "<image two.png>"]


def test_images_inside_nodes_survive_persisting(embedding: VllmJinaEmbedding, base64s: list[str]) -> None:
    """A MediaResource's bytes are lost when a node is written as JSON; an ImageNode's are not."""
    node = Node(image_resource=MediaResource(data=base64s[0].encode()), metadata={"image_sha256": "1"}, id_="n")
    document = ImageDocument(image=base64s[1], metadata={"image_sha256": "2"}, id_="d")
    for one in (node, document):
        assert type(one).from_dict(one.to_dict()).image_resource.data is None, "the premise"
    with pytest.warns(UserWarning, match="2 nodes"):  # without a text, LlamaIndex hides a Node's metadata as well
        found = embedding([node, document])
    assert [type(one) for one in found] == [ImageNode, ImageNode]
    assert [type(one).from_dict(one.to_dict()).image for one in found] == base64s[:2]
    assert [one.node_id for one in found] == ["n", "d"]
    assert found[1].ref_doc_id == "d", "index.delete_ref_doc(document id) finds it"


def test_images_that_are_gone_are_named(embedding: VllmJinaEmbedding, base64s: list[str]) -> None:
    """A cache has lost the bytes before the embedding saw the node: an error, not the embedding of its metadata."""
    lost = Node.from_dict(Node(image_resource=MediaResource(data=base64s[0].encode())).to_dict())
    with pytest.raises(InputError, match=r"nodes\[1\].*does not persist the bytes") as caught:
        embedding([TextNode(text="a"), lost])
    assert caught.value.positions == (1,)
    with pytest.raises(InputError, match=r"nodes\[0\]"):
        embedding([ImageNode(text="a caption, no image")])


def test_an_image_that_a_splitter_made_text_is_named(embedding: VllmJinaEmbedding, paths: list[Path]) -> None:
    """Splitters turn an ImageNode into a TextNode."""
    (cut,) = SentenceSplitter()([image_node(paths[0], caption="a caption")])
    assert type(cut) is TextNode, "the premise"
    with pytest.raises(InputError, match=r"nodes\[0\].*Use image_document"):
        embedding([cut])


def test_urls_are_not_fetched(embedding: VllmJinaEmbedding, fake: FakeEmbedder) -> None:
    """LlamaIndex itself would, from any address; every such node is named."""
    nodes = [
        ImageNode(image_url="http://127.0.0.1/a.png", text="a"),
        TextNode(text="b"),
        Node(image_resource=MediaResource(url="https://example.com/c.png")),
    ]
    with pytest.raises(InputError, match="URLs are not fetched") as caught:
        embedding(nodes)
    assert caught.value.positions == (0, 2)
    assert fake.calls == []


def test_broken_base64_is_named(embedding: VllmJinaEmbedding) -> None:
    """By the node's position and id."""
    with pytest.raises(InputError, match=r"nodes\[0\] \(id 'n'\): its image's base64 is broken"):
        embedding([ImageNode(image="abc", text="a", id_="n")])


class FailingEmbedder(FakeEmbedder):
    """Cannot embed what is called bad."""

    def embed(self, items, *, prompt_name="passage", show_progress=None) -> Floats:
        bad = [position for position, item in enumerate(items) if item == "bad"]
        if bad and self.settings.on_error == "raise":
            raise InputError(f"items[{bad[0]}]: bad", positions=bad)
        rows = super().embed(items, prompt_name=prompt_name)
        rows[bad] = np.nan
        return rows


def test_an_error_of_the_core_names_the_nodes(paths: list[Path]) -> None:
    """As a note below the message that names the positions."""
    nodes = [TextNode(text="good"), TextNode(text="bad", id_="the bad one")]
    with pytest.raises(InputError) as caught:
        VllmJinaEmbedding(embedder=FailingEmbedder())(nodes)
    assert caught.value.__notes__ == ["items[1] is node 'the bad one'"]


def test_skipped_nodes_are_left_out() -> None:
    """A node without an embedding would be embedded as text by the index, and NaN would poison a store."""
    nodes = [TextNode(text="good"), TextNode(text="bad"), TextNode(text="better")]
    found = VllmJinaEmbedding(embedder=FailingEmbedder(on_error="skip"))(nodes)
    assert [node.text for node in found] == ["good", "better"]


@pytest.mark.parametrize("named", [True, False])
def test_the_pipelines_cache_tells_images_apart(
    embedding: VllmJinaEmbedding, fake: FakeEmbedder, base64s: list[str], named: bool
) -> None:
    """Its key is text and metadata alone; nodes of image_node differ in them, others are warned about."""
    pipeline = IngestionPipeline(transformations=[embedding])

    def run(number: int) -> list[float]:
        if named:
            node = image_node(base64.b64decode(base64s[number]))
        else:
            node = ImageNode(image=base64s[number], text="a caption")
        (found,) = pipeline.run(nodes=[node])
        return found.embedding

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first, second, again = run(0), run(1), run(0)
    assert any("cache of IngestionPipeline" in str(warning.message) for warning in caught) is not named
    assert first == again
    assert (first != second) is named, "without a name, image 1 gets image 0's embedding: the premise"
    assert len(fake.calls) == (2 if named else 1)


def test_nodes_that_are_named_by_their_file_are_not_warned_about(
    embedding: VllmJinaEmbedding, paths: list[Path]
) -> None:
    """As SimpleDirectoryReader's are, once a splitter made nodes of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedding([ImageNode(image_path=str(paths[0]), metadata={"file_path": str(paths[0])})])


def test_an_index_that_would_embed_a_stand_in_is_warned_about(embedding: VllmJinaEmbedding, paths: list[Path]) -> None:
    """The embedding is embed_model only: LlamaIndex embeds the metadata instead of the image."""
    for caption in (None, "a caption"):
        with pytest.warns(UserWarning, match="1 of 2 texts stand for images.*transformations"):
            VectorStoreIndex([TextNode(text="a"), image_node(paths[0], caption=caption)], embed_model=embedding)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VectorStoreIndex([TextNode(text="a"), TextNode(text="sha256: abc")], embed_model=embedding)


async def test_a_data_uri_is_an_image_wherever_a_text_may_stand(
    embedding: VllmJinaEmbedding, fake: FakeEmbedder, base64s: list[str]
) -> None:
    """As a query on any retriever, and in calls that take strings alone; a node says itself what it is."""
    uri = f"data:image/png;base64,{base64s[0]}"
    image = fake.vector("image", uri)
    assert embedding.get_query_embedding(uri) == await embedding.aget_query_embedding(uri) == image
    assert embedding.get_text_embedding_batch(["a", uri]) == [fake.vector("passage", "a"), image]
    assert await embedding.aget_text_embedding_batch(["a", uri]) == [fake.vector("passage", "a"), image]
    for text in (f"see {uri}", str(Path(__file__))):
        assert embedding.get_query_embedding(text) == fake.vector("query", text)
    with pytest.raises(InputError, match="begins like the data URI"):
        embedding.get_query_embedding(uri[:-3] + "!!!")


def test_image_query_works_on_any_retriever(
    embedding: VllmJinaEmbedding, fake: FakeEmbedder, paths: list[Path]
) -> None:
    """It holds the embedding; the text is for rerankers alone."""
    query = embedding.image_query(str(paths[0]), "which one is it?")
    assert (query.embedding, query.query_str) == (fake.vector("image", str(paths[0])), "which one is it?")
    assert query.image_path == str(paths[0])
    assert embedding.image_query(paths[0].read_bytes()).image_path is None


async def test_image_query_async(embedding: VllmJinaEmbedding, paths: list[Path]) -> None:
    """The same by the other door."""
    assert await embedding.aimage_query(paths[0]) == embedding.image_query(paths[0])


@pytest.mark.fire
async def test_a_files_text_never_becomes_an_image(
    transform, embedding: VllmJinaEmbedding, fake: FakeEmbedder, base64s: list[str]
) -> None:
    """Nor an error: a reader's node is its text, whatever the file says."""
    uri = f"data:image/png;base64,{base64s[0]}"
    texts = [uri, f"\n{uri}", uri[:-3] + "!!!", "vllm-jina-embed:image:a.png#" + "0f" * 16, "vllm-jina-embed:image:a"]
    nodes: list[BaseNode] = [TextNode(text=text) for text in texts] + [Document(text=text) for text in texts]
    found = await transform(nodes)
    assert [node.embedding for node in found] == [fake.vector("passage", text) for text in texts * 2]
    assert name_images(nodes) == nodes
    assert all("image_sha256" not in node.metadata for node in nodes)


@pytest.mark.fire
def test_langchains_image_document_stays_an_image(
    embedding: VllmJinaEmbedding, fake: FakeEmbedder, base64s: list[str]
) -> None:
    """Its metadata say that somebody made it one; a piece that a splitter cut is named."""
    uri = f"data:image/png;base64,{base64s[0]}"
    whole = Document(text=uri, metadata={"image_sha256": "1"})
    assert embedding([whole])[0].embedding == fake.vector("image", uri)
    cut = TextNode(text=uri[60:], metadata={"image_sha256": "1"}, id_="cut")
    with pytest.raises(InputError, match=r"nodes\[0\] \(id 'cut'\): .*splitters"):
        embedding([cut])


@pytest.mark.fire
@pytest.mark.parametrize("form", ["{}", "file://{}", "file:{}", "FILE://localhost{}"])
@pytest.mark.parametrize("field", ["image_path", "image_url"])
def test_a_file_uri_in_a_node_is_its_path(
    embedding: VllmJinaEmbedding, fake: FakeEmbedder, paths: list[Path], form: str, field: str
) -> None:
    if form == "{}" and field == "image_url":
        return
    fields = {field: form.format(paths[0])}
    (found,) = embedding([ImageNode(text="one.png", metadata={"image_sha256": "1"}, **fields)])
    assert found.embedding == fake.vector("image", paths[0])
    with pytest.raises(InputError, match="file:///absolute/path"):
        embedding([ImageNode(text="a", **{field: "file://host/a.png"})])


@pytest.mark.fire
@pytest.mark.parametrize("damage", ["parameter", "URL-safe", "broken"])
def test_base64_in_a_node_is_strict(embedding: VllmJinaEmbedding, base64s: list[str], damage: str) -> None:
    """Python's own decoder drops what it does not know, and gives other bytes."""
    image = {
        "parameter": f"data:image/png;charset=utf-8;base64,{base64s[0]}",
        "URL-safe": base64s[0].replace("+", "-").replace("/", "_"),
        "broken": base64s[0][:40] + "*" + base64s[0][40:],
    }[damage]
    with pytest.raises(InputError, match=r"nodes\[0\] \(id 'n'\): .*base64"):
        embedding([ImageNode(image=image, text="a", id_="n")])
