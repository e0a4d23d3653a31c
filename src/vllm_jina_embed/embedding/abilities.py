"""Refuse calls for vectors that a checkpoint does not have."""

from __future__ import annotations

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.registry import ROWS
from ..errors import ConfigError
from .backend import Request


def check_request(checkpoint: Checkpoint, request: Request) -> None:
    """Check that the checkpoint has vectors of the kind that is requested.

    Raises:
        ConfigError: It has none; names it, and what to call instead.
    """
    if request.weights:
        if checkpoint.row.token_weights is None:
            raise ConfigError(
                f"{checkpoint.name} has no token weights: {checkpoint.row.label} was not trained for any, or its row "
                f"{checkpoint.row.name!r} leaves them out. Rows that have some: {', '.join(_weighing())}."
            )
        return
    if request.multi_vector or request.both:
        if request.ends is not None:
            raise ConfigError("multi_vector=True: late chunks have one embedding each. Leave it out.")
        check_multi_vectors(checkpoint)
    if request.multi_vector:
        return
    if checkpoint.row.pooling is None:
        raise ConfigError(
            f"{checkpoint.name} has a vector of each token and none of a whole item. Call embed_multi_vector, or "
            "score, which compares all tokens (MaxSim), or keep items in a late_interaction.LateInteractionIndex."
        )
    if request.ends is not None:
        _check_late_chunks(checkpoint)


def check_multi_vectors(checkpoint: Checkpoint) -> None:
    """Check that a model has a vector per token.

    Raises:
        ConfigError: It was trained for one vector of an item.
    """
    if not checkpoint.row.token_vectors:
        raise ConfigError(f"{checkpoint.name} was trained for one vector of an item; it has no multi-vectors.")


def _weighing() -> list[str]:
    """Return the names of the rows with token weights."""
    return [name for name, row in ROWS.items() if row.token_weights is not None]


def _check_late_chunks(checkpoint: Checkpoint) -> None:
    """Check that the chunks of a document have embeddings of their own in its token states.

    Raises:
        ConfigError: The model does not average its tokens.
    """
    row, pooling = checkpoint.row, checkpoint.row.pooling
    if row.padding is not None or row.normalization is not None:
        raise ConfigError(
            f"{checkpoint.name} {'fills texts up' if row.padding is not None else 'changes the letters of texts'}, so "
            "late chunking means nothing to it. Embed the chunks as texts."
        )
    if pooling not in ("mean", "vision_span_mean"):
        raise ConfigError(
            f"{checkpoint.name} pools by the {str(pooling).replace('_', ' ')}, so late chunking means nothing to it. "
            "Embed the chunks as texts, or take a model that averages its tokens."
        )
