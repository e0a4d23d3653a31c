"""The row of BAAI/bge-m3, and checkpoints like it."""

from __future__ import annotations

from ..description import (
    XLM_ROBERTA,
    Checkpoint,
)


def _xlm_roberta(name: str, location: str, *, hidden_size: int, positions: int, padding: int) -> Checkpoint:
    """Return the facts of an XLM-RoBERTa checkpoint: texts only, one size, no roles.

    Positions are counted from ``padding + 1``, so that many rows of the position table are never used.
    Source: transformers, modeling_xlm_roberta.py, create_position_ids_from_input_ids.
    """
    return Checkpoint(
        name=name,
        location=location,
        tasks=("retrieval",),
        hidden_size=hidden_size,
        dimensions=(hidden_size,),
        token_dimensions=hidden_size,
        max_length=positions - padding - 1,
        family=XLM_ROBERTA,
    )


BGE_M3 = "BAAI/bge-m3"
