"""Items of text and images together: mappings, content blocks, and hostile ones of both kinds."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.images import encoded, noise
from vllm_jina_embed.errors import InputError
from vllm_jina_embed.inputs import items as inputs
from vllm_jina_embed.inputs.items import BadItem, BothItem, ImageItem, TextItem, opened, with_opened
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.inputs.references import BOTH, SCHEME, Text, both_parts, both_string

PNG = encoded(noise(8, 6))
BASE64 = base64.b64encode(PNG).decode()
URI = f"data:image/png;base64,{BASE64}"
REFERENCE = f"{SCHEME}a/b.png#{'0f' * 16}"


def item_of(value: Any) -> Any:
    """Return the item of a value that stands between two good ones, which are not lost."""
    first, item, last = inputs.mixed(["a", value, "b"])
    assert (first, last) == (
        TextItem(position=0, where="items[0]", text="a"),
        TextItem(position=2, where="items[2]", text="b"),
    )
    assert (item.position, item.where) == (1, "items[1]")
    return item


def refusal_of(value: Any) -> str:
    item = item_of(value)
    assert isinstance(item, BadItem)
    assert item.error.positions == (1,)
    assert len(str(item.error)) < 700
    return str(item.error)


@pytest.mark.parametrize(
    "image", [Path("a.png"), b"x", BytesIO(b"x"), noise(2, 2), np.zeros((2, 2, 3), np.uint8), URI, "a.png"]
)
def test_a_mapping_of_both_is_one_item(image: Any) -> None:
    """A string under ``image`` is a path or a data URI, as in ``embed_images``; nothing is opened."""
    item = item_of({"text": " a text", "image": image})
    assert isinstance(item, BothItem)
    assert item.text == " a text"
    assert [one is image for one in item.images] == [True]
    assert item_of({"image": [image, "b.png"], "text": "t"}).images[1] == "b.png"


def test_either_key_alone_is_a_text_or_an_image() -> None:
    assert item_of({"text": "t"}) == TextItem(position=1, where="items[1]", text="t")
    assert item_of({"image": "a.png"}) == ImageItem(position=1, where="items[1]", images=("a.png",))


@pytest.mark.fire
@pytest.mark.parametrize("text", [URI, REFERENCE, both_string("t", URI), f"{SCHEME}cut", "/etc/passwd", Text(URI)])
def test_what_stands_under_text_is_always_a_text(text: str) -> None:
    """In blocks too; it opens nothing, whatever it looks like, and is not changed."""
    for value in ({"text": text, "image": b"x"}, [{"type": "text", "text": text}, {"type": "image", "url": URI}]):
        item = item_of(value)
        assert isinstance(item, BothItem)
        assert item.text == text
        assert type(item.text) is str
    assert item_of({"text": text}) == TextItem(position=1, where="items[1]", text=str(text))


class Loud(Mapping[Any, Any]):
    """A mapping whose own code fails."""

    def __getitem__(self, key: Any) -> Any:
        raise RuntimeError("no value")

    def __iter__(self) -> Iterator[Any]:
        return iter(("text", "image"))

    def __len__(self) -> int:
        return 2


CYCLE: dict[str, Any] = {}
CYCLE["text"] = CYCLE
RING: dict[str, Any] = {"text": "t"}
RING["image"] = [RING]
DEEP: Any = "end"
for _ in range(100_000):
    DEEP = {"text": DEEP}


@pytest.mark.fire
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "got a dict without keys; expected text, image or both"),
        ({"text": "t", "images": b"x"}, "with the keys 'text', 'images'; expected text, image or both"),
        ({"text": "t", "image": b"x", "id": 7}, "with the keys 'text', 'image', 'id'"),
        ({"Text": "t"}, "with the keys 'Text'"),
        ({7: "t"}, "with the keys 7"),
        ({("a",) * 10**6: "t"}, r"with the keys \('a', 'a'"),
        ({"k" * 10**6: "t"}, "with the keys 'kkk"),
        (dict.fromkeys(map(str, range(10**5))), "with the keys '0', '1', '2', '3', '4', ...; expected"),
        ({"type": "text", "text": "t"}, "Content blocks stand in a list"),
        ({"role": "user", "content": "t"}, "Of a message, pass its content"),
        ({"text": None, "image": b"x"}, "got NoneType; expected a string"),
        ({"text": b"t", "image": b"x"}, "got bytes; expected a string"),
        ({"text": ["t"], "image": b"x"}, "got list; expected a string"),
        ({"text": {"text": "t"}, "image": b"x"}, "got dict; expected a string"),
        ({"text": "", "image": b"x"}, "got an empty text"),
        ({"text": " \n", "image": b"x"}, "got an empty text"),
        ({"text": "\ud800", "image": b"x"}, "not valid Unicode"),
        ({"text": "t", "image": None}, "got NoneType; expected a path"),
        ({"text": "t", "image": []}, "got an empty list of images"),
        ({"text": "t", "image": {"image": b"x"}}, "got dict; expected a path"),
        ({"text": "t", "image": [[b"x"]]}, "got a list that holds list"),
        (CYCLE, "got dict; expected a string"),
        (RING, "got a list that holds dict"),
        (DEEP, "got dict; expected a string"),
        (Loud(), "a Loud that cannot be read"),
    ],
    ids=range(25),
)
def test_a_hostile_mapping_is_that_item_s_error(value: Any, said: str) -> None:
    """Its neighbours are items, and the message stays short."""
    assert re.search(said, refusal_of(value))


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "url": URI},
        {"type": "image", "base64": BASE64, "mime_type": "image/png", "id": "lc_1", "extras": {"a": 1}},
        {"type": "image", "source_type": "base64", "data": BASE64, "mime_type": "image/png"},
        {"type": "image", "source_type": "url", "url": URI},
        {"type": "image_url", "image_url": {"url": URI, "detail": "low"}},
        {"type": "image_url", "image_url": URI},
        {"type": "input_image", "image_url": URI, "detail": "auto", "file_id": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["text", "input_text"])
def test_content_blocks_are_one_item(block: dict[str, Any], kind: str) -> None:
    """LangChain's of both versions and those of OpenAI's two APIs; the order of blocks is the row's affair."""
    text = {"type": kind, "text": "t", "annotations": []}
    expected = BothItem(position=1, where="items[1]", text="t", images=(URI,))
    assert item_of([text, block]) == item_of((block, text)) == expected
    assert item_of([block, block]) == ImageItem(position=1, where="items[1]", images=(URI, URI))
    assert item_of([text, {**text, "text": " u"}]) == TextItem(position=1, where="items[1]", text="t u")


def test_the_frameworks_own_blocks_are_understood() -> None:
    """As langchain-core makes them, and as its messages hold them."""
    content = pytest.importorskip("langchain_core.messages.content")
    messages = pytest.importorskip("langchain_core.messages")
    blocks = [content.create_text_block("t"), content.create_image_block(base64=BASE64, mime_type="image/png")]
    expected = BothItem(position=1, where="items[1]", text="t", images=(URI,))
    assert item_of(blocks) == expected
    assert item_of(messages.HumanMessage(content_blocks=blocks).content) == expected
    old = messages.HumanMessage([{"type": "text", "text": "t"}, {"type": "image_url", "image_url": {"url": URI}}])
    assert item_of(old.content) == item_of(old.content_blocks) == expected


NESTED: list[Any] = [{"type": "text", "text": "t"}]
NESTED.append(NESTED)


@pytest.mark.fire
@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ([{"text": "t"}], "block 0: got the type None; expected one of text, input_text, image"),
        ([{"type": "text", "text": "t"}, {"type": "audio", "url": "a"}], "block 1: got the type 'audio'"),
        ([{"type": ["text"], "text": "t"}], r"block 0: got the type \['text'\]"),
        ([{"type": "x" * 10**6}], "block 0: got the type 'xxx"),
        ([{"type": "text", "text": 7}], "block 0: got int as text; expected a string"),
        ([{"type": "text"}], "block 0: got NoneType as text"),
        ([{"type": "text", "text": ""}, {"type": "image", "url": URI}], "got an empty text"),
        ([{"type": "text", "text": "t"}, "u"], "block 1: got str beside content blocks"),
        ([b"x", {"type": "text", "text": "t"}], "block 0: got bytes beside content blocks"),
        (NESTED, "block 1: got list beside content blocks"),
        ([{"type": "image"}], "block 0: got no image; expected url, or base64 and mime_type"),
        ([{"type": "image", "url": URI, "base64": BASE64}], "block 0: got url and base64; expected"),
        ([{"type": "image", "base64": BASE64}], "block 0: got NoneType as mime_type"),
        ([{"type": "image", "base64": BASE64, "mime_type": "text/html"}], "got mime_type='text/html'"),
        ([{"type": "image", "base64": "!!", "mime_type": "image/png"}], "block 0: got mime_type"),
        ([{"type": "image", "file_id": "f"}], "block 0: got the id of a file"),
        ([{"type": "image", "source_type": "id", "id": "f"}], "block 0: got the id of a file"),
        ([{"type": "input_image", "file_id": "f"}], "block 0: got the id of a file"),
        ([{"type": "image_url", "image_url": {"url": b"x"}}], "block 0: got bytes as url"),
        ([{"type": "image_url"}], "block 0: got NoneType as image_url"),
        *(
            (
                [{"type": "image_url", "image_url": {"url": url}}],
                "block 0: got the URL '.*Nothing is fetched",
            )
            for url in (
                "http://a/b.png",
                "https://a/b.png",
                "file:///etc/passwd",
                "/etc/passwd",
                "a.png",
                "~/a.png",
                "",
            )
        ),
        ([{"type": "image", "url": "data:image/png;name=a;base64," + BASE64}], "block 0: got 'data:image/png;name"),
        ([{"type": "image", "url": both_string("t", URI)}], "block 0: got .*, a text with an image; expected an image"),
    ],
    ids=range(29),
)
def test_a_hostile_block_is_that_item_s_error(blocks: Any, said: str) -> None:
    """Named by its number: nothing is fetched, and no file of this machine is named by a URL."""
    assert re.search(said, refusal_of(blocks))


@pytest.mark.fire
def test_the_policy_holds_for_images_beside_a_text(tmp_path: Path) -> None:
    """Files outside the root, URLs and large images are refused when they are opened, with the item's place."""
    (tmp_path / "root").mkdir()
    (tmp_path / "a.png").write_bytes(PNG)
    policy = MediaPolicy(allowed_root=tmp_path / "root", max_pixels=40)
    refused = {
        str(tmp_path / "a.png"): "outside the media policy's allowed_root",
        "http://a/b.png": "URLs are not fetched",
        REFERENCE: "does not exist",
        URI: "max_pixels",
    }
    for image, said in refused.items():
        for images, place in ([image], "items[1]"), ([noise(2, 2), image], "items[1][1]"):
            with pytest.raises(InputError, match=said) as caught:
                opened(item_of({"text": "t", "image": images}), policy)
            assert str(caught.value).startswith(f"{place}: ")


def test_images_beside_a_text_are_opened_once() -> None:
    item, pixels = with_opened(item_of({"text": "t", "image": [PNG, noise(3, 3)]}), MediaPolicy())
    assert isinstance(item, BothItem)
    assert (item.text, pixels) == ("t", 8 * 6 + 9)
    assert with_opened(item, MediaPolicy())[1] == pixels


TEXTS = ["t", "a, b#c %41", "日本語 🙂\n", URI, both_string("inner", REFERENCE), "%", "\x00", "x" * 10**6]


@pytest.mark.parametrize("image", [URI, REFERENCE])
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_string_of_both_is_both(text: str, image: str) -> None:
    """Whatever the text holds, white space around the string aside."""
    string = both_string(text, image)
    assert both_parts(string) == both_parts(f"\n {string} ") == (text, image)
    assert item_of(string) == BothItem(position=1, where="items[1]", text=text, images=(image,))
    assert both_parts(Text(string)) is None
    assert item_of(Text(string)) == TextItem(position=1, where="items[1]", text=string)
    (item,) = inputs.texts([string])
    assert isinstance(item, TextItem)


WHOLE = both_string("a text", URI)
ALMOST = {
    "no text": f"{BOTH},{URI}",
    "no image": f"{BOTH}a%20text,",
    "a path": f"{BOTH}a%20text,/etc/passwd",
    "a URL": f"{BOTH}a%20text,http://a/b.png",
    "both inside both": f"{BOTH}a,{WHOLE}",
    "a half of a letter": f"{BOTH}%F0%9F,{URI}",
    "a bare percent": f"{BOTH}100%,{URI}",
    "a space": f"{BOTH}a text,{URI}",
    "cut": WHOLE[:40],
    "cut in the name": WHOLE[:19],
    "more behind": f"{WHOLE} and more!",
    "in quotes": f'"{WHOLE}"',
    "in capitals": WHOLE.upper(),
}


@pytest.mark.fire
@pytest.mark.parametrize("text", ALMOST.values(), ids=ALMOST)
def test_nearly_a_string_of_both_is_never_a_text(text: str) -> None:
    """It was cut or changed on its way; as a text it would get a vector that means nothing."""
    assert both_parts(text) is None
    assert "which begins like" in refusal_of(text)


@pytest.mark.fire
def test_a_text_that_speaks_of_the_form_is_a_text() -> None:
    forms = (f"{BOTH} is how such strings begin", f"{BOTH}<text>,<image> is the form", f"{BOTH}` begins one")
    for text in (*forms, f"See {WHOLE}", f"In quotes '{BOTH}x' and more"):
        assert isinstance(item_of(text), TextItem)


@pytest.mark.fire
def test_a_string_of_both_is_no_image_where_one_is_expected() -> None:
    (item,) = inputs.images([WHOLE])
    with pytest.raises(InputError, match="a text with an image; expected an image alone"):
        opened(item, MediaPolicy())  # type: ignore[arg-type]


def test_pillow_images_are_not_mistaken_for_mappings() -> None:
    assert isinstance(item_of([Image.new("RGB", (2, 2))]), ImageItem)
