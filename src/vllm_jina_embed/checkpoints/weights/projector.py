"""The projector of multi-vectors, per task: token states ``(n, hidden_size)`` to rows ``(n, token_dimensions)``.

``Projection.multi_vector`` is the reference for ``plugin/``.
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
from .. import values
from ..files import Location, read_json
from .lora import PROJECTOR, WEIGHTS, adapter_parts, scaling
from .safetensors import Tensor, read_table

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """The projector of one task.

    Attributes:
        weight: float32 ``(token_dimensions, hidden_size)``, with the adapter added.
        bias: float32 ``(token_dimensions,)``.
    """

    weight: Floats
    bias: Floats

    def multi_vector(self, states: Floats) -> Floats:
        """Return rows of L2 norm 1 for token states ``(n_tokens, hidden_size)``, which must not be normalised."""
        return normalize(np.asarray(states @ self.weight.T + self.bias, dtype=np.float32))


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
    try:
        index = read_json(location.file(INDEX))
    except ConfigError:
        file = SINGLE
    else:
        where = f"{str(location)!r}: {INDEX}"
        file = values.text(where, values.mapping(where, index, "weight_map"), name)
    tensor = read_table(location.file(file)).get(name) if file else None
    if tensor is None:
        raise ConfigError(f"{str(location)!r} has no {name}; a native checkpoint of jina-embeddings-v4 has one.")
    return tensor
