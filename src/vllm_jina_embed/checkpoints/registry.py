"""The table of models: families and published checkpoints by name."""

from __future__ import annotations

from .description import Checkpoint, Family
from .table import bge, jina_v4

FAMILIES: dict[str, Family] = {family.name: family for family in (jina_v4.JINA_V4, bge.XLM_ROBERTA)}
PUBLISHED: dict[str, Checkpoint] = {row.name: row for row in (*jina_v4.ROWS, *bge.ROWS)}
DEFAULT_FAMILY = jina_v4.JINA_V4
"""Family of the demo, the default model."""


def family_of(model_type: str) -> Family:
    """Return the family whose config.json has this ``model_type``.

    Raises:
        KeyError: There is none.
    """
    return {family.model_type: family for family in FAMILIES.values()}[model_type]


def serving(task: str) -> list[str]:
    """Return the names of the published checkpoints that serve ``task``."""
    return [name for name, row in PUBLISHED.items() if task in row.tasks]
