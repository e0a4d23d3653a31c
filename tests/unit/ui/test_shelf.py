"""What one page was given: checked, named safely, bounded, and gone with the page."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.support.images import encoded, noise
from vllm_jina_embed import InputError
from vllm_jina_embed.ui.shelf import (
    MEDIA,
    NAME_CHARACTERS,
    Bounds,
    Item,
    Shelf,
    Shelves,
    item_of,
    shown_name,
    text_item,
)

BOUNDS = Bounds(items=3, bytes=1000, characters=50)
BOMB = base64.b64decode("UklGRh4AAABXRUJQVlA4TBEAAAAvD+fDGQdQjyKXp2SBiOh/AAA=")
"""38 bytes of WebP with 10,000 x 10,000 pixels."""
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


async def test_an_image_keeps_its_file_and_has_a_small_one() -> None:
    data = encoded(noise(900, 300))
    item = await item_of("photo.png", data, BOUNDS)
    assert (item.kind, item.name, item.file, item.text) == ("image", "photo.png", data, "")
    assert item.content == {"image": data}
    assert item.thumbnail is not None
    assert Image.open(BytesIO(item.thumbnail)).size == (480, 160)


@pytest.mark.parametrize("name", ["note.txt", "NOTE.MD", "a.b.markdown", "C:\\x\\note.rst"])
async def test_a_text_is_known_by_its_name(name: str) -> None:
    item = await item_of(name, "\ufeff Ein Wald \n".encode(), BOUNDS)
    assert (item.kind, item.text, item.content) == ("text", "Ein Wald", {"text": "Ein Wald"})


async def test_a_text_that_looks_like_an_image_or_a_path_stays_a_text() -> None:
    for text in ("data:image/png;base64,AAAA", "/etc/passwd", "<script>alert(1)</script>"):
        assert (await item_of("a.txt", text.encode(), BOUNDS)).content == {"text": text}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("broken.png", b"\x89PNG\r\n\x1a\nbroken"),
        ("cut.png", encoded(noise(64, 64))[:-200]),
        ("bomb.webp", BOMB),
        ("a.svg", SVG),
        ("a.png", SVG),
        ("page.html", b"<html><script>alert(1)</script>"),
        ("report.pdf", b"%PDF-1.7"),
        ("strip.png", encoded(noise(3000, 10))),
        ("empty.png", b""),
        ("empty.txt", b" \n"),
        ("long.txt", b"x" * 51),
        ("latin.txt", b"caf\xe9"),
        ("nul.txt", b"a\0b"),
        ("no-suffix", b"a text"),
        ("large.png", bytes(MEDIA.max_bytes + 1)),
    ],
)
async def test_what_cannot_be_taken_is_an_error_in_words(name: str, data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        await item_of(name, data, BOUNDS)
    assert "/" not in caught.value.reason.replace("image/png", "") or name in ("a.png",)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("photo.png", "photo.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/", "unnamed"),
        ("", "unnamed"),
        ("a\nb.png", "a\\u000ab.png"),
        ("a\x1b[31m.png", "a\\u001b[31m.png"),
        ("gnp.\u202etxt", "gnp.\\u202etxt"),
        ("\udcff.png", "\\xff.png"),
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>.png"),
    ],
)
def test_a_name_is_its_last_part_on_one_line(name: str, shown: str) -> None:
    """Signs of HTML stay: the page shows names as text, see tests/real/test_ui.py."""
    assert shown_name(name) == shown


def test_a_long_name_is_cut() -> None:
    assert len(shown_name("x" * 1000 + ".png")) == NAME_CHARACTERS


def item(number: int, size: int = 10) -> Item:
    return Item(key=str(number), name=f"{number}.png", file=bytes(size))


def test_a_page_has_room_for_so_many_items_and_bytes() -> None:
    shelf = Shelf(BOUNDS, is_open=True)
    for number in range(2):
        shelf.put(item(number), np.ones(2, dtype=np.float32))
    with pytest.raises(InputError, match="1001 bytes"):
        shelf.put(item(2, 981), None)
    shelf.put(item(2, 980), None)
    with pytest.raises(InputError, match="there are 3 items; at most 3"):
        shelf.put(item(3), None)
    shelf.remove("1")
    shelf.remove("1")
    assert [*shelf.items] == ["0", "2"]
    assert [*shelf.embeddings] == ["0"]
    shelf.put(item(4), None)


def test_a_page_that_was_closed_takes_nothing_any_more() -> None:
    """Nor before it is connected; what was being embedded when it was closed is not kept."""
    shelves = Shelves(most=1)
    shelf = shelves.new()
    with pytest.raises(InputError, match="not open"):
        shelf.put(item(1), None)
    assert shelves.enter(shelf)
    shelf.put(item(1), np.ones(2, dtype=np.float32))
    shelves.leave(shelf)
    assert (shelf.items, shelf.embeddings, shelves.open) == ({}, {}, set())
    with pytest.raises(InputError, match="not open any more"):
        shelf.put(item(2), None)


def test_so_many_pages_are_open_and_each_has_its_own_items() -> None:
    """Pages that are only loaded do not count, so that nobody keeps others out by loading many."""
    shelves = Shelves(most=2, bounds=BOUNDS)
    loaded = [shelves.new() for _ in range(100)]
    first, second, third = loaded[:3]
    assert [shelves.enter(shelf) for shelf in (first, second, third, first)] == [True, True, False, True]
    first.put(item(1), None)
    assert second.items == {}
    assert first.bounds == BOUNDS
    shelves.leave(third)
    assert not shelves.enter(third)
    shelves.leave(first)
    shelves.leave(first)
    assert shelves.enter(third)


def test_a_text_that_is_written_is_named_by_its_beginning() -> None:
    written = text_item("<b>Ein</b>\n Wald", BOUNDS)
    assert (written.name, written.text) == ("Text: <b>Ein</b> Wald", "<b>Ein</b>\n Wald")
