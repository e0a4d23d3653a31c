"""Two thousand texts and images of the demo, and what is asked of them, to measure retrieval with.

Passages and drawings that training never saw, and some sentences that it did, each with the concept that it shows.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from PIL import Image

from vllm_jina_embed.demo.concepts import CONCEPTS
from vllm_jina_embed.demo.drawing import UNSEEN_SEED, draw
from vllm_jina_embed.demo.phrases import LANGUAGES, new_passages, new_queries, training_passages

IMAGE = (112, 84)
"""Width and height in pixels: small, so that thousands take seconds on a CPU."""
MORE_TEXTS = 4
"""Sentences of the training per concept, beside the ten new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A text or an image, and what it shows."""

    concept: str
    content: str | Image.Image


def items(images: int = 13, *, concepts: tuple[str, ...] = CONCEPTS) -> list[Item]:
    """Return different texts in five languages, and so many drawings per concept; 2079 items by default."""
    rng = random.Random(5)
    found: list[Item] = []
    for concept in concepts:
        new = [text for code in LANGUAGES for text in new_passages(concept, code)]
        known = sorted({text for code in LANGUAGES for text in training_passages(concept, code)} - set(new))
        found += [Item(concept=concept, content=text) for text in dict.fromkeys([*new, *rng.sample(known, MORE_TEXTS)])]
        seeds = range(UNSEEN_SEED, UNSEEN_SEED + images)
        found += [Item(concept=concept, content=draw(concept, seed=seed, size=IMAGE)) for seed in seeds]
    rng.shuffle(found)
    return found


def queries(*, concepts: tuple[str, ...] = CONCEPTS) -> list[Item]:
    """Return one question per concept in each of five languages, and one image of every fifth concept."""
    found = [Item(concept=concept, content=new_queries(concept, code)[0]) for concept in concepts for code in LANGUAGES]
    seed = 2 * UNSEEN_SEED
    return found + [Item(concept=concept, content=draw(concept, seed=seed, size=IMAGE)) for concept in concepts[::5]]
