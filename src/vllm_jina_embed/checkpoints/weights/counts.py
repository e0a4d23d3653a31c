"""Count the weights that multiply each token, from the headers of a folder's files."""

from __future__ import annotations

import math
from pathlib import Path

from ...errors import ConfigError
from .safetensors import read_table

VISION = frozenset({"visual", "vision", "vision_model", "vision_tower"})
LOOKED_UP = ("embed_tokens.weight", "embeddings.weight", "lm_head.weight")
"""Ends of the names of tables of which a token takes one row, and of what embeddings do not use."""


def multiplying_weights(location: str) -> tuple[int, int] | None:
    """Return how many weights multiply each token, and how many each patch of an image; norms and biases are not.

    Args:
        location: Folder of a checkpoint.

    Returns:
        None where it is not a folder, or its weights are not floats in safetensors files.
    """
    files = sorted(Path(location).glob("*.safetensors"))
    language = vision = 0
    for file in files:
        try:
            table = read_table(file)
        except ConfigError:
            return None
        for name, tensor in table.items():
            if len(tensor.shape) < 2 or name.endswith(LOOKED_UP):
                continue
            if VISION & set(name.split(".")):
                vision += math.prod(tensor.shape)
            else:
                language += math.prod(tensor.shape)
    return (language, vision) if language else None
