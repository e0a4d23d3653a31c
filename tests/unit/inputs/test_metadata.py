"""Hashes, facts and smaller copies of images."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.support.images import encoded, noise
from vllm_jina_embed import MediaPolicy
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs.encoding import data_uri, jpeg, png
from vllm_jina_embed.inputs.images import is_data_uri, open_image
from vllm_jina_embed.inputs.metadata import content_hash, facts, names_an_image, placeholder


def opened(data: bytes) -> Image.Image:
    return open_image(data, MediaPolicy())


def test_the_hash_is_that_of_the_pixels() -> None:
    """The same pixels by PNG, BMP or lossless WebP are one image; one changed pixel is another."""
    image = noise(40, 30)
    files = [encoded(image, "PNG"), encoded(image, "BMP"), encoded(image, "WEBP", lossless=True)]
    assert len(set(files)) == 3
    assert {content_hash(opened(file)) for file in files} == {content_hash(image)}
    values = np.array(image)
    values[7, 3, 1] ^= 1
    assert content_hash(Image.fromarray(values)) != content_hash(image)


def test_the_hash_knows_the_shape() -> None:
    """The same bytes in another shape are another image."""
    values = np.zeros((10, 20, 3), np.uint8)
    assert content_hash(Image.fromarray(values)) != content_hash(Image.fromarray(values.reshape(20, 10, 3)))


def test_the_hash_is_the_same_for_a_grey_image_and_its_rgb_copy() -> None:
    """As the model sees them."""
    grey = noise(20, 20).convert("L")
    assert content_hash(grey) == content_hash(grey.convert("RGB"))


def test_a_placeholder_is_found_in_a_text() -> None:
    """Also as metadata that LlamaIndex puts before a text; a text about hashes is none."""
    digest = content_hash(noise(9, 9))
    assert names_an_image(placeholder(digest))
    assert names_an_image(f"image_sha256: {digest}\n\nA caption")
    assert not names_an_image(f"the sum is {digest}")
    assert not names_an_image("<image sha256:abc>")


def test_facts_are_flat_and_hold_a_small_thumbnail() -> None:
    """Strings and whole numbers only, as Chroma wants them."""
    found = facts(noise(900, 300), path="folder/a.png")
    assert {type(value) for value in found.values()} == {str, int}
    assert (found["image_width"], found["image_height"], found["image_path"]) == (900, 300, "folder/a.png")
    thumbnail = str(found["image_thumbnail"])
    assert is_data_uri(thumbnail)
    assert len(thumbnail) < 12_000
    assert open_image(thumbnail, MediaPolicy()).size == (128, 43)
    assert set(facts(noise(9, 9), thumbnail=False)) == {"image_sha256", "image_width", "image_height"}


def test_png_keeps_every_pixel() -> None:
    """What comes back hashes the same."""
    image = noise(50, 40)
    assert content_hash(opened(png(image))) == content_hash(image)


@pytest.mark.parametrize(("size", "max_side", "expected"), [((600, 300), 200, (200, 100)), ((50, 40), 200, (50, 40))])
def test_jpeg_is_reduced_and_never_enlarged(size: tuple[int, int], max_side: int, expected: tuple[int, int]) -> None:
    """The longest side is the bound."""
    assert Image.open(BytesIO(jpeg(noise(*size), max_side=max_side))).size == expected


@pytest.mark.parametrize("size", [(400, 400), (2000, 12), (3, 900)])
@pytest.mark.parametrize("max_bytes", [40_000, 9_000, 3_000])
def test_jpeg_keeps_to_its_bytes(size: tuple[int, int], max_bytes: int) -> None:
    """Random pixels are the worst case of all."""
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    assert len(jpeg(Image.fromarray(values), max_side=2000, max_bytes=max_bytes)) <= max_bytes


def test_jpeg_says_that_no_image_is_so_small() -> None:
    """An error, not an endless loop."""
    with pytest.raises(ConfigError, match="max_bytes=10"):
        jpeg(noise(100, 100), max_side=100, max_bytes=10)


def test_a_data_uri_holds_the_bytes() -> None:
    """And is strict enough for this package's own check."""
    found = data_uri(b"abc", "image/png")
    assert is_data_uri(found)
    assert base64.b64decode(found.split(",")[1]) == b"abc"
