"""Drawings: seeded, in the size asked for, and in the colour that their name says."""

import colorsys
import random

import numpy as np
import pytest
from PIL import Image

from vllm_jina_embed.demo.concepts import CONCEPTS, SCENES, colour_and_thing
from vllm_jina_embed.demo.drawing import MAX_SIDE, MIN_SIDE, draw, random_size

HUES = {"red": 0, "orange": 28, "yellow": 52, "green": 130, "blue": 218, "purple": 278, "pink": 334}


@pytest.mark.parametrize("concept", CONCEPTS)
@pytest.mark.parametrize("size", [(84, 84), (210, 84), (90, 225)])
def test_every_concept_is_drawn_in_the_size_asked_for(concept: str, size: tuple[int, int]) -> None:
    image = draw(concept, seed=1, size=size)
    assert image.size == size
    assert image.mode == "RGB"
    assert np.asarray(image).std() > 8, "an empty sheet"


def test_the_same_seed_gives_the_same_image_and_another_seed_another() -> None:
    first, again, other = (draw("red star", seed=seed, size=(120, 100)).tobytes() for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_concepts_differ_at_the_same_seed() -> None:
    assert len({draw(concept, seed=0, size=(84, 84)).tobytes() for concept in CONCEPTS}) == len(CONCEPTS)


@pytest.mark.parametrize("concept", [concept for concept in CONCEPTS if concept not in SCENES])
def test_a_thing_has_the_colour_that_its_name_says(concept: str) -> None:
    named = colour_and_thing(concept)
    assert named is not None
    for seed in range(3):
        pixels = np.asarray(draw(concept, seed=seed, size=(160, 130))).reshape(-1, 3)
        if named[0] == "black":
            assert (pixels.max(1) < 75).mean() > 0.01
        else:
            assert _share_of_colour(pixels, named[0]) > 0.6


def _share_of_colour(pixels: np.ndarray, colour: str) -> float:
    """Of the pixels that are strongly coloured, the share whose hue lies nearest to that colour's."""
    strong = pixels[(pixels.max(1) > 60) & (np.ptp(pixels.astype(int), axis=1) > 0.36 * pixels.max(1))]
    assert len(strong) > 20
    hues = [colorsys.rgb_to_hsv(*(pixel / 255))[0] * 360 for pixel in strong[:: max(1, len(strong) // 400)]]
    nearest = [min(HUES, key=lambda name: abs((hue - HUES[name] + 180) % 360 - 180)) for hue in hues]
    return nearest.count(colour) / len(nearest)


def test_an_unknown_concept_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'brown circle'"):
        draw("brown circle", seed=0, size=(100, 100))


def test_random_sizes_keep_their_bounds_and_vary() -> None:
    rng = random.Random(0)
    sizes = [random_size(rng) for _ in range(500)]
    assert all(MIN_SIDE <= side <= MAX_SIDE for size in sizes for side in size)
    ratios = [width / height for width, height in sizes]
    assert 0.38 < min(ratios) < 0.5
    assert 2.0 < max(ratios) < 2.6
    assert min(w * h for w, h in sizes) < 120**2
    assert max(w * h for w, h in sizes) > 380**2


def test_edges_are_smooth() -> None:
    image = draw("black circle", seed=2, size=(150, 150)).convert("L")
    between = sum(image.histogram()[90:180])
    assert between > 60, "no pixel between black and paper: edges are jagged"
    assert isinstance(image, Image.Image)
