"""The projector of multi-vectors, per task: token states ``(n, hidden_size)`` to rows ``(n, token_dimensions)``.

``Projection`` is the reference for ``plugin/``; ``token_layers.py`` reads the one of a row without adapters.
Source: multi_vector_projector in modeling_jina_embeddings_v4.py: W x + b + (x A^T) B^T * alpha / r, then L2 per token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..._arrays import Floats
from ...errors import ConfigError
from ...pooling.single_vector import normalize
from ..files import Location
from .lora import PROJECTOR, WEIGHTS, adapter_parts, scaling
from .safetensors import Tensor, read_table
from .shards import shards


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """The projector of one task.

    Attributes:
        weight: float32 ``(token_dimensions, hidden_size)``, with the adapter added.
        bias: float32 ``(token_dimensions,)``.
        skips_first: Whether the first token has no row.
    """

    weight: Floats
    bias: Floats
    skips_first: bool = False

    def multi_vector(self, states: Floats) -> Floats:
        """Return rows of L2 norm 1 for token states ``(n_tokens, hidden_size)``, which must not be normalised."""
        return normalize(self.rows(states))

    def token_weights(self, states: Floats) -> Floats:
        """Return what each state weighs, float32 ``(n_tokens, 1)``, none of them negative."""
        return np.maximum(self.rows(states), np.float32(0))

    def rows(self, states: Floats) -> Floats:
        """Return what the layer gives for token states, float32 ``(n_rows, token_dimensions)``."""
        return np.asarray(states[int(self.skips_first) :] @ self.weight.T + self.bias, dtype=np.float32)


def projector_adapters(folder: Path, tasks: tuple[str, ...]) -> dict[str, Floats]:
    """Return each task's addition to the projector's weight, float32 ``(token_dimensions, hidden_size)``.

    Args:
        folder: The checkpoint's ``adapters`` folder.
        tasks: Tasks that the folder must hold.

    Raises:
        ConfigError: A task has no adapter of the projector.
    """
    scale, parts = scaling(folder), adapter_parts(folder / WEIGHTS, tasks)
    products = {}
    for task in tasks:
        pair = [parts[task].get(("", PROJECTOR, side)) for side in "BA"]
        if pair[0] is None or pair[1] is None:
            raise ConfigError(f"{str(folder / WEIGHTS)!r} lacks the adapter of {PROJECTOR} for task {task!r}.")
        product = pair[0].numpy().astype(np.float64) @ pair[1].numpy().astype(np.float64)
        products[task] = np.asarray(product * scale, dtype=np.float32)
    return products


def projections(location: Location, folder: Path, tasks: tuple[str, ...]) -> Mapping[str, Projection]:
    """Return the projector of each task of a native checkpoint.

    Args:
        location: Folder or repository of the checkpoint.
        folder: Its ``adapters`` folder.
        tasks: The checkpoint's tasks.

    Raises:
        ConfigError: The projector or a task's adapter is missing.
    """
    weight, bias = (_base(location, f"{PROJECTOR}.{name}").numpy() for name in ("weight", "bias"))
    added = projector_adapters(folder, tasks)
    return {task: Projection(weight=weight + added[task], bias=bias) for task in tasks}


def _base(location: Location, name: str) -> Tensor:
    """Return one tensor of the base weights, from the shard that holds it."""
    file = shards(location).get(name)
    tensor = read_table(location.file(file)).get(name) if file else None
    if tensor is None:
        raise ConfigError(f"{str(location)!r} has no {name}; a native checkpoint of jina-embeddings-v4 has one.")
    return tensor
