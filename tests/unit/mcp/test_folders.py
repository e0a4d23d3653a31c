"""A folder as an index reads it: what is cut where, what is passed over, what is left out with a reason."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.support.images import encoded, noise
from tests.support.indexes import read
from tests.support.pdfs import locked, make_pdf


def test_a_folder_is_read_in_order(tmp_path: Path) -> None:
    """Images keep their bytes, others become PNG of the same pixels; other kinds and hidden files are passed over."""
    (tmp_path / "b").mkdir()
    image = noise(40, 30)
    (tmp_path / "b" / "photo.JPG").write_bytes(encoded(image, "JPEG"))
    (tmp_path / "a.bmp").write_bytes(encoded(image, "BMP"))
    (tmp_path / "notes.md").write_text("\ufeffGrüße\n\n安", encoding="utf-8")
    for name in ("table.csv", "rows.jsonl", "rows.parquet"):
        (tmp_path / name).write_text("1,2")
    (tmp_path / ".hidden.md").write_text("secret")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "notes.md").write_text("secret")
    found, left_out = read(tmp_path)
    assert left_out == {}
    assert list(found) == ["a.bmp", "b/photo.JPG", "notes.md#L1-3"]
    assert found["b/photo.JPG"].file == (tmp_path / "b" / "photo.JPG").read_bytes()
    assert found["a.bmp"].file is not None
    made = Image.open(BytesIO(found["a.bmp"].file))
    assert (made.format, made.tobytes()) == ("PNG", image.tobytes())
    assert (found["notes.md#L1-3"].text, found["notes.md#L1-3"].kind) == ("Grüße\n\n安", "text")


def test_what_cannot_be_read_is_left_out_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    (tmp_path / "fine.txt").write_text("fine")
    found, left_out = read(tmp_path)
    assert [content.text for content in found.values()] == ["fine"]
    assert set(left_out) == {"broken.png", "latin.txt"}
    assert "not an image that can be read" in left_out["broken.png"]
    assert "utf-8" in left_out["latin.txt"]


def test_links_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "note.txt").write_text(folder.name)
    (inside / "link.txt").symlink_to(outside / "note.txt")
    (inside / "folder").symlink_to(outside)
    (inside / "again.txt").symlink_to(inside / "note.txt")
    found, left_out = read(inside)
    assert {name: content.text for name, content in found.items()} == {
        "again.txt#L1-1": "inside",
        "note.txt#L1-1": "inside",
    }
    assert left_out == {"link.txt": "it is a link that leads out of the folder."}


@pytest.mark.fire
def test_a_bad_page_costs_no_other(tmp_path: Path) -> None:
    """Pages too thin, pages that pdfium cannot load, a file that claims a million pages."""
    pages = make_pdf((100, 100), (14000, 20), (200, 200), (5, 3000), (100, 300))
    four = make_pdf(*[(100, 100)] * 4)
    (tmp_path / "thin.pdf").write_bytes(pages)
    (tmp_path / "missing.pdf").write_bytes(four.replace(b"Kids[ 4 0 R  5 0 R", b"Kids[ 4 0 R  9 0 R"))
    (tmp_path / "million.pdf").write_bytes(four.replace(b"/Count 4/", b"/Count 1000000/"))
    (tmp_path / "cut.pdf").write_bytes(four[: len(four) // 2])
    (tmp_path / "locked.pdf").write_bytes(locked())
    found, left_out = read(tmp_path)
    assert list(found) == [
        *[f"million.pdf#page={number}" for number in (1, 2, 3, 4)],
        *[f"missing.pdf#page={number}" for number in (1, 3, 4)],
        *[f"thin.pdf#page={number}" for number in (1, 3, 5)],
    ]
    assert "side ratios up to 200" in left_out["thin.pdf#page=2"]
    assert "side ratios up to 200" in left_out["thin.pdf#page=4"]
    assert "Failed to" in left_out["missing.pdf#page=2"]
    assert left_out["million.pdf#page=24"] == "its pages from 24 to 1000000 are not there, as many before them."
    assert "cannot be read as a PDF" in left_out["cut.pdf"]
    assert "Unlock it first" in left_out["locked.pdf"]
    assert len(left_out) == 25


@pytest.mark.fire
def test_what_is_wrong_with_one_file_is_told_by_its_name(tmp_path: Path) -> None:
    """A pipe is not waited for, a link to itself not followed, a giant text not read, a folder not taken for a file."""
    (tmp_path / "fine.txt").write_text("fine")
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "device.txt").symlink_to("/dev/zero")
    (tmp_path / "outside.md").symlink_to("/etc/hostname")
    with (tmp_path / "giant.txt").open("wb") as file:
        file.truncate(300_000_000)
    (tmp_path / "a.pdf").mkdir()
    (tmp_path / "a.pdf" / "inside.txt").write_text("inside")
    (tmp_path / os.fsdecode(b"bad\xff.png")).write_bytes(b"no image")
    (tmp_path / "utf16.txt").write_text("fine", encoding="utf-16")
    found, left_out = read(tmp_path)
    assert [content.text for content in found.values()] == ["inside", "fine"]
    assert {name: reason.partition(" (")[0] for name, reason in left_out.items()} == {
        r"bad\xff.png": left_out[r"bad\xff.png"],
        "dangling.png": "it cannot be read",
        "device.txt": "it is a link that leads out of the folder.",
        "giant.txt": "it has 300000000 bytes; a text may have 67108864. Cut it into files.",
        "loop.txt": "it cannot be read",
        "outside.md": "it is a link that leads out of the folder.",
        "pipe.md": "it is not a regular file.",
        "utf16.txt": "it is not valid UTF-8",
    }


@pytest.mark.fire
def test_a_folder_may_be_deeper_than_python_recurses(tmp_path: Path) -> None:
    folders = [tmp_path]
    for _ in range(1200):
        folders.append(folders[-1] / "d")
        folders[-1].mkdir()
    (file := folders[-1] / "deep.txt").write_text("deep")
    try:
        assert [content.text for content in read(tmp_path)[0].values()] == ["deep"]
    finally:
        file.unlink()
        for folder in reversed(folders[1:]):
            folder.rmdir()


@pytest.mark.fire
def test_pieces_of_one_long_line_have_ids_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "long.md").write_text("word " * 600)
    assert list(read(tmp_path)[0]) == ["long.md#L1-1", "long.md#L1-1.2", "long.md#L1-1.3"]
