"""Files that a reader took for texts: images, PDFs and archives are noticed before their bytes are embedded."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from llama_index.core import SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, Document, ImageDocument, TextNode

from tests.support.embedders import FakeEmbedder
from tests.support.images import encoded, noise
from vllm_jina_embed import InputError
from vllm_jina_embed.llama_index import VllmJinaEmbedding, name_images
from vllm_jina_embed.llama_index.misread import misread

pytestmark = pytest.mark.fire

KINDS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "JPEG2000", "AVIF")
SUFFIXES = [kind.lower().replace("jpeg2000", "jp2") for kind in KINDS]
UMLAUTS = "Die Größe des Öltanks überrascht. " * 40
TEXTS = {
    "German": UMLAUTS,
    "German in a wrong encoding": UMLAUTS.encode("latin-1").decode("utf-8", "replace"),
    "Japanese": "浜辺に沈む美しい夕日。" * 50,
    "ligatures of a PDF": "The o\x00ce \x00ow is di\x00erent from what we expect in the long run. " * 30,
    "colours of a terminal": "\x1b[31mred\x1b[0m " * 50,
    "form feeds": "page\x0c\n" * 50,
    "prose on PDF": "%PDF-1.4 is how a PDF begins.",
    "prose on GIF": "GIF89a is the second version.",
    "prose on PNG": "PNG is a format.\r\n",
    "prose on zip": "PK are the initials of Phil Katz.",
    "one NUL": "\x00",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files as a directory has them, beside one text."""
    for kind, suffix in zip(KINDS, SUFFIXES, strict=True):
        (tmp_path / f"a.{suffix}").write_bytes(encoded(noise(60, 40), kind))
    noise(60, 40).save(tmp_path / "a.pdf")
    with zipfile.ZipFile(tmp_path / "a.docx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", "<w:document/>" * 200)
    (tmp_path / "random.bin").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "text.txt").write_text("A text.")
    return tmp_path


def read(folder: Path) -> list[Document]:
    """Read as the core alone does, without llama-index-readers-file."""
    documents = SimpleDirectoryReader(str(folder)).load_data()
    assert all(type(document) is Document for document in documents), "the premise: every file became a text"
    return documents


def test_every_misread_file_is_named_before_anything_is_embedded(
    folder: Path, embedding: VllmJinaEmbedding, fake: FakeEmbedder
) -> None:
    """By name_images and by the embedding of nodes; only the text passes."""
    documents = read(folder)
    bad = [at for at, document in enumerate(documents) if not document.metadata["file_path"].endswith(".txt")]
    assert len(bad) == len(documents) - 1 >= len(KINDS) + 3
    for refuse in (name_images, embedding):
        with pytest.raises(InputError, match=r"pip install llama-index-readers-file") as caught:
            refuse(documents)
        assert list(caught.value.positions) == bad
        assert all(documents[at].node_id in problem for at, problem in zip(bad, caught.value.problems, strict=True))
    assert fake.calls == []
    text = [document for at, document in enumerate(documents) if at not in bad]
    assert [node.get_content() for node in embedding(name_images(text))] == ["A text."]


@pytest.mark.parametrize("name", [f"a.{suffix}" for suffix in SUFFIXES])
def test_an_image_is_called_one(folder: Path, name: str) -> None:
    """And the message says by what to make a node of it."""
    document = next(one for one in read(folder) if one.metadata["file_name"] == name)
    assert misread(document.text, document.metadata) == "an image"
    with pytest.raises(InputError, match=r"image_node\(\) or image_document\(\)"):
        name_images([document])


def test_pieces_of_a_misread_file_are_noticed_too(folder: Path, embedding: VllmJinaEmbedding) -> None:
    """Behind a splitter, where the beginning is gone."""
    big = encoded(noise(300, 300), "JPEG", quality=95)
    (folder / "big.jpg").write_bytes(big)
    document = next(one for one in read(folder) if one.metadata["file_name"] == "big.jpg")
    pieces = SentenceSplitter(chunk_size=400, chunk_overlap=0)([document])
    assert len(pieces) > 3
    with pytest.raises(InputError) as caught:
        embedding(pieces)
    assert len(caught.value.positions) == len(pieces)


@pytest.mark.parametrize("errors", ["ignore", "replace"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF"])
def test_however_the_bytes_were_decoded(kind: str, encoding: str, errors: str) -> None:
    text = encoded(noise(60, 40), kind).decode(encoding, errors)
    assert misread(text, {"file_type": f"image/{kind.lower()}"}) == "an image"
    assert misread(io.StringIO(text, newline=None).read(), {"file_type": "image/x"}) == "an image"


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_texts(name: str, embedding: VllmJinaEmbedding) -> None:
    """In a wrong encoding, with control characters, and of captions whose file is an image."""
    assert misread(TEXTS[name], {"file_type": "image/png"}) is None
    assert misread(TEXTS[name], {}) is None


def test_a_caption_of_an_image_file_and_a_real_image_pass(embedding: VllmJinaEmbedding, paths: list[Path]) -> None:
    """As captioning readers and llama-index-readers-file make them."""
    nodes: list[BaseNode] = [
        TextNode(text="A cat on a sofa.", metadata={"file_type": "image/png"}),
        ImageDocument(image_path=str(paths[0]), text="", metadata={"file_type": "image/png"}),
    ]
    assert len(embedding(name_images(nodes))) == 2


def test_an_index_that_embeds_such_texts_is_warned_about(folder: Path, embedding: VllmJinaEmbedding) -> None:
    """Where the embedding is embed_model only, LlamaIndex hands over strings alone."""
    documents = [one for one in read(folder) if one.metadata["file_name"] in ("a.png", "text.txt")]
    with pytest.warns(UserWarning, match=r"an image that was read as text.*llama-index-readers-file"):
        VectorStoreIndex.from_documents(documents, embed_model=embedding, transformations=[])


def test_hostile_texts_take_no_time() -> None:
    """Only the beginning is looked at."""
    for text in ("\ufffd" * 5_000_000, "PK" * 2_000_000, "a" * 5_000_000, "RIFF" + "\x00" * 5_000_000):
        misread(text, {})
