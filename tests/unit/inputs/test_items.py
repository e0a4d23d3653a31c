"""What callers may pass, told apart by position and without any I/O."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vllm_jina_embed.errors import InputError
from vllm_jina_embed.inputs import items as inputs
from vllm_jina_embed.inputs.items import BadItem, ImageItem, TextItem
from vllm_jina_embed.inputs.references import Text, looks_like_image

URI = "data:image/png;base64,AAAA"
REFERENCE = "vllm-jina-embed:image:a/b%20c.png#" + "0f" * 16
IMAGES: list[Any] = [
    Path("no/such/file.png"),
    b"not read here",
    bytearray(b"x"),
    memoryview(b"x"),
    BytesIO(b"x"),
    Image.new("RGB", (2, 2)),
    np.zeros((2, 2, 3), np.uint8),
    URI,
]


def error_of(item: object) -> InputError:
    """Return what is wrong with an item, which knows its place."""
    assert isinstance(item, BadItem)
    assert item.error.positions == (item.position,)
    assert str(item.error).startswith(f"{item.where}: got ")
    return item.error


def test_texts_know_their_position() -> None:
    """Any iterable; the text is never changed."""
    assert inputs.texts(text for text in ["a", " b\n"]) == [
        TextItem(position=0, where="texts[0]", text="a"),
        TextItem(position=1, where="texts[1]", text=" b\n"),
    ]
    assert inputs.texts([]) == []


@pytest.mark.fire
@pytest.mark.parametrize("blank", ["", " ", "\n\t ", "\u3000"])
def test_an_empty_text_is_that_item_s_error(blank: str) -> None:
    """White space alone counts as empty; its neighbours are items."""
    good, bad = inputs.texts(["a", blank])
    assert good == TextItem(position=0, where="texts[0]", text="a")
    assert str(error_of(bad)).startswith("texts[1]: got an empty text")


@pytest.mark.fire
@pytest.mark.parametrize("value", [None, 3, b"bytes", ["a"], Path("a"), float("nan")])
def test_a_text_of_another_type_is_that_item_s_error(value: object) -> None:
    """The error names the type; nothing is converted."""
    (bad,) = inputs.texts([value])
    assert str(error_of(bad)) == f"texts[0]: got {type(value).__name__}; expected a string."


@pytest.mark.parametrize("text", ["\ud800", "ok \udfff", "\udc80abc"])
def test_a_lone_surrogate_is_that_item_s_error(text: str) -> None:
    """No tokenizer can read it, and one such text must not fail its neighbours."""
    _, bad = inputs.texts(["fine", text])
    assert re.search(r"texts\[1\].*not valid Unicode.*character \d", str(error_of(bad)))


@pytest.mark.parametrize(
    "text", ["\x00", "\u200b", "\u202eright to left", "<|image_pad|>", "/etc/passwd", "🙂", "http://a/b"]
)
def test_odd_texts_are_texts(text: str) -> None:
    """Whatever Unicode allows; what looks like a path, a URL or a special token stays text."""
    (item,) = inputs.mixed([text])
    assert item == TextItem(position=0, where="items[0]", text=text)


def test_bad_items_keep_their_places() -> None:
    """In a part of a stream too."""
    items = inputs.mixed(["a", "", None, "b", 7], start=10)
    assert [item.position for item in items] == [10, 11, 12, 13, 14]
    assert [isinstance(item, BadItem) for item in items] == [False, True, True, False, True]
    assert [item.position for item in inputs.good(items)] == [10, 13]


@pytest.mark.fire
@pytest.mark.parametrize("value", [None, 7, float("nan"), {"a"}])
def test_what_is_neither_text_nor_image_is_told_what_both_may_be(value: object) -> None:
    """Most such values were meant for a text."""
    (bad,) = inputs.mixed([value])
    assert re.search(
        rf"got {type(value).__name__}; expected a text as a string, or an image: a path", str(error_of(bad))
    )


@pytest.mark.fire
@pytest.mark.parametrize("dtype", ["U5", object])
def test_an_array_of_strings_is_a_list(dtype: Any) -> None:
    """As pandas' ``to_numpy`` and numpy give it; the items are Python's strings."""
    for read in (inputs.texts, inputs.mixed):
        items = read(np.array(["a", "b c"], dtype=dtype))
        assert [item.text for item in items] == ["a", "b c"]
        assert {type(item.text) for item in items} == {str}


@pytest.mark.fire
def test_an_array_of_objects_is_a_list() -> None:
    """Images, and what is neither, by position."""
    values = np.empty(3, dtype=object)
    values[:] = ["a", None, np.zeros((2, 2, 3), np.uint8)]
    items = inputs.mixed(values)
    assert [type(item) for item in items] == [TextItem, BadItem, ImageItem]


@pytest.mark.fire
@pytest.mark.parametrize(
    ("value", "match"),
    [
        (np.zeros((5, 4, 4, 3), np.uint8), r"shape \(5, 4, 4, 3\).*5 images.*list\(array\)"),
        (np.array([["a"], ["b"]]), r"shape \(2, 1\) and dtype <U1 is not one image; for texts pass a list"),
        (np.zeros(7), r"shape \(7,\) and dtype float64 is not one image"),
        (np.array("a"), r"shape \(\)"),
        (None, "got NoneType; expected a list"),
        (7, "got int; expected a list"),
        ({"a": "b"}, "got dict; expected a list"),
    ],
)
def test_what_is_not_a_list_says_what_to_do(value: Any, match: str) -> None:
    """An error of the whole call, at once."""
    for read in (inputs.texts, inputs.images, inputs.mixed):
        with pytest.raises(InputError, match=match) as caught:
            read(value)
        assert caught.value.positions == ()


def test_a_table_or_an_open_file_is_not_a_list(tmp_path: Path) -> None:
    """Their parts are names of columns, and lines."""

    class Table(list[str]):
        columns = ("column",)

    with pytest.raises(InputError, match="got Table; expected a list"):
        inputs.texts(Table(["column"]))
    (tmp_path / "a.png").write_bytes(b"a\nb")
    with (tmp_path / "a.png").open("rb") as file, pytest.raises(InputError, match=r"Wrap it: \[image\]"):
        inputs.images(file)


@pytest.mark.parametrize("read", [inputs.texts, inputs.images, inputs.mixed])
@pytest.mark.parametrize("value", ["one text", *IMAGES], ids=lambda value: type(value).__name__)
def test_one_item_instead_of_a_list_is_refused(read: Callable[[Any], object], value: object) -> None:
    """A string is not a list of letters, bytes are not a list of numbers, a file is not a list of lines."""
    with pytest.raises(InputError, match=r"expected a list. Wrap it: \["):
        read(value)


@pytest.mark.parametrize("value", IMAGES, ids=lambda value: type(value).__name__)
def test_every_form_of_an_image_is_an_image_in_both_calls(value: Any) -> None:
    """Nothing is opened: the file does not exist and the bytes are no image."""
    for read, where in ((inputs.images, "images[0]"), (inputs.mixed, "items[0]")):
        (item,) = read([value])
        assert isinstance(item, ImageItem)
        assert (item.position, item.where, len(item.images)) == (0, where, 1)
        assert item.images[0] is value


def test_a_string_is_a_path_among_images_and_a_text_in_a_mixed_list() -> None:
    """The one difference between the two calls."""
    assert inputs.images(["a.png"]) == [ImageItem(position=0, where="images[0]", images=("a.png",))]
    assert inputs.mixed(["a.png"]) == [TextItem(position=0, where="items[0]", text="a.png")]


@pytest.mark.parametrize("value", [[URI, b"x"], (URI, b"x")])
def test_a_list_of_images_is_one_item(value: Any) -> None:
    """Order kept."""
    for read in (inputs.images, inputs.mixed):
        (item,) = read([value])
        assert isinstance(item, ImageItem)
        assert item.images == (URI, b"x")


@pytest.mark.parametrize("value", [[], (), [None], [[b"x"]], None, 3, {"picture": b"x"}])
def test_what_is_not_an_image_is_that_item_s_error(value: Any) -> None:
    """Empty items, nested lists and other types, by position."""
    for read in (inputs.images, inputs.mixed):
        good, bad = read([b"x", value])
        assert isinstance(good, ImageItem)
        assert error_of(bad).positions == (1,)


def test_a_text_among_the_images_of_one_item_is_that_item_s_error() -> None:
    """One item is one text or some images; the error says how to name a file."""
    (bad,) = inputs.mixed([[b"x", "a.png"]])
    assert re.search(r"items\[0\]: got a list that holds a text.*pathlib.Path", str(error_of(bad)))


def test_an_adapter_hands_over_what_it_found_out() -> None:
    """An error in place of an item is that item's."""
    _, bad = inputs.mixed(["a", InputError("nodes[1]: its image is gone")])
    assert isinstance(bad, BadItem)
    assert str(bad.error) == "nodes[1]: its image is gone"
    assert bad.error.positions == (1,)


@pytest.mark.parametrize(
    "text",
    [
        URI + " and more",
        "see " + URI,
        f"[{URI}] is one",
        "data:text/plain;base64,AAAA",
    ],
)
def test_only_a_string_that_is_wholly_a_data_uri_is_an_image(text: str) -> None:
    """A document that quotes one stays a text."""
    assert isinstance(inputs.mixed([text])[0], TextItem)


@pytest.mark.fire
@pytest.mark.parametrize("text", ["data:image/png;base64,AA*A", "data:image/png,AAAA", REFERENCE[:30], f"[{URI}]"])
def test_what_is_nearly_an_images_string_is_an_error_at_its_position(text: str) -> None:
    """In a mixed call, alone, in a list of images, and where strings are paths; never a text."""
    good, bad = inputs.mixed(["a", text])
    assert isinstance(good, TextItem)
    assert "begins like" in str(error_of(bad))
    (inside,) = inputs.mixed([[b"x", text]])
    assert "begins like" in str(error_of(inside))
    assert [type(item) for item in inputs.mixed([text, "a", " "])] == [BadItem, TextItem, BadItem]


@pytest.mark.fire
@pytest.mark.parametrize("text", [URI, f"\n{URI}", REFERENCE, REFERENCE[:30], URI[:-1] + "*"])
def test_what_must_be_a_text_is_one_whatever_it_looks_like(text: str) -> None:
    """In calls that take texts alone, and as ``Text`` in a mixed call; not changed, and a plain string."""
    for (item,) in (inputs.texts([text]), inputs.mixed([Text(text)])):
        assert isinstance(item, TextItem)
        assert (item.text, type(item.text)) == (text, str)
    (mixed,) = inputs.mixed([[b"x", Text(URI)]])
    assert "holds a text" in str(error_of(mixed))


@pytest.mark.parametrize("image", [URI, REFERENCE])
@pytest.mark.parametrize("around", ["{}", " {}", "{}\n", "\n\t{}  \n"])
def test_white_space_around_an_image_string_is_not_part_of_it(image: str, around: str) -> None:
    """Frameworks add line breaks on the way through their tools."""
    (item,) = inputs.mixed([around.format(image)])
    assert isinstance(item, ImageItem)
    assert item.images == (image,)
    assert inputs.mixed([[b"x", around.format(image)]])[0].images[1].strip() == image


@pytest.mark.parametrize(
    "text",
    [
        "see " + REFERENCE,
        "image:a.png#" + "0f" * 16,
        "a/b c.png",
        "vllm-jina-embed:latest",
        "vllm-jina-embed:image: is how references begin.",
    ],
)
def test_what_does_not_begin_like_a_reference_is_a_text(text: str) -> None:
    """Quoted, or spoken of."""
    assert isinstance(inputs.mixed([text])[0], TextItem)


@pytest.mark.timeout(10)
def test_a_long_text_that_begins_like_a_data_uri_takes_no_time() -> None:
    """The pattern is linear: 1 MB of spaces or letters before the mismatch."""
    for filler in (" ", "A", "A ", "=", " ="):
        for start in ("data:image/png;base64,", "vllm-jina-embed:image:"):
            text = start + filler * 1_000_000 + "!"
            if looks_like_image(text):
                (item,) = inputs.mixed([text])
                assert "begins like" in str(error_of(item))
            else:
                assert isinstance(inputs.mixed([text])[0], TextItem)
