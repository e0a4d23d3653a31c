"""Read the layers that a row has on top of its token states: ``TokenLayer`` says where they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..._arrays import Floats
from ...errors import ConfigError
from .. import values
from ..description import Model
from ..files import Location
from ..token_layer import TokenLayer
from .projector import Projection
from .safetensors import read_table
from .shards import shards


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLayers:
    """What a row has on top of its token states: a projector of multi-vectors, and a layer of token weights."""

    projector: Projection | None = None
    weights: Projection | None = None


def layer_files(row: Model) -> tuple[str, ...]:
    """Return the files beside the weights that decide the vectors of a row's checkpoint too."""
    return tuple(layer.file for layer in (row.projector, row.token_weights) if layer is not None and layer.file)


def token_layers(location: Location, row: Model) -> TokenLayers:
    """Return the layers of a row's checkpoint.

    Raises:
        ConfigError: As ``token_layer``.
    """
    projector, weights = (
        None if layer is None else token_layer(location, layer) for layer in (row.projector, row.token_weights)
    )
    return TokenLayers(projector=projector, weights=weights)


def token_layer(location: Location, layer: TokenLayer) -> Projection:
    """Return a layer of a checkpoint.

    Args:
        location: Folder or repository of the checkpoint.
        layer: Where it is.

    Raises:
        ConfigError: It is missing, is there twice, or its tensors have other shapes.
    """
    if layer.file:
        file = location.file(layer.file)
        weight, bias, where = *_of_torch_file(file), str(file)
    else:
        weight, bias, where = _of_weights(location, layer)
    if weight.ndim != 2 or 0 in weight.shape or (bias is not None and bias.shape != weight.shape[:1]):
        shapes = f"{weight.shape}{'' if bias is None else f' and {bias.shape}'}"
        raise ConfigError(f"{where!r} has a layer of shapes {shapes}; expected (n, hidden_size), and (n,) of its bias.")
    zeros = np.zeros(len(weight), dtype=np.float32)
    return Projection(weight=weight, bias=zeros if bias is None else bias, skips_first=layer.skips_first)


def _of_weights(location: Location, layer: TokenLayer) -> tuple[Floats, Floats | None, str]:
    """Return weight and bias of the layer among a checkpoint's safetensors, and the name of the first."""
    files = shards(location)
    endings = [f".{name}.weight" for name in layer.names]
    found = [name for name in files if any(f".{name}".endswith(ending) for ending in endings)]
    if len(found) != 1:
        raise ConfigError(
            f"{str(location)!r} has {len(found)} tensors named {' or '.join(ending[1:] for ending in endings)} "
            f"({', '.join(found) or 'none'}); expected one, which makes the rows of multi-vectors. Copy the weights of "
            "the checkpoint itself, not those of the model that it was trained from."
        )
    (name,) = found
    bias = f"{name.removesuffix('weight')}bias"
    tensors = [_tensor(location, files, one) if one in files else None for one in (name, bias)]
    assert tensors[0] is not None
    return tensors[0], tensors[1], f"{location}: {name}"


def _tensor(location: Location, files: Any, name: str) -> Floats:
    table = read_table(location.file(files[name]))
    if name not in table:
        raise ConfigError(f"{str(location)!r}: {files[name]} has no {name}, although the index says so; copy it again.")
    return table[name].numpy()


def _of_torch_file(file: Path) -> tuple[Floats, Floats | None]:
    """Return ``weight`` and ``bias`` of a torch file; nothing but tensors is unpickled.

    Raises:
        ConfigError: The file holds something else.
    """
    import torch

    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle's, zipfile's, torch's own
        raise ConfigError(f"{str(file)!r} cannot be read ({type(error).__name__}: {error!s:.200}).") from None
    if not isinstance(tensors, dict) or not {"weight"} <= {*tensors} <= {"weight", "bias"}:
        got = values.short([*tensors] if isinstance(tensors, dict) else type(tensors).__name__)
        raise ConfigError(f"{str(file)!r} holds {got}; expected the tensors weight and bias of one layer.")
    arrays = {name: tensor.float().numpy() for name, tensor in tensors.items()}
    return arrays["weight"], arrays.get("bias")
