"""What one training step sees: fresh drawings and sentences of a few concepts, the same for the same step."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from training.texts import noisy_text, token_ids
from vllm_jina_embed.demo.concepts import CONCEPTS, SCENES
from vllm_jina_embed.demo.drawing import MAX_SIDE, UNSEEN_SEED, draw, random_size
from vllm_jina_embed.demo.phrases import LANGUAGES

_SMALL_SHARE: Final = 0.7  # of the first stage's steps: small images first, which cost a third
_NOISE_SHARE: Final = 0.6  # of the texts, once the plain ones are known
_CUTS: Final = (0.0, 0.0, 0.0, 0.05, 0.15)  # shares of the characters before which a token must end
_SMALL: Final = 170
_SCENE_TEXTS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One step's items; labels say which items belong together.

    Attributes:
        text_ids: Token ids per text.
        text_labels: (n_texts,) number of each text's concept.
        patches: Pixel values per image.
        grids: (n_images, 3) patches in time, height and width.
        image_labels: (n_images,) number of each image's concept.
    """

    text_ids: list[list[int]]
    text_labels: torch.Tensor
    patches: list[torch.Tensor]
    grids: torch.Tensor
    image_labels: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of the training: how long, how fast, and what a step holds.

    Attributes:
        name: Part of the seed, so that no two stages see the same batches.
        steps: How many.
        peak_rate: Largest learning rate.
        concepts: Concepts per step.
        images: Images per concept.
        texts: Texts per coloured thing and language; scenes have more.
        late_interaction: Weight of the loss over multi-vectors beside that over embeddings.
        polish: Whether texts are noisy and images of any size from the first step on.
    """

    name: str
    steps: int
    peak_rate: float
    concepts: int
    images: int
    texts: int
    late_interaction: float = 0.0
    polish: bool = False


class Batches:
    """A step's batch by its number; every drawing is new."""

    def __init__(self, tokenizer: Any, image_processor: Any, *, seed: int, stage: Stage) -> None:
        self._stage = stage
        self._tokenizer = tokenizer
        self._image_processor = image_processor
        self._seed = seed

    def __len__(self) -> int:
        return self._stage.steps

    def __getitem__(self, step: int) -> Batch:
        stage = self._stage
        rng = random.Random(f"{self._seed}/{stage.name}{step}")
        labels = rng.sample(range(len(CONCEPTS)), stage.concepts)
        images = [label for label in labels for _ in range(stage.images)]
        largest = _SMALL if step < _SMALL_SHARE * stage.steps and not stage.polish else MAX_SIDE
        drawings = [
            draw(CONCEPTS[label], seed=rng.randrange(UNSEEN_SEED), size=random_size(rng, largest)) for label in images
        ]
        patches, grids = to_patches(self._image_processor, drawings)
        noise = _NOISE_SHARE * (1.0 if stage.polish else min(1.0, max(0.0, step / stage.steps - 0.15) * 5))
        named = [label for label in labels for _ in range(stage.texts * _often(label))]
        texts = [noisy_text(rng, CONCEPTS[label], code, noise) for label in named for code in LANGUAGES]
        return Batch(
            text_ids=[token_ids(rng, self._tokenizer, text, rng.choice(_CUTS)) for text in texts],
            text_labels=torch.tensor([label for label in named for _ in LANGUAGES]),
            patches=patches,
            grids=grids,
            image_labels=torch.tensor(images),
        )


def _often(label: int) -> int:
    """A scene has many more words than a coloured thing, whose colour and shape are met with other concepts too."""
    return _SCENE_TEXTS if CONCEPTS[label] in SCENES else 1


def to_patches(image_processor: Any, images: Sequence[Any]) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Preprocess images one by one: pixel values of each, and all grids, (n, 3)."""
    outputs = [image_processor(images=[image], return_tensors="pt") for image in images]
    return [output["pixel_values"] for output in outputs], torch.cat([output["image_grid_thw"] for output in outputs])
