"""Rules of a row's fields for one vector, or one number, of each token."""

from __future__ import annotations

from typing import Any

from .description import Model
from .token_layer import TokenLayer

LAYER = (
    "a TokenLayer with names of the layer in the weights or the name of a file (.pt or .pth) in the checkpoint, or None"
)


def of_tokens(row: Model) -> dict[str, tuple[bool, str]]:
    """Return for each of these fields whether its value means something, and what does."""
    alone = row.pooling is None
    return {
        "projector": (row.projector is None or (_is_layer(row.projector) and not row.adapter_architecture), LAYER),
        "token_weights": (row.token_weights is None or _is_layer(row.token_weights), LAYER),
        "token_vectors": (
            isinstance(row.token_vectors, bool) and (row.token_vectors or row.projector is None),
            "True or False, and True with a projector",
        ),
        "score": (
            (row.score == "maxsim" and row.token_vectors) or (row.score == "cosine" and not alone),
            "maxsim where there are multi-vectors alone (pooling=None), cosine where there are none, else one of both",
        ),
    }


def _is_layer(layer: Any) -> bool:
    """Tell whether this says where a layer is, with values of the right types; a file is one of the checkpoint's."""
    if not isinstance(layer, TokenLayer):
        return False
    texts = all(
        isinstance(values, tuple) and all(isinstance(one, str) and bool(one) for one in values)
        for values in (layer.names, layer.skips)
    )
    is_file = isinstance(layer.file, str) and layer.file.endswith((".pt", ".pth")) and not {*"/\\"} & {*layer.file}
    size = layer.size is None or (type(layer.size) is int and layer.size > 0)
    return (
        texts
        and size
        and isinstance(layer.size_key, str)
        and isinstance(layer.skips_first, bool)
        and (is_file if layer.file != "" else bool(layer.names))
    )
