"""``image_document``: strings that are images, and every other string that stays a text."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_text_splitters import RecursiveCharacterTextSplitter
from PIL import Image

from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import InputError, JinaEmbedder, MediaPolicy
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs.images import is_data_uri, open_image
from vllm_jina_embed.inputs.sources import is_reference
from vllm_jina_embed.langchain import VllmJinaEmbeddings, image_document


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of images."""
    folder = tmp_path / "root"
    (folder / "deep").mkdir(parents=True)
    noise(200, 150, seed=1).save(folder / "a.png")
    noise(150, 200, seed=2).save(folder / "deep" / "b c.jpg", quality=90)
    return folder


@pytest.fixture
def core(tmp_path: Path, root: Path) -> Iterator[JinaEmbedder]:
    """On an engine in memory, allowed to follow references."""
    engines: list[FakeEngine] = []
    with in_memory(engines)(write_folder(tmp_path / "checkpoint"), media=MediaPolicy(allowed_root=root)) as embedder:
        yield embedder


@pytest.fixture
def embeddings(core: JinaEmbedder) -> VllmJinaEmbeddings:
    return VllmJinaEmbeddings(embedder=core)


FORMS: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "string": str,
    "bytes": lambda path: path.read_bytes(),
    "file": lambda path: BytesIO(path.read_bytes()),
    "pil": Image.open,
    "array": lambda path: np.asarray(Image.open(path)),
    "uri": lambda path: f" data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}\n",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["a.png", "deep/b c.jpg"])
async def test_a_whole_image_is_embedded_as_that_image(
    embeddings: VllmJinaEmbeddings, core: JinaEmbedder, root: Path, name: str, form: str
) -> None:
    """As document and as query, whatever it was made of; the vector is the file's own to the bit."""
    document = image_document(FORMS[form](root / name))
    assert is_data_uri(document.page_content)
    expected = core.embed_images([root / name])[0].tolist()
    assert embeddings.embed_documents([document.page_content]) == [expected]
    assert embeddings.embed_query(document.page_content) == expected
    assert embeddings.embed_query(f"\n{document.page_content}\n") == expected
    assert await embeddings.aembed_documents([document.page_content]) == [expected]
    assert await embeddings.aembed_query(document.page_content) == expected


@pytest.mark.parametrize("name", ["a.png", "deep/b c.jpg"])
def test_a_reference_is_embedded_as_its_image(
    embeddings: VllmJinaEmbeddings, core: JinaEmbedder, root: Path, name: str
) -> None:
    """Short, and good for a second document too."""
    media = MediaPolicy(allowed_root=root)
    document = image_document(root / name, mode="reference", media=media)
    assert is_reference(document.page_content)
    assert len(document.page_content) < 100
    expected = core.embed_images([root / name])[0].tolist()
    assert embeddings.embed_documents(["x", document.page_content])[1] == expected
    assert embeddings.embed_query(f" {document.page_content}\n") == expected
    again = image_document(document.page_content, mode="reference", media=media)
    assert (again.page_content, again.metadata) == (document.page_content, document.metadata)
    assert open_image(image_document(document.page_content, media=media).page_content, media).size in {
        (200, 150),
        (150, 200),
    }


def test_files_that_chat_models_know_keep_their_bytes(root: Path) -> None:
    """Others become a PNG of the same pixels."""
    for name, mimetype in (("a.png", "image/png"), ("deep/b c.jpg", "image/jpeg")):
        document = image_document(root / name)
        head, _, payload = document.page_content.partition(",")
        assert head == f"data:{mimetype};base64"
        assert base64.b64decode(payload) == (root / name).read_bytes()
        assert document.metadata["image_mimetype"] == mimetype
    for kind in ("BMP", "TIFF", "PPM"):
        document = image_document(encoded(noise(50, 40), kind))
        assert document.page_content.startswith("data:image/png;base64,")
        assert open_image(document.page_content, MediaPolicy()).tobytes() == noise(50, 40).tobytes()


def test_the_metadata_tells_what_the_string_does_not(root: Path) -> None:
    """Caption, path, size, type and a small copy; flat, JSON, nothing that is None."""
    media = MediaPolicy(allowed_root=root)
    whole = image_document(root / "a.png", caption="A chart", metadata={"source": "report.pdf", "page": 3}, id="7")
    short = image_document(root / "deep" / "b c.jpg", mode="reference", media=media)
    bare = image_document(noise(9, 9), thumbnail=False)
    assert whole.id == "7"
    assert whole.metadata | {"image_thumbnail": "", "image_sha256": ""} == {
        "source": "report.pdf",
        "page": 3,
        "image_caption": "A chart",
        "image_path": str(root / "a.png"),
        "image_width": 200,
        "image_height": 150,
        "image_mimetype": "image/png",
        "image_sha256": "",
        "image_thumbnail": "",
    }
    assert short.metadata["image_path"] == "deep/b c.jpg"
    assert set(bare.metadata) == {"image_sha256", "image_width", "image_height", "image_mimetype"}
    for document in (whole, short, bare):
        assert all(isinstance(value, str | int) for value in document.metadata.values())
        assert json.loads(json.dumps(document.metadata)) == document.metadata


@pytest.mark.parametrize("size", [(200, 150), (3000, 2000), (2000, 10), (1, 1)])
def test_the_thumbnail_is_small_whatever_the_image(size: tuple[int, int]) -> None:
    """At most 128 pixels and 8 KB, even of pure noise."""
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    uri = image_document(values).metadata["image_thumbnail"]
    assert max(open_image(uri, MediaPolicy()).size) <= 128
    assert len(uri) < 8192 * 4 / 3 + 30


@pytest.mark.parametrize(
    "text",
    [
        "{root}/a.png",
        "a.png",
        "file://{root}/a.png",
        "https://example.org/a.png",
        "The image {uri} shows a chart.",
        "![chart]({uri})",
        "see {reference}",
        "data:text/plain;base64,AAAA",
        "{{'image': '{uri}'}}",
    ],
)
def test_whatever_only_looks_like_an_image_stays_a_text(
    embeddings: VllmJinaEmbeddings, core: JinaEmbedder, root: Path, text: str
) -> None:
    """Paths that exist, URLs, and texts with an image's string inside."""
    uri = image_document(noise(9, 9)).page_content
    reference = image_document(root / "a.png", mode="reference", media=MediaPolicy(allowed_root=root)).page_content
    text = text.format(root=root, uri=uri, reference=reference)
    assert embeddings.embed_documents([text]) == core.embed_passages([text]).tolist()
    assert embeddings.embed_query(text) == core.embed_queries([text])[0].tolist()


def test_a_forged_reference_is_an_error_that_names_its_position(
    embeddings: VllmJinaEmbeddings, tmp_path: Path, root: Path
) -> None:
    """Outside the root, to a file that was changed, or without a root: never read, never taken for a text."""
    secret = tmp_path / "secret.png"
    noise(20, 20).save(secret)
    outside = image_document(secret, mode="reference", media=MediaPolicy(allowed_root=tmp_path)).page_content
    forged = outside.replace("secret.png", "../secret.png")
    for text, problem in ((forged, "outside"), (outside, "does not exist"), (outside[:-3] + "000", "does not exist")):
        with pytest.raises(InputError, match=rf"items\[1\]: .*{problem}") as caught:
            embeddings.embed_documents(["fine", text])
        assert caught.value.positions == (1,)
        with pytest.raises(InputError, match=problem):
            embeddings.embed_query(text)
    (root / "secret.png").write_bytes(encoded(noise(20, 20, seed=9)))
    with pytest.raises(InputError, match=r"items\[0\]: .*another content"):
        embeddings.embed_documents([outside])


def test_what_cannot_be_a_reference_is_refused(root: Path) -> None:
    """No file, no root, an unknown mode, no image."""
    media = MediaPolicy(allowed_root=root)
    for image in (noise(9, 9), b"bytes", image_document(noise(9, 9)).page_content):
        with pytest.raises(InputError, match="needs a file"):
            image_document(image, mode="reference", media=media)
    with pytest.raises(InputError, match="allowed_root"):
        image_document(root / "a.png", mode="reference")
    with pytest.raises(ConfigError, match="choose one of data-uri, reference"):
        image_document(root / "a.png", mode="uri")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no image"):
        image_document(b"no image")
    (root / "text.png").write_text("text")
    with pytest.raises(InputError, match="no image"):
        image_document(root / "text.png", mode="reference", media=media)


class ShapesOfStores:
    """Calls the embedding object exactly as stores do that cannot run here, and ranks by the result."""

    def __init__(self, embeddings: Any) -> None:
        self.embeddings, self.rows = embeddings, np.empty((0, 0))

    def add_as_alloydb(self, uris: list[str]) -> None:
        """langchain-google-alloydb-pg 0.15, aadd_images: embed_images first, else embed_image, both positional."""
        embed = getattr(self.embeddings, "embed_images", None) or self.embeddings.embed_image
        self.rows = np.array(embed(uris))

    def add_as_singlestore(self, uris: list[str]) -> None:
        """langchain-community 0.4, SingleStoreDB and LanceDB: a keyword, only where the attribute is there."""
        if self.embeddings is not None and hasattr(self.embeddings, "embed_image"):
            self.rows = np.array(self.embeddings.embed_image(uris=uris))

    def search_as_chroma(self, uri: str) -> int:
        """langchain-chroma 1.1: embed_image(uris=[uri])[0]."""
        return int(np.argmax(self.rows @ np.array(self.embeddings.embed_image(uris=[uri])[0])))

    def search_as_aws(self, uri: str) -> int:
        """langchain-aws 1.9 and langchain-oci 0.4: one image in, one vector out."""
        return int(np.argmax(self.rows @ np.array(self.embeddings.embed_image(uri))))

    async def search_as_alloydb(self, uri: str) -> int:
        """asimilarity_search_image: a list of one."""
        return int(np.argmax(self.rows @ np.array((await self.embeddings.aembed_images([uri]))[0])))


async def test_the_image_calls_of_stores_that_cannot_run_here(embeddings: VllmJinaEmbeddings, root: Path) -> None:
    """Each way in and each way to ask."""
    uris = [str(root / "a.png"), str(root / "deep" / "b c.jpg")]
    store = ShapesOfStores(embeddings)
    for add in (store.add_as_alloydb, store.add_as_singlestore):
        add(uris)
        assert store.rows.shape == (2, embeddings.dimension)
        for number, uri in enumerate(uris):
            assert store.search_as_chroma(uri) == store.search_as_aws(uri) == number
            assert await store.search_as_alloydb(uri) == number


@pytest.mark.fire
@pytest.mark.parametrize("mode", ["data-uri", "reference"])
def test_a_name_that_is_not_unicode_is_found_again(
    embeddings: VllmJinaEmbeddings, core: JinaEmbedder, root: Path, mode: Any
) -> None:
    """Stores refuse lone surrogates; what is handed on is valid, and the path still opens."""
    path = root / os.fsdecode(b"caf\xe9.png")
    try:
        path.write_bytes((root / "a.png").read_bytes())
    except OSError:
        pytest.skip("this file system refuses such names")
    media = MediaPolicy(allowed_root=root)
    document = image_document(
        path, mode=mode, media=media, caption=path.stem, metadata={"source": str(path)}, id=str(path)
    )
    json.dumps(document.model_dump(), ensure_ascii=False).encode()
    expected = "caf%E9.png" if mode == "reference" else f"file://{root}/caf%E9.png"
    assert document.metadata["image_path"] == expected
    assert (document.id, document.metadata["source"]) == (f"{root}/caf%E9.png", f"{root}/caf%E9.png")
    assert document.metadata["image_caption"] == "caf%E9"
    if mode == "data-uri":
        assert open_image(document.metadata["image_path"], media).size == (200, 150)
    assert embeddings.embed_documents([document.page_content]) == core.embed_images([path]).tolist()
    again = image_document(document.page_content, mode=mode, media=media) if mode == "reference" else None
    assert again is None or again.metadata["image_path"] == expected


@pytest.mark.fire
def test_a_file_uri_is_a_path(root: Path) -> None:
    """In both modes; the metadata holds the path itself."""
    media = MediaPolicy(allowed_root=root)
    for mode in ("data-uri", "reference"):
        one = image_document((root / "deep" / "b c.jpg").as_uri(), mode=mode, media=media)  # type: ignore[arg-type]
        other = image_document(root / "deep" / "b c.jpg", mode=mode, media=media)  # type: ignore[arg-type]
        assert (one.page_content, one.metadata) == (other.page_content, other.metadata)


@pytest.mark.fire
@pytest.mark.parametrize("size", [30, 60, 61, 62, 63, 100])
@pytest.mark.parametrize("mode", ["data-uri", "reference"])
def test_what_a_splitter_cut_is_an_error_that_names_it(
    embeddings: VllmJinaEmbeddings, root: Path, size: int, mode: Any
) -> None:
    """As documents, each with the first piece at its position, and as a query."""
    whole = image_document(root / "a.png", mode=mode, media=MediaPolicy(allowed_root=root), thumbnail=False)
    pieces = RecursiveCharacterTextSplitter(chunk_size=size, chunk_overlap=0).split_documents([whole])
    if len(pieces) == 1:
        return
    with pytest.raises(InputError, match=r"items\[1\]: .*text splitter"):
        embeddings.embed_documents(["a text", pieces[0].page_content])
    with pytest.raises(InputError, match="text splitter"):
        embeddings.embed_query(pieces[0].page_content)
