"""Our embeddings against transformers in float32: 1 - cosine at most 1e-6, and every known mistake is caught.

The reference is computed here, never stored. Planted mistakes must move the vectors at least ten times the gate away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.cells import Cells
from tests.support.images import SIZES, noise
from tests.support.reference import Reference, distance, relative_error
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.checkpoints.description import DEMO_FOLDER
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4

FLOAT32_GATE = 1e-6
BFLOAT16_GATE = 1e-4
RELATIVE_GATE = 1e-4
"""Of vectors that are not normalised: length of the difference over their own."""

TEXTS = [
    "Ein wunderschöner Sonnenuntergang am Strand",
    "浜辺に沈む美しい夕日",
    "a",
    "  two  spaces,\ttab\nand line break ",
    "def add(a, b):\n    return a + b  # 🙂",
    "the quick brown fox " * 60,
]


@pytest.fixture(scope="session", params=["demo", pytest.param("random", marks=pytest.mark.wide)])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[JinaEmbedder, Reference]]:
    """Each checkpoint's embedder with its reference."""
    if request.param == "demo":
        yield request.getfixturevalue("demo_embedder"), Reference(DEMO_FOLDER)
    else:
        yield request.getfixturevalue("random_embedder"), request.getfixturevalue("random_reference")


def test_texts_equal_the_reference(pair: tuple[JinaEmbedder, Reference], cells: Cells) -> None:
    """Queries and passages of many kinds carry their prefix and are averaged over all tokens."""
    embedder, reference = pair
    expected_queries = np.stack([reference.embed(f"Query: {text}") for text in TEXTS])
    expected_passages = np.stack([reference.embed(f"Passage: {text}") for text in TEXTS])
    queries, passages = embedder.embed_queries(TEXTS), embedder.embed_passages(TEXTS)
    assert cells.measure(JINA_V4, "dense", TEXTS, queries, expected_queries) <= FLOAT32_GATE
    assert cells.measure(JINA_V4, "dense", TEXTS, passages, expected_passages) <= FLOAT32_GATE


def test_images_of_many_sizes_equal_the_reference(pair: tuple[JinaEmbedder, Reference], cells: Cells) -> None:
    """From 1 x 1 to over the pixel bound, wide and tall."""
    embedder, reference = pair
    images = [noise(*size, seed=seed) for seed, size in enumerate(SIZES)]
    expected = np.stack([reference.embed(image) for image in images])
    assert cells.measure(JINA_V4, "dense", images, embedder.embed_images(images), expected) <= FLOAT32_GATE


def test_images_of_many_modes_equal_the_reference(pair: tuple[JinaEmbedder, Reference]) -> None:
    """The reference gets the RGB image that each mode stands for, made by hand with numpy."""
    embedder, reference = pair
    for name, image, rgb in _modes():
        assert distance(embedder.embed_images([image]), reference.embed(rgb)) <= FLOAT32_GATE, name


def test_several_images_in_one_item_are_the_union_of_their_spans(pair: tuple[JinaEmbedder, Reference]) -> None:
    """Two and three images in one item, in a batch with single ones and texts."""
    embedder, reference = pair
    a, b, c = noise(120, 90, 1), noise(90, 200, 2), noise(56, 56, 3)
    got = embedder.embed([[a, b], "a text", (c, a, b), a])
    expected = [[a, b], "Passage: a text", (c, a, b), a]
    assert distance(got, np.stack([reference.embed(item) for item in expected])) <= FLOAT32_GATE


def test_matryoshka_sizes_equal_the_reference(pair: tuple[JinaEmbedder, Reference]) -> None:
    """Cut, then normalised again, for texts and images alike."""
    embedder, reference = pair
    image = noise(200, 150)
    for dimensions in embedder.checkpoint.matryoshka_sizes:
        got = embedder.embed(["a text", image], dimensions=dimensions)
        expected = [reference.embed("Passage: a text", dimensions), reference.embed(image, dimensions)]
        assert got.shape == (2, dimensions)
        assert distance(got, np.stack(expected)) <= FLOAT32_GATE


def test_vectors_that_are_not_normalised_equal_the_reference(pair: tuple[JinaEmbedder, Reference]) -> None:
    """By their lengths too; normalised afterwards they are the embeddings. Cut before or after makes no difference."""
    embedder, reference = pair
    image = noise(200, 150)
    for dimensions in (None, *embedder.checkpoint.matryoshka_sizes):
        got = embedder.embed(["a text", image, TEXTS[-1]], dimensions=dimensions, normalize=False)
        items = ["Passage: a text", image, f"Passage: {TEXTS[-1]}"]
        assert relative_error(got, np.stack([reference.raw(item, dimensions) for item in items])) <= RELATIVE_GATE
        assert distance(got, embedder.embed(["a text", image, TEXTS[-1]], dimensions=dimensions)) <= FLOAT32_GATE


def test_multi_vectors_are_the_normalised_token_states(pair: tuple[JinaEmbedder, Reference], cells: Cells) -> None:
    """Every token of the prompt, for an image also those around it; such checkpoints have no projector."""
    embedder, reference = pair
    items = ["a text", noise(200, 150)]
    got = embedder.embed_multi_vector(items)
    expected = [reference.token_states(item)[1].numpy() for item in ("Passage: a text", items[1])]
    assert cells.measure(JINA_V4, "multi", items, got, expected) <= FLOAT32_GATE
    for rows in got:
        assert rows.shape[1] == embedder.checkpoint.token_dimensions
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_input_types_are_the_references_prompts(pair: tuple[JinaEmbedder, Reference]) -> None:
    """Cohere's names of the roles; the other role falls outside."""
    embedder, reference = pair
    prompts = {
        role: np.stack([reference.embed(f"{role}: {text}") for text in TEXTS[:2]]) for role in ("Query", "Passage")
    }
    for name, role, other in (("search_query", "Query", "Passage"), ("search_document", "Passage", "Query")):
        rows = embedder.embed(TEXTS[:2], input_type=name)
        assert distance(rows, prompts[role]) <= FLOAT32_GATE
        assert distance(rows, prompts[other]) > 10 * FLOAT32_GATE


def test_scores_are_the_references_cosines(pair: tuple[JinaEmbedder, Reference]) -> None:
    """Of texts and images, also where embeddings are not normalised; MaxSim of all tokens on request."""
    embedder, reference = pair
    items = ["a text", noise(200, 150), TEXTS[0]]
    queries = [reference.embed(f"Query: {text}") for text in TEXTS[:2]]
    targets = [reference.embed(f"Passage: {item}" if isinstance(item, str) else item) for item in items]
    np.testing.assert_allclose(embedder.score(TEXTS[:2], items), np.stack(queries) @ np.stack(targets).T, atol=1e-5)
    with JinaEmbedder(embedder.model, normalize=False, engine_kwargs={"dtype": "float32"}) as raw:
        assert raw.backend.settings.engine == embedder.settings.engine  # no second engine
        np.testing.assert_allclose(raw.score(TEXTS[:2], items), embedder.score(TEXTS[:2], items), atol=1e-6)
    rows = reference.multi_vector(f"Query: {TEXTS[1]}"), reference.multi_vector("Passage: a text")
    expected = (rows[0] @ rows[1].T).max(axis=1).sum()
    assert embedder.score([TEXTS[1]], ["a text"], multi_vector=True)[0, 0] == pytest.approx(expected, rel=1e-5)


def test_every_row_has_norm_one(pair: tuple[JinaEmbedder, Reference]) -> None:
    """L2 norm 1 in float32."""
    embedder, _ = pair
    np.testing.assert_allclose(np.linalg.norm(embedder.embed(["x", noise(60, 60)]), axis=1), 1, atol=1e-6)


@pytest.mark.wide
def test_bfloat16_is_close_to_the_float32_reference(random_checkpoint: Path, random_reference: Reference) -> None:
    """The dtype that real checkpoints have."""
    images = [noise(*size, seed=seed) for seed, size in enumerate(SIZES)]
    with JinaEmbedder(random_checkpoint, engine_kwargs={"dtype": "bfloat16"}) as embedder:
        got = embedder.embed([*TEXTS, *images])
    expected = [random_reference.embed(f"Passage: {text}") for text in TEXTS]
    expected += [random_reference.embed(image) for image in images]
    assert distance(got, np.stack(expected)) <= BFLOAT16_GATE


class TestPlantedMistakes:
    """Each mistake, made on the reference's side, must be far outside the gate; else the gate proves nothing."""

    @pytest.fixture
    def image(self) -> Image.Image:
        """Show the model an image whose channels differ."""
        return noise(300, 200, 5)

    def test_other_poolings_of_a_text(self, pair: tuple[JinaEmbedder, Reference], cells: Cells) -> None:
        """The last token instead of the mean; every token normalised before the mean, which is vLLM's default."""
        embedder, reference = pair
        _, states = reference.token_states("Passage: some text")
        mistakes = {
            "last token of a text": states[-1],
            "normalised tokens": torch.nn.functional.normalize(states, dim=-1).mean(0),
        }
        self._are_far(embedder.embed(["some text"]), mistakes, cells)

    def test_other_poolings_of_an_image(
        self, pair: tuple[JinaEmbedder, Reference], image: Image.Image, cells: Cells
    ) -> None:
        """The last token; the template around the image averaged as well; only the image's tokens."""
        embedder, reference = pair
        ids, states = reference.token_states(image)
        mistakes = {
            "last token of an image": states[-1],
            "all tokens of an image": states.mean(0),
            "span without markers": states[ids == reference.pad].mean(0),
        }
        self._are_far(embedder.embed([image]), mistakes, cells)

    def test_missing_prefix(self, pair: tuple[JinaEmbedder, Reference], cells: Cells) -> None:
        """The bare text, and the other role's prefix."""
        embedder, reference = pair
        mistakes = {"no prefix": reference.embed("some text"), "the other role": reference.embed("Query: some text")}
        self._are_far(embedder.embed_passages(["some text"]), mistakes, cells)

    def test_bgr(self, pair: tuple[JinaEmbedder, Reference], image: Image.Image, cells: Cells) -> None:
        """Red and blue exchanged."""
        embedder, reference = pair
        bgr = Image.fromarray(np.asarray(image)[:, :, ::-1].copy())
        self._are_far(embedder.embed_images([image]), {"red and blue exchanged": reference.embed(bgr)}, cells)

    def test_stock_pixel_bound(self, random_embedder: JinaEmbedder, random_checkpoint: Path, cells: Cells) -> None:
        """The bound that the vLLM checkpoints ship instead of the reference's."""
        stock = Reference(random_checkpoint, max_pixels=12845056)
        large = noise(1000, 900)
        self._are_far(random_embedder.embed_images([large]), {"another pixel bound": stock.embed(large)}, cells)

    @staticmethod
    def _are_far(vector: np.ndarray, mistakes: Mapping[str, Any], cells: Cells) -> None:
        gaps = {name: distance(vector, np.asarray(wrong)) for name, wrong in mistakes.items()}
        assert cells.planted(JINA_V4, gaps) > 10 * FLOAT32_GATE, gaps


def _modes() -> Iterator[tuple[str, object, Image.Image]]:
    """Yield a name, what the user passes, and the RGB image that the model must see."""
    rgb = noise(150, 110, 7)
    values = np.asarray(rgb)
    grey = rgb.convert("L")
    grey_rgb = Image.fromarray(np.repeat(np.asarray(grey)[:, :, None], 3, axis=2))
    alpha = np.linspace(0, 255, 150, dtype=np.uint8)[None, :].repeat(110, axis=0)
    rgba = Image.fromarray(np.dstack([values, alpha]))
    share = alpha[:, :, None].astype(np.float64) / 255
    on_white = Image.fromarray(np.rint(values * share + 255 * (1 - share)).astype(np.uint8))
    palette = rgb.quantize(32)
    sixteen = Image.fromarray((np.asarray(grey).astype(np.uint16) << 8) + 17)
    turned = Image.fromarray(np.rot90(values, 1).copy())
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate 90 degrees clockwise to show"
    file = _jpeg_free_png(turned, exif)
    yield "L", grey, grey_rgb
    yield "1", grey.point(lambda v: 255 * (v > 127)).convert("1"), _binary(grey)
    yield "RGBA on white", rgba, on_white
    yield "P", palette, Image.fromarray(np.asarray(palette.getpalette(), np.uint8).reshape(-1, 3)[np.asarray(palette)])
    yield "I;16", sixteen, grey_rgb
    yield "uint16 array", np.asarray(sixteen), grey_rgb
    yield "CMYK", Image.fromarray(np.dstack([255 - values, np.zeros_like(alpha)]), "CMYK"), rgb
    yield "EXIF", file, rgb
    yield "uint8 array", values, rgb
    yield "float array", values.astype(np.float32) / 255, rgb


def _binary(grey: Image.Image) -> Image.Image:
    return Image.fromarray(np.repeat((255 * (np.asarray(grey) > 127)).astype(np.uint8)[:, :, None], 3, axis=2))


def _jpeg_free_png(image: Image.Image, exif: Image.Exif) -> bytes:
    """Return PNG bytes with EXIF: lossless, so that the expected pixels are exact."""
    from tests.support.images import encoded

    return encoded(image, "PNG", exif=exif)
