"""Tell whether the templates of a row mean something."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from .description import TASKS
from .prompt_pieces import Placeholder, Slot, Special

ROLES = ("query", "passage", "any")
SLOTS = {"text": {Slot.TEXT}, "image": {Slot.IMAGES}, "both": {Slot.TEXT, Slot.IMAGES}}
"""By modality, what has its place in a prompt, once each."""
TEMPLATES = (
    "by (role, 'text', 'image' or 'both'), for both roles (or a task), a tuple of texts, Special and one Slot of that "
    "modality ('both' has two, and needs 'image'); where images are taken, a text's may have one "
    "Placeholder(width, height, tokens)"
)
"""What ``are_templates`` accepts, for errors."""


def are_templates(value: Any) -> bool:
    """Tell whether these are prompts of texts, and perhaps of images, and of both together, for both roles."""
    if not isinstance(value, Mapping) or not {*value} <= set(itertools.product((*ROLES, *TASKS), SLOTS)):
        return False
    modalities = {"text", *(modality for _, modality in value)}
    complete = all({("query", name), ("passage", name)} <= {*value} or ("any", name) in value for name in modalities)
    complete &= "image" in modalities or "both" not in modalities
    return complete and all(
        _is_template(pieces, SLOTS[modality], may_have_placeholder=modality == "text" and "image" in modalities)
        for (_, modality), pieces in value.items()
    )


def is_image(value: Any) -> bool:
    """Tell whether these are the pieces of one image."""
    is_tuple = isinstance(value, tuple) and all(_is_text(piece) or is_special(piece) for piece in value)
    return is_tuple and any(isinstance(piece, Special) for piece in value)


def is_special(value: Any) -> bool:
    """Tell whether this names a special token."""
    return isinstance(value, Special) and bool(value.token) and _is_text(value.token)


def _is_text(value: Any) -> bool:
    """Tell whether this is a text that a tokenizer takes: no half of a surrogate pair."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_template(pieces: Any, slots: set[Slot], *, may_have_placeholder: bool) -> bool:
    if not isinstance(pieces, tuple):
        return False
    if not all(_is_text(one) or is_special(one) or isinstance(one, Slot | Placeholder) for one in pieces):
        return False
    own = [piece for piece in pieces if isinstance(piece, Slot)]
    placeholders = [piece for piece in pieces if isinstance(piece, Placeholder)]
    sizes = [size for one in placeholders for size in (one.width, one.height, one.tokens)]
    return (
        {*own} == slots
        and len(own) == len(slots)
        and len(placeholders) <= may_have_placeholder
        and all(type(size) is int and size > 0 for size in sizes)
    )
