"""What a request says of its prompt, and prompts that a client of this package made. Needs no vLLM."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ..errors import InputError
from ..prompts.base import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a request says of its prompt.

    Attributes:
        token_ids: The ids of the whole prompt of an item with images, unchecked; None where the server makes it.
        role: ``query`` or ``passage``; None where the request names no input type.
        task: A task of the checkpoint; None for that of the server.
    """

    token_ids: Any = None
    role: str | None = None
    task: str | None = None


def own_ids(told: Mapping[str, Any]) -> Choice | None:
    """Return the choice of a request with the ids of its whole prompt; None where it holds something else."""
    has_ids = {*told} == {"token_ids"} and told["token_ids"] is not None
    return Choice(token_ids=told["token_ids"]) if has_ids else None


def prompt_of_ids(
    ids: Any, images: Sequence[Image.Image], *, image: tuple[int, ...], markers: Collection[int], vocabulary: int
) -> Prompt:
    """Return the prompt that a client of this package made, with as many images as its ids have places for.

    Args:
        ids: Its token ids, unchecked.
        images: RGB images in the order of their places.
        image: The ids of one image; empty where a prompt shows no place of one.
        markers: Ids of special tokens among them, which stand nowhere else.
        vocabulary: Number of ids that the model has.

    Raises:
        InputError: They are not ids, or have places for more or fewer images.
    """
    if not isinstance(ids, list) or not all(type(one) is int and 0 <= one < vocabulary for one in ids):
        raise InputError(f"token_ids: got {reprlib.repr(ids)}; expected whole numbers from 0 to {vocabulary - 1}.")
    found, others = _places(ids, image, markers) if image else (len(images), 0)
    if found != len(images) or others or not images:
        raise InputError(
            f"token_ids: got places for {found} images and {others} other tokens of images; expected those of the "
            f"{len(images)} images that were sent, at least one."
        )
    return Prompt(token_ids=tuple(ids), images=tuple(images))


def _places(ids: Sequence[int], image: tuple[int, ...], markers: Collection[int]) -> tuple[int, int]:
    """Return for how many images ids have places, and how many other tokens of images they have."""
    found = others = place = 0
    while place < len(ids):
        if tuple(ids[place : place + len(image)]) == image:
            found, place = found + 1, place + len(image)
        else:
            others, place = others + (ids[place] in markers), place + 1
    return found, others
