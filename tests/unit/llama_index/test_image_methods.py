"""image_node, image_document and name_images: what LlamaIndex cannot lose."""

from __future__ import annotations

import base64
import json
import os
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import SimpleDirectoryReader
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import ImageDocument, ImageNode, MediaResource, MetadataMode, Node, TextNode
from PIL import Image

from tests.support.embedders import FakeEmbedder
from tests.support.images import encoded, noise
from vllm_jina_embed import InputError, MediaPolicy
from vllm_jina_embed.inputs.images import open_image
from vllm_jina_embed.inputs.metadata import content_hash, placeholder
from vllm_jina_embed.inputs.sources import reference
from vllm_jina_embed.llama_index import VllmJinaEmbedding, image_document, image_node, name_images
from vllm_jina_embed.llama_index.nodes import image_of, storable


def sources(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    read = BytesIO(data)
    read.seek(0, 2)
    return {"path": path, "str": str(path), "bytes": data, "file": read, "uri": uri, "pil": Image.open(path)}


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "file", "uri", "pil"])
@pytest.mark.parametrize("make", [image_node, image_document])
def test_every_source_keeps_every_pixel(make: Any, kind: str, paths: list[Path]) -> None:
    """A file by its absolute path, all else inside the node."""
    image = open_image(paths[0], MediaPolicy())
    node = make(sources(paths[0])[kind])
    kept = image_of(node)
    assert isinstance(kept, Path if kind in ("path", "str") else bytes)
    assert content_hash(open_image(kept, MediaPolicy())) == content_hash(image)
    assert node.metadata["image_sha256"] == content_hash(image)
    assert (node.metadata["image_width"], node.metadata["image_height"]) == image.size


def test_a_relative_path_becomes_absolute(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is opened from another folder still finds the file."""
    monkeypatch.chdir(paths[0].parent)
    node = image_node(paths[0].name)
    assert node.image_path == node.metadata["image_path"] == str(paths[0])


def test_texts_are_never_empty(paths: list[Path]) -> None:
    """The caption, or what stands for the image; splitters and indexes keep it."""
    digest = content_hash(open_image(paths[0], MediaPolicy()))
    assert image_node(paths[0]).text == image_node(paths[0], caption=" ").text == placeholder(digest)
    assert image_node(paths[0], caption="A chart").text == image_document(paths[0], caption="A chart").text == "A chart"


def test_models_read_the_caption_and_not_the_thumbnail(paths: list[Path]) -> None:
    """Nor a splitter, which counts metadata as text."""
    node = image_node(paths[0], caption="A chart", metadata={"year": 2025})
    assert node.get_content(MetadataMode.LLM) == f"year: 2025\nimage_path: {paths[0]}\n\nA chart"
    digest = node.metadata["image_sha256"]
    assert node.get_content(MetadataMode.EMBED) == f"year: 2025\nimage_sha256: {digest}\n\nA chart"
    assert node.metadata["image_thumbnail"].startswith("data:image/jpeg;base64,")
    assert "image_thumbnail" not in image_node(paths[0], thumbnail=False).metadata


def test_a_document_goes_through_a_splitter_as_one_image(paths: list[Path]) -> None:
    """With its image and its metadata."""
    document = image_document(paths[0].read_bytes(), caption="A chart")
    (node,) = SentenceSplitter(chunk_size=200, chunk_overlap=0)([document])
    assert isinstance(node, ImageNode)
    assert node.text == "A chart"
    assert node.metadata == document.metadata
    assert node.ref_doc_id == document.doc_id
    assert image_of(node) == paths[0].read_bytes()


def test_the_media_policy_holds(paths: list[Path]) -> None:
    """And what is not an image is refused here, not deep in an index."""
    with pytest.raises(InputError, match="allows no local files"):
        image_node(paths[0], media=MediaPolicy(allow_local_files=False))
    with pytest.raises(InputError, match="not an image that can be read"):
        image_document(b"text")


def test_further_fields_reach_the_node(paths: list[Path]) -> None:
    """For example an id of one's own."""
    assert image_node(paths[0], id_="mine").node_id == "mine"
    assert image_document(paths[0], id_="mine").doc_id == "mine"


def test_name_images_names_what_readers_made(paths: list[Path], base64s: list[str]) -> None:
    """In place; texts stay as they are, a caption too."""
    text = TextNode(text="a")
    nodes = [
        text,
        ImageDocument(image_path=str(paths[0])),
        Node(image_resource=MediaResource(data=base64s[1].encode())),
        ImageNode(image=base64s[2], text="A caption"),
    ]
    assert name_images(nodes) == nodes
    assert text.metadata == {}
    digests = [content_hash(open_image(path, MediaPolicy())) for path in paths]
    assert [node.metadata["image_sha256"] for node in nodes[1:]] == digests
    assert all(digest in node.get_content(MetadataMode.ALL) for digest, node in zip(digests, nodes[1:], strict=True))
    assert nodes[1].metadata["image_path"] == str(paths[0])
    assert nodes[3].text == "A caption"


def test_the_same_file_with_another_content_is_another_name(tmp_path: Path, paths: list[Path]) -> None:
    """A path alone would not tell; a cache would answer with the old image's embedding."""
    file = tmp_path / "a.png"
    names = []
    for path in paths[:2]:
        file.write_bytes(path.read_bytes())
        names.append(image_node(file).get_content(MetadataMode.ALL))
    assert names[0] != names[1]


LATIN = os.fsdecode(b"caf\xe9.png")


@pytest.fixture
def latin(tmp_path: Path) -> Path:
    """An image whose name is not valid Unicode."""
    try:
        (tmp_path / LATIN).write_bytes(encoded(noise(40, 30)))
    except OSError:
        pytest.skip("this file system refuses such names")
    return tmp_path / LATIN


@pytest.mark.fire
@pytest.mark.parametrize("make", [image_node, image_document])
def test_a_name_that_is_not_unicode_goes_through_json_and_is_found_again(
    make: Any, latin: Path, embedding: VllmJinaEmbedding, fake: FakeEmbedder
) -> None:
    """In a pipeline, whose cache hashes it, and in a store's JSON."""
    node = make(latin, caption=latin.stem, metadata={"source": str(latin), "list": [LATIN]}, id_=str(latin))
    assert node.metadata["image_path"] == f"file://{latin.parent}/caf%E9.png"
    assert node.metadata["source"] == f"{latin.parent}/caf%E9.png"
    assert (node.metadata["list"], node.node_id) == (["caf%E9.png"], f"{latin.parent}/caf%E9.png")
    json.dumps(node.to_dict(), ensure_ascii=False).encode()
    assert image_of(node) == latin.read_bytes()
    assert node.resolve_image().read() == latin.read_bytes(), "LlamaIndex opens it too"
    assert content_hash(open_image(node.metadata["image_path"], MediaPolicy())) == node.metadata["image_sha256"]
    (found,) = IngestionPipeline(transformations=[embedding]).run(nodes=[node])
    assert found.embedding == fake.vector("image", latin.read_bytes())
    assert image_of(type(found).from_json(found.to_json())) == latin.read_bytes()
    assert "caf%E9" in found.get_content(MetadataMode.ALL)


@pytest.mark.fire
def test_names_of_a_reader_become_unicode(latin: Path) -> None:
    """Of images and of texts; an image without a text is named by what is valid."""
    (latin.parent / os.fsdecode(b"na\xff.txt")).write_text("A text.")
    nodes = [
        ImageNode(image_path=str(latin), metadata={"file_path": str(latin)}),
        *SimpleDirectoryReader(input_files=[latin.parent / os.fsdecode(b"na\xff.txt")]).load_data(),
    ]
    for node in name_images(nodes):
        node.get_content(MetadataMode.ALL).encode()
    assert nodes[0].metadata["file_path"] == f"{latin.parent}/caf%E9.png"
    assert image_of(nodes[0]) == latin
    assert nodes[1].metadata["file_name"] == "na%FF.txt"
    assert storable(ImageNode(image_path=str(latin))).get_content() == "<image caf%E9.png>"


@pytest.mark.fire
def test_a_reference_is_kept_as_the_file_that_it_names(paths: list[Path]) -> None:
    """LlamaIndex's nodes have no place for one."""
    media = MediaPolicy(allowed_root=paths[0].parent)
    node = image_node(f" {reference(paths[0], media)}\n", media=media)
    assert node.image_path == str(paths[0])
    assert image_node(paths[0].as_uri()).image_path == str(paths[0])
    assert image_node(f"\n data:image/png;base64,{base64.b64encode(paths[0].read_bytes()).decode()}").image_path is None


@pytest.mark.fire
def test_every_node_that_cannot_be_named_is_named(paths: list[Path]) -> None:
    nodes = [ImageNode(image_path="none.png", id_="a"), TextNode(text="b"), ImageNode(image_url="http://c", id_="c")]
    with pytest.raises(InputError, match=r"2 of 3 items") as caught:
        name_images(nodes)
    assert caught.value.positions == (0, 2)
    assert "nodes[0] (id 'a')" in caught.value.problems[0]


async def test_old_names_of_images_are_taken_with_a_warning(embedding: VllmJinaEmbedding, paths: list[Path]) -> None:
    """For one version: the names of a function, of a class, and of the parameter."""
    import vllm_jina_embed.llama_index as package

    with pytest.warns(DeprecationWarning, match="it is named name_images now"):
        assert package.name_pictures is name_images
    with pytest.warns(DeprecationWarning, match="it is named ImageQuery now"):
        old = package.PictureQuery
    with pytest.warns(DeprecationWarning, match=r"picture=\.\.\. is deprecated"):
        assert old("a", picture=paths[0]) == package.ImageQuery("a", image=paths[0])
    with pytest.warns(DeprecationWarning, match=r"picture=\.\.\. is deprecated"):
        by_old = embedding.image_query(picture=paths[0])  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match=r"picture=\.\.\. is deprecated"):
        awaited = await embedding.aimage_query(picture=paths[0])  # type: ignore[call-arg]
    assert by_old.embedding == awaited.embedding == embedding.image_query(paths[0]).embedding
    with pytest.raises(AttributeError, match="no attribute 'pictures'"):
        _ = package.pictures
