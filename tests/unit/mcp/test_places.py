"""The places of a corpus: a page counts by the best of its image and pieces, has neighbours, and comes once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from tests.support.indexes import write_files
from tests.support.pdfs import text_pdf
from vllm_jina_embed import InputError, JinaEmbedder, MediaPolicy
from vllm_jina_embed.corpus import Columns, Corpus, embed_corpus
from vllm_jina_embed.corpus.lookup import lookup_of
from vllm_jina_embed.mcp.building import build
from vllm_jina_embed.mcp.opening import opened
from vllm_jina_embed.mcp.places import Places

LINES = "\n".join(f"{letter * 60} end" for letter in "abcdefghij" * 5)
FILES: dict[str, str | bytes] = {
    "long.md": "\n\n".join(f"{letter * 700} end" for letter in "abc"),
    "notes.md": "a note",
    "photo.png": encoded(noise(40, 30)),
    "report.pdf": text_pdf("first page", LINES, ""),
}
PLACES = [
    *["long.md#L1-1", "long.md#L3-3", "long.md#L5-5", "notes.md#L1-1", "photo.png"],
    *["report.pdf#page=1", "report.pdf#page=2", "report.pdf#page=3"],
]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JinaEmbedder]:
    with in_memory([])(write_folder(tmp_path_factory.mktemp("model")), dimensions=32) as embedder:
        yield embedder


@pytest.fixture(params=["index", "files", "both", "lancedb"], scope="module")
def corpus(
    request: pytest.FixtureRequest, embedder: JinaEmbedder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Corpus]:
    """The same folder as an index and as other corpora, which hold it in their ways."""
    here = tmp_path_factory.mktemp("corpus")
    folder = write_files(here / "folder", FILES)
    out: Any = here / "out"
    columns: dict[str, Any] = {"pages": "both" if request.param == "both" else "pieces", "keep": ("text", "image")}
    if request.param == "index":
        build(folder, out, embedder)
    else:
        out = f"lancedb://{out}/pages" if request.param == "lancedb" else out
        vectors = "both" if request.param == "both" else "embedding"
        embed_corpus(folder, out, embedder=embedder, columns=Columns(**columns), rows_per_file=3, vectors=vectors)
    with opened(out) as corpus:
        yield corpus


def test_each_place_is_found_by_its_own_content_and_comes_once(corpus: Corpus, embedder: JinaEmbedder) -> None:
    """Its image, its text, and each piece of its text."""
    places = Places(corpus)
    rows = {row.id: row for row in corpus}
    questions = {row.id: row.image if row.kind == "image" else row.text for row in rows.values()}
    assert len(questions) > len(PLACES)
    for id_, content in questions.items():
        row = (
            embedder.embed_images([content])[0] if isinstance(content, bytes) else embedder.embed_passages([content])[0]
        )
        found = places.search(row, None, 20)
        assert found[0].id == id_.partition("/text")[0]
        assert found[0].score == pytest.approx(1, abs=1e-3)
        assert sorted(place.id for place in found) == PLACES
        scores = [place.score for place in found]
        assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]
        (first,) = places.search(row, None, 1)
        assert first.id == found[0].id


def test_a_place_is_whole_however_it_is_found(corpus: Corpus, embedder: JinaEmbedder) -> None:
    """By a search or by its id: its whole text, and its image."""
    places = Places(corpus)
    page = places.get("report.pdf#page=2")
    assert page is not None
    piece = next(row.text for row in corpus if row.id == "report.pdf#page=2/text")
    (found,) = places.search(embedder.embed_passages([piece])[0], None, 1)
    for place in (page, found, places.get("report.pdf#page=2/text")):
        assert place is not None
        assert (place.id, place.page, place.citation) == ("report.pdf#page=2", 2, "report.pdf, page 2")
        assert place.text == LINES
        assert place.image is not None
        assert places.image(place.image, MediaPolicy()) == next(row.image for row in corpus if row.id == place.id)
    note = places.get("notes.md#L1-1")
    assert note is not None
    assert (note.citation, note.text, note.image) == ("notes.md", "a note", None)


def test_what_is_stored_of_a_place_is_its_image_or_its_text(corpus: Corpus, embedder: JinaEmbedder) -> None:
    places = Places(corpus)
    rows = {row.id: row for row in corpus}
    for name in PLACES:
        place = places.get(name)
        assert place is not None
        embedding, tokens = places.vectors(place)
        row = rows[name]
        again = embedder.embed_images([row.image]) if row.kind == "image" else embedder.embed_passages([row.text])
        assert np.array_equal(embedding, again[0])
        assert (tokens is None) == (corpus.settings["token_dimensions"] is None)


def test_neighbours_are_of_the_same_file(corpus: Corpus) -> None:
    places = Places(corpus)
    expected = {
        "long.md#L1-1": (None, "long.md#L3-3"),
        "long.md#L3-3": ("long.md#L1-1", "long.md#L5-5"),
        "long.md#L5-5": ("long.md#L3-3", None),
        "notes.md#L1-1": (None, None),
        "photo.png": (None, None),
        "report.pdf#page=1": (None, "report.pdf#page=2"),
        "report.pdf#page=2": ("report.pdf#page=1", "report.pdf#page=3"),
        "report.pdf#page=3": ("report.pdf#page=2", None),
    }
    for name, neighbours in expected.items():
        place = places.get(name)
        assert place is not None
        assert places.neighbours(place) == neighbours


@pytest.mark.fire
@pytest.mark.parametrize("name", ["", "a\0b", "x" * 5000, "\ud800", "' OR id != '", "../photo.png", "report.pdf"])
def test_a_name_that_is_no_id_is_nothing(corpus: Corpus, name: str) -> None:
    assert Places(corpus).get(name) is None


def test_a_question_that_is_not_finite_has_no_answer(corpus: Corpus) -> None:
    with pytest.raises(InputError, match="not a finite vector"):
        Places(corpus).search(np.full(32, np.nan, dtype=np.float32), None, 10)


def test_many_pieces_of_one_page_hide_no_other_place(embedder: JinaEmbedder, tmp_path: Path) -> None:
    """Though all of them stand before it."""
    page = "\n".join(f"{'word ' * 30}{n}" for n in range(55))
    folder = write_files(tmp_path / "folder", {"a.pdf": text_pdf(page), "b.md": "b", "c.md": "c"})
    build(folder, tmp_path / "index", embedder)
    with opened(tmp_path / "index") as corpus:
        assert len(corpus) > 8
        places = Places(corpus)
        stored = lookup_of(corpus)
        rows = {row.id: stored.vectors(row.id)[0] for row in corpus if row.page}
        pieces = np.stack([row for row in rows.values() if row is not None])
        question = pieces.sum(axis=0)  # near to every row of the page
        found = places.search(question / np.linalg.norm(question), None, 3)
        assert sorted(place.id for place in found) == ["a.pdf#page=1", "b.md#L1-1", "c.md#L1-1"]


# --- files outside the corpus -----------------------------------------------------------------------------------------


@pytest.mark.fire
def test_a_file_is_read_only_where_asked_and_only_below_the_folders_of_the_corpus(
    embedder: JinaEmbedder, tmp_path: Path
) -> None:
    """A corpus that keeps no images: whatever its rows say of files."""
    folder = write_files(tmp_path / "folder", {"photo.png": encoded(noise(40, 30)), "a.pdf": text_pdf("one")})
    (tmp_path / "secret.png").write_bytes(encoded(noise(10, 10)))
    (folder / "link.png").symlink_to(folder / "photo.png")
    embed_corpus(folder, tmp_path / "out", embedder=embedder, columns=Columns(pages="both"))
    with opened(tmp_path / "out") as corpus:
        closed, reading = Places(corpus), Places(corpus, read_files=True)
        (folder / "link.png").unlink()
        (folder / "link.png").symlink_to(tmp_path / "secret.png")
        for row in corpus:
            if row.kind == "text":
                continue
            assert "--read-files" in str(closed.image(row, MediaPolicy()))
            image = reading.image(row, MediaPolicy())
            if row.id == "link.png":
                assert "outside the folders" in str(image)
            else:
                assert image.pixels.size == ((40, 30) if row.id == "photo.png" else (800, 1200))
        for source in ("../secret.png", str(tmp_path / "secret.png"), "x/../../secret.png", "gone.png"):
            made_up = type(row)(id="a", source=source, kind="image")
            assert isinstance(reading.image(made_up, MediaPolicy()), InputError)
