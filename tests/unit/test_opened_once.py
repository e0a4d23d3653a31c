"""An image that a call was given is read once and decoded once, whatever the call makes of it."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import CachedEmbedder, JinaEmbedder, MediaPolicy
from vllm_jina_embed.corpus.entries import Columns
from vllm_jina_embed.corpus.folders import PdfEntries
from vllm_jina_embed.corpus.sources import entries, sources_of
from vllm_jina_embed.inputs import images
from vllm_jina_embed.inputs.sources import reference
from vllm_jina_embed.late_interaction import LateInteractionIndex

for library in ("langchain_core", "llama_index.core", "qdrant_client"):
    pytest.importorskip(library)

from vllm_jina_embed.langchain import image_document  # noqa: E402
from vllm_jina_embed.llama_index import image_document as llama_document  # noqa: E402
from vllm_jina_embed.llama_index import image_node, name_images  # noqa: E402


@dataclass
class Counted:
    """Files that were opened, and what was decoded."""

    reads: list[str] = field(default_factory=list)
    decoded: list[str] = field(default_factory=list)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Counts at the one place that opens files, and at the two that decode."""
    seen, real_open = Counted(), os.open

    def opening(path: Any, *values: Any, **options: Any) -> int:
        seen.reads += [Path(path).name] if str(path).endswith((".png", ".bmp")) else []
        return real_open(path, *values, **options)

    def counting(real: Callable[..., Any]) -> Callable[..., Any]:
        def decoding(*values: Any, **options: Any) -> Any:
            seen.decoded.append(real.__name__)
            return real(*values, **options)

        return decoding

    monkeypatch.setattr(os, "open", opening)
    for name in ("decoded_file", "decoded_pil"):
        monkeypatch.setattr(images, name, counting(getattr(images, name)))
    return seen


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(noise(40, 30)))
    (folder / "b.bmp").write_bytes(encoded(noise(30, 40), "BMP"))
    return folder


@pytest.fixture
def embedder(tmp_path: Path) -> Iterator[JinaEmbedder]:
    engines: list[FakeEngine] = []
    with in_memory(engines)(write_folder(tmp_path / "checkpoint")) as embedder:
        yield embedder


@pytest.mark.parametrize("name", ["a.png", "b.bmp"])
@pytest.mark.parametrize("mode", ["data-uri", "reference"])
def test_by_image_document(root: Path, counted: Counted, mode: Any, name: str) -> None:
    image_document(root / name, mode=mode, media=MediaPolicy(allowed_root=root))
    assert (counted.reads, counted.decoded) == ([name], ["decoded_file"])


def test_by_image_document_of_a_reference(root: Path, counted: Counted) -> None:
    """Which the file's hash is compared with, and the same bytes are decoded."""
    media = MediaPolicy(allowed_root=root)
    known = reference(root / "a.png", media)
    counted.reads.clear()
    for mode in ("data-uri", "reference"):
        image_document(known, mode=mode, media=media)  # type: ignore[arg-type]
    assert (counted.reads, counted.decoded) == (["a.png"] * 2, ["decoded_file"] * 2)


@pytest.mark.parametrize("make", [image_node, llama_document])
def test_by_nodes(root: Path, counted: Counted, make: Any) -> None:
    """Of a path, and of a name that is not Unicode, whose bytes are kept in the node."""
    make(root / "a.png")
    latin = root / os.fsdecode(b"caf\xe9.png")
    try:
        latin.write_bytes((root / "a.png").read_bytes())
    except OSError:
        pytest.skip("this file system refuses such names")
    counted.reads.clear()
    node = make(latin)
    assert base64.b64decode(node.image) == latin.read_bytes()
    assert counted.reads == [latin.name]
    assert counted.decoded == ["decoded_file"] * 2


def test_by_name_images(root: Path, counted: Counted) -> None:
    name_images([image_node(root / "a.png")])
    assert (counted.reads, counted.decoded) == (["a.png"] * 2, ["decoded_file"] * 2), "once for each call"


def test_by_a_cache(root: Path, embedder: JinaEmbedder, tmp_path: Path, counted: Counted) -> None:
    """What is hashed for the key is what the prompt is built of: it is not decoded again, and not copied."""
    cached = CachedEmbedder(embedder, tmp_path / "cache.sqlite")
    cached.embed([root / "a.png", "a text", [root / "a.png", root / "b.bmp"]])
    assert counted.reads == ["a.png", "a.png", "b.bmp"]
    assert counted.decoded == ["decoded_file"] * 3


@pytest.mark.parametrize("source", ["file", "pil"])
def test_by_late_interaction(root: Path, embedder: JinaEmbedder, counted: Counted, source: str) -> None:
    """Two kinds of vector and an id, from one image."""
    index = LateInteractionIndex(embedder)
    index.add([root / "a.png"] if source == "file" else [noise(40, 30)])
    assert counted.decoded == ["decoded_file" if source == "file" else "decoded_pil"]


def test_by_late_interaction_once_where_it_is_bad(root: Path, embedder: JinaEmbedder, counted: Counted) -> None:
    """It is reported as it was found, and not tried for each kind of vector."""
    (root / "bad.png").write_bytes(b"text")
    index = LateInteractionIndex(embedder)
    with pytest.raises(ValueError, match=r"^items\[0\]: 'bad.png' is not an image"):
        index.add([root / "bad.png"])
    assert counted.reads == ["bad.png"]


def test_by_a_folder_of_pages(root: Path, counted: Counted) -> None:
    """A page of a PDF is rendered, and not read back from the PNG that was made of it."""
    pytest.importorskip("pypdfium2")
    noise(60, 80).save(root / "c.pdf")
    with PdfEntries() as pdfs:
        found = list(entries(sources_of(root), Columns(keep=("text", "image")), pdfs))
        assert [entry.id for entry in found] == ["a.png", "b.bmp", "c.pdf#page=1"]
        assert all(entry.load is not None and entry.load() for entry in found)
    assert counted.decoded == ["decoded_file"] * 2
