"""What is embedded in the measurements: seeded texts and images."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
from PIL import Image
from tokenizers import Tokenizer

OF_TEXTS = ("short", "mixed", "long")
NAMES = (*OF_TEXTS, "images", "mix", "pages")
PAGE = (1275, 1650)
"""A page of letter paper at 150 dots per inch, in pixels; the models see at most 602112 of them."""
WORDS = "the quick brown fox jumps over a lazy dog while seven old wizards describe images to users"


def texts(number: int, words: tuple[int, int], seed: int = 0) -> list[str]:
    """Return different texts of ``words[0]`` to ``words[1]`` words, their number log-uniform.

    So are the lengths of a corpus: many titles and sentences, some paragraphs.
    """
    chance = random.Random(seed)
    vocabulary = WORDS.split()
    low, high = math.log(words[0]), math.log(words[1] + 1)
    lengths = [int(math.exp(chance.uniform(low, high))) for _ in range(number)]
    return [f"{n} " + " ".join(chance.choices(vocabulary, k=length)) for n, length in enumerate(lengths)]


def images(number: int, size: tuple[int, int], seed: int = 0) -> list[Image.Image]:
    """Return noisy images of a width and height, all different."""
    chance = np.random.default_rng(seed)
    shape = (size[1], size[0], 3)
    return [Image.fromarray(chance.integers(0, 256, shape, dtype=np.uint8)) for _ in range(number)]


def tokens(checkpoint: Path, name: str, scale: float) -> int | None:
    """Return the tokens of a load's texts, prefix included; None where it holds images."""
    if name not in OF_TEXTS:
        return None
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    prompts = [f"Passage: {item}" for item in make(name, scale)]
    return sum(len(tokenizer.encode(prompt, add_special_tokens=False).ids) for prompt in prompts)


def make(name: str, scale: float = 1.0, seed: int = 0) -> list[str | Image.Image]:
    """Return the items of a load; ``scale`` changes their number, another ``seed`` gives others."""

    def count(number: int) -> int:
        return max(4, int(number * scale))

    if name == "short":
        return list(texts(count(256), (3, 6), seed))
    if name == "mixed":
        return list(texts(count(128), (2, 80), seed))
    if name == "long":
        return list(texts(count(24), (160, 160), seed))
    if name == "images":
        return list(images(count(16), (448, 448), seed))
    if name == "mix":
        return [*texts(count(64), (2, 80), seed), *images(count(8), (448, 448), seed)]
    if name == "pages":  # enlarged, because random numbers for whole pages take longer than their vectors
        small = images(count(8), (PAGE[0] // 5, PAGE[1] // 5), seed)
        return [image.resize(PAGE, Image.Resampling.NEAREST) for image in small]
    raise ValueError(f"unknown load {name!r}")
