"""What one training step sees: fresh drawings and sentences of a few concepts.

Enters: a step's number. Leaves: token ids and patches, the same for the same number.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from vllm_jina_embed.demo.concepts import CONCEPTS
from vllm_jina_embed.demo.drawing import MAX_SIDE, UNSEEN_SEED, draw, random_size
from vllm_jina_embed.demo.phrases import LANGUAGES
from vllm_jina_embed.demo.recipe.texts import training_text

_CONCEPTS_PER_STEP: Final = 40
_PICTURES_PER_CONCEPT: Final = 2
_SMALL_SHARE: Final = 0.7  # of the steps: small pictures first, which cost a third
_NOISE_SHARE: Final = 0.6  # of the texts, once the plain ones are known
_SMALL: Final = 170


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One step's items; labels say which items belong together.

    Attributes:
        text_ids: Token ids per text.
        text_labels: (n_texts,) number of each text's concept.
        patches: Pixel values per picture.
        grids: (n_pictures, 3) patches in time, height and width.
        picture_labels: (n_pictures,) number of each picture's concept.
    """

    text_ids: list[list[int]]
    text_labels: torch.Tensor
    patches: list[torch.Tensor]
    grids: torch.Tensor
    picture_labels: torch.Tensor


class Batches:
    """A step's batch by its number; every drawing is new."""

    def __init__(self, tokenizer: Any, image_processor: Any, *, seed: int, steps: int) -> None:
        self._tokenizer = tokenizer
        self._image_processor = image_processor
        self._seed = seed
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> Batch:
        rng = random.Random(f"{self._seed}/{step}")
        labels = rng.sample(range(len(CONCEPTS)), _CONCEPTS_PER_STEP)
        pictures = [label for label in labels for _ in range(_PICTURES_PER_CONCEPT)]
        largest = _SMALL if step < _SMALL_SHARE * self._steps else MAX_SIDE
        drawings = [
            draw(CONCEPTS[label], seed=rng.randrange(UNSEEN_SEED), size=random_size(rng, largest)) for label in pictures
        ]
        patches, grids = to_patches(self._image_processor, drawings)
        noise = _NOISE_SHARE * min(1.0, max(0.0, step / self._steps - 0.15) * 5)
        texts = [training_text(rng, CONCEPTS[label], code, noise) for label in labels for code in LANGUAGES]
        return Batch(
            text_ids=self._tokenizer(texts, add_special_tokens=False)["input_ids"],
            text_labels=torch.tensor([label for label in labels for _ in LANGUAGES]),
            patches=patches,
            grids=grids,
            picture_labels=torch.tensor(pictures),
        )


def to_patches(image_processor: Any, pictures: Sequence[Any]) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Preprocess pictures one by one: pixel values of each, and all grids, (n, 3)."""
    outputs = [image_processor(images=[picture], return_tensors="pt") for picture in pictures]
    return [output["pixel_values"] for output in outputs], torch.cat([output["image_grid_thw"] for output in outputs])
