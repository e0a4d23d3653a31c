"""A folder as places: what is cut where, what is passed over, what is left out with a reason."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.support.pictures import encoded, noise
from vllm_jina_embed.mcp.reading import chunks, read_folder

LONG = "word " * 100


def test_a_text_is_cut_at_empty_lines_and_knows_its_lines() -> None:
    """Paragraphs are joined while there is room."""
    text = "one\ntwo\n\n\nthree\n\n" + "four " * 3
    assert list(chunks(text, 100)) == [(1, 7, "one\ntwo\n\nthree\n\nfour four four")]
    assert list(chunks(text, 14)) == [(1, 5, "one\ntwo\n\nthree"), (7, 7, "four four four")]


@pytest.mark.parametrize("text", [LONG, LONG.replace(" ", ""), LONG.replace(" ", "\n"), f"{LONG}\n\n{LONG}"])
@pytest.mark.parametrize("most", [7, 33, 10_000])
def test_no_piece_is_too_long_and_no_letter_is_lost(text: str, most: int) -> None:
    found = list(chunks(text, most))
    assert max(len(piece) for *_, piece in found) <= most
    assert "".join("".join(piece.split()) for *_, piece in found) == "".join(text.split())
    assert [first for first, *_ in found] == sorted(first for first, *_ in found)
    for *_, piece in found:
        assert [again for *_, again in chunks(piece, most)] == [piece]


@pytest.mark.parametrize("text", ["", "  \n\t\n"])
def test_nothing_gives_nothing(text: str) -> None:
    assert list(chunks(text)) == []


def test_a_folder_is_read_in_order(tmp_path: Path) -> None:
    """Pictures keep their bytes, others become PNG of the same pixels; other kinds and hidden files are passed over."""
    (tmp_path / "b").mkdir()
    picture = noise(40, 30)
    (tmp_path / "b" / "photo.JPG").write_bytes(encoded(picture, "JPEG"))
    (tmp_path / "a.bmp").write_bytes(encoded(picture, "BMP"))
    (tmp_path / "notes.md").write_text("\ufeffGrüße\n\n安", encoding="utf-8")
    (tmp_path / "table.csv").write_text("1,2")
    (tmp_path / ".hidden.md").write_text("secret")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "notes.md").write_text("secret")
    left_out: dict[str, str] = {}
    bmp, photo, notes = read_folder(tmp_path, left_out)
    assert left_out == {}
    assert [place.id for place in (bmp, photo, notes)] == ["a.bmp", "b/photo.JPG", "notes.md#L1-3"]
    assert photo.picture == ((tmp_path / "b" / "photo.JPG").read_bytes(), "image/jpeg")
    assert bmp.picture is not None
    assert bmp.picture[1] == "image/png"
    assert Image.open(BytesIO(bmp.picture[0])).tobytes() == picture.tobytes()
    assert (notes.text, notes.source, notes.picture) == ("Grüße\n\n安", "notes.md", None)


def test_what_cannot_be_read_is_left_out_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    (tmp_path / "fine.txt").write_text("fine")
    left_out: dict[str, str] = {}
    assert [place.text for place in read_folder(tmp_path, left_out)] == ["fine"]
    assert set(left_out) == {"broken.png", "latin.txt"}
    assert "no picture that can be read" in left_out["broken.png"]
    assert "utf-8" in left_out["latin.txt"]


def test_links_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    """Nor is the index inside it read."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside, inside / "index"):
        folder.mkdir()
        (folder / "note.txt").write_text(folder.name)
    (inside / "link.txt").symlink_to(outside / "note.txt")
    (inside / "folder").symlink_to(outside)
    (inside / "again.txt").symlink_to(inside / "note.txt")
    found = read_folder(inside, {}, skip=inside / "index")
    assert [(place.source, place.text) for place in found] == [("again.txt", "inside"), ("note.txt", "inside")]
