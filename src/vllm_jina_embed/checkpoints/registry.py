"""The table of models: rows and published checkpoints by name."""

from __future__ import annotations

from .description import Checkpoint, Model
from .table import bge, jina_v4

ROWS: dict[str, Model] = {row.name: row for row in (jina_v4.JINA_V4, bge.XLM_ROBERTA)}
PUBLISHED: dict[str, Checkpoint] = {
    checkpoint.name: checkpoint for checkpoint in (*jina_v4.CHECKPOINTS, *bge.CHECKPOINTS)
}
DEFAULT_ROW = jina_v4.JINA_V4
"""Row of the demo, the default model."""


def row_of(model_type: str) -> Model:
    """Return the row whose config.json has this ``model_type``.

    Raises:
        KeyError: There is none.
    """
    return {row.model_type: row for row in ROWS.values()}[model_type]


def serving(task: str) -> list[str]:
    """Return the names of the published checkpoints that serve ``task``."""
    return [name for name, checkpoint in PUBLISHED.items() if task in checkpoint.tasks]
