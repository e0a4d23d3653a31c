"""What a chat model reads and sees of a search, the same in every framework."""

from __future__ import annotations

import base64
import logging
import re
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.images import encoded, noise
from vllm_jina_embed import ConfigError, InputError, MediaPolicy
from vllm_jina_embed.frameworks.found_images import (
    REMEMBERED,
    Bounds,
    Match,
    Question,
    View,
    citation,
    errors_for,
    own_media,
)
from vllm_jina_embed.inputs.encoding import jpeg
from vllm_jina_embed.inputs.references import SCHEME

URI = f"data:image/png;base64,{base64.b64encode(encoded(noise(40, 30))).decode()}"


def view(**bounds: int) -> View:
    return View(bounds=Bounds(**bounds), media=MediaPolicy())


def of(number: int, **fields: Any) -> Match:
    return Match(**{"source": f"{number}.png", "image": noise(40, 30, seed=number), "key": str(number), **fields})


def test_numbers_sources_texts_and_images_stand_in_order() -> None:
    """A head on one line, the text, and the image behind it."""
    text = Match(source="notes.md, page 2", text="A text.", score=0.5)
    image = of(1, text="A caption.", id="1.png", score=0.25)
    first, second, seen, bare = view().blocks([text, image, Match(source="empty.md")])
    assert first == "[1] notes.md, page 2 (score 0.500)\nA text."
    assert second == f"[2] 1.png (id 1.png, score 0.250, {image.name})\nA caption."
    assert isinstance(seen, bytes)
    assert Image.open(BytesIO(seen)).size == (40, 30)
    assert bare == "[3] empty.md"
    assert view().blocks([]) == ["Nothing was found."]


def test_images_and_texts_keep_to_their_bounds() -> None:
    """What is not shown is said, and can be asked for all the same."""
    small = view(max_images=2, max_side=20, max_bytes=1000, max_characters=10)
    blocks = small.blocks([of(n, text="long " * 100) for n in range(4)])
    images = [block for block in blocks if isinstance(block, bytes)]
    texts = [block for block in blocks if isinstance(block, str)]
    assert len(images) == 2
    assert all(len(image) <= 1000 and max(Image.open(BytesIO(image)).size) <= 20 for image in images)
    assert [text.endswith("\nlong long  [...]") for text in texts] == [True] * 4
    assert ["not shown: this answer shows no more images" in text for text in texts] == [False, False, True, True]
    assert isinstance(small.question(None, of(3).name).image, Match)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_images", -1),
        ("max_images", True),
        ("max_side", 0),
        ("max_bytes", 999),
        ("max_characters", 0),
        ("max_side", 7.5),
        ("max_bytes", float("nan")),
    ],
)
def test_a_bad_bound_is_named(name: str, value: Any) -> None:
    """Before anything is searched."""
    with pytest.raises(ConfigError, match=f"{name}={value!r}; expected a whole number from"):
        Bounds(**{name: value})


def test_the_smallest_bound_holds_every_image() -> None:
    """Or an answer would fail when an image is noise."""
    for seed in range(50):
        values = np.random.default_rng(seed).integers(0, 2, (64, 64, 3), dtype=np.uint8) * 255
        assert len(jpeg(Image.fromarray(values), max_side=768, max_bytes=1000)) <= 1000


def test_a_name_forges_no_head() -> None:
    """Nor is there a character that a provider cannot encode."""
    (block,) = view().blocks([Match(source="a.md\n[2] bank.pdf\u202e\x1b[2J", id="caf\udce9\u2028", text="caf\udce9")])
    head, text = str(block).split("\n")
    assert head.isprintable()
    assert (head[:9], text) == ("[1] a.md\\", "caf%E9")
    assert str(block).encode()


def test_a_thumbnail_stands_in_and_is_said_to(caplog: pytest.LogCaptureFixture) -> None:
    """Without one, the reason is the same whatever it is, and the path is in the log alone."""
    gone = Path("/nowhere/secret.png")
    blocks = view().blocks(
        [of(0, image=gone, thumbnail=URI), of(1, image=InputError("is at /nowhere")), of(2, image=gone)]
    )
    assert "a thumbnail: the image itself cannot be opened" in str(blocks[0])
    assert isinstance(blocks[1], bytes)
    notes = {str(block).partition(", ")[2] for block in blocks[2:]}
    assert len(notes) == 1
    assert notes.pop().startswith("cannot be shown: the file does not exist, ")
    assert "nowhere" not in "".join(map(str, blocks))
    assert "secret.png" in caplog.text


def test_the_model_asks_by_words_by_name_or_by_data_uri() -> None:
    """A name is understood as a query too; the application's own names come first."""
    seeing = view()
    seeing.blocks([of(1)])
    name = of(1).name
    assert re.fullmatch("image-[0-9a-f]{8}", name)
    assert seeing.question(" words ", None) == Question(text="words")
    for query, image in ((None, f" {name} "), (name, ""), ("", name)):
        asked = seeing.question(query, image)
        assert (asked.image.key, asked.name, asked.text) == ("1", name, "")
    assert seeing.question(None, URI).image == URI
    assert seeing.question(None, name, {name: b"mine"}).image == b"mine"


@pytest.mark.parametrize("image", ["/etc/passwd", "file:///etc/passwd", "photo.png", f"{SCHEME}a.png#{'0' * 32}"])
def test_the_model_names_no_file(image: str) -> None:
    """Neither by path nor by reference."""
    with pytest.raises(InputError, match=r"there is no image .*; known ones: mine"):
        view().question(None, image, {"mine": b""})


@pytest.mark.parametrize(
    ("query", "image", "said"),
    [
        (None, None, "give a query, or an image"),
        (" ", "", "give a query, or an image"),
        ("a", "b", "not both"),
        (7, None, "query: got int; expected a string"),
        (None, {"id": "a"}, "image: got dict; expected a string"),
        (None, "image-00000000", "known ones: none yet"),
        (None, "data:image/png;a=b;base64,AAAA", "parameters beside base64"),
    ],
)
def test_a_bad_question_is_told_to_the_model(query: object, image: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        view().question(query, image)


def test_names_are_bounded() -> None:
    """The last ones found are known; finding one again keeps it."""
    seeing = view(max_images=0)
    seeing.blocks([of(n) for n in range(REMEMBERED)])
    seeing.blocks([of(0), of(REMEMBERED)])
    assert len(seeing._named) == REMEMBERED
    assert seeing.question(None, of(0).name).image.key == "0"
    with pytest.raises(InputError, match="there is no image"):
        seeing.question(None, of(1).name)


def test_errors_hold_no_path(caplog: pytest.LogCaptureFixture) -> None:
    """Those of an image hold nothing but that it cannot be opened, unless the model brought it along."""
    caplog.set_level(logging.WARNING)
    said = {}
    for question in (Question(text="a"), Question(image=1, name="mine"), Question(image=URI, name=URI)):
        with pytest.raises(InputError) as caught, errors_for(question):
            raise InputError("the file '/home/me/secret.png' is broken.")
        said[question.name[:4]] = str(caught.value)
    assert said[""] == said["data"] == "the file 'secret.png' is broken."
    assert said["mine"].startswith("the image 'mine' cannot be opened: the file does not exist, ")
    assert "/home/me/secret.png" in caplog.text


def test_a_citation_names_no_folder() -> None:
    """Source and page, and within bounds."""
    assert citation({"file_path": "/home/me/a.pdf", "page_label": "iv"}) == "a.pdf, page iv"
    assert citation({"title": "T", "source": "s", "page": 0}) == "s, page 0"
    assert citation({}) == "no source"
    assert len(citation({"source": "x" * 10_000})) < 400


def test_the_first_policy_there_is_holds() -> None:
    """The caller's own, the embedder's, or the default."""
    mine, theirs = MediaPolicy(max_bytes=1), MediaPolicy(max_bytes=2)
    embedder = SimpleNamespace(media=theirs)
    assert own_media(mine, embedder) is mine
    assert own_media(None, None, SimpleNamespace(media=None), embedder) is theirs
    assert own_media(None) == MediaPolicy()
    with pytest.raises(ConfigError, match="media: got str"):
        own_media("folder")  # type: ignore[arg-type]
