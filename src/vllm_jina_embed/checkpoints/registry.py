"""The table of models: rows and published checkpoints by name.

Every module of ``table/`` is read, so a new one needs no line here. It has ``ROWS`` and ``CHECKPOINTS``.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Any

from ..errors import ConfigError
from . import table
from .description import Checkpoint, Model
from .table.jina_v4 import JINA_V4

DEFAULT_ROW = JINA_V4
"""Row of the demo, the default model."""
ROWS: dict[str, Model] = {}
"""Rows by name: those of the table, then registered ones."""


def register(row: Model) -> None:
    """Add a row to ``ROWS``; an equal one may be there already.

    Raises:
        ConfigError: Another row has this name.
    """
    if (known := ROWS.setdefault(row.name, row)) != row:
        raise ConfigError(
            f"row={row.name!r}: there is another row of this name, with digest {known.digest} (here {row.digest}). "
            "Choose another name."
        )


def modules_of(package: ModuleType) -> list[Any]:
    """Return the modules of a package, imported, in the order of their names."""
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


for _module in modules_of(table):
    for _row in _module.ROWS:
        register(_row)
PUBLISHED: dict[str, Checkpoint] = {
    checkpoint.name: checkpoint for module in modules_of(table) for checkpoint in module.CHECKPOINTS
}


def row_named(name: str) -> Model:
    """Return the row of this name.

    Raises:
        ConfigError: There is none.
    """
    if name not in ROWS:
        raise ConfigError(f"row={name!r} is unknown; choose one of {', '.join(sorted(ROWS))}.")
    return ROWS[name]


def row_of(model_type: str) -> Model:
    """Return the first row whose config.json has this ``model_type``.

    Raises:
        KeyError: There is none.
    """
    return {row.model_type: row for row in reversed(ROWS.values())}[model_type]


def serving(task: str) -> list[str]:
    """Return the names of the published checkpoints that serve ``task``, those of the default model first."""
    names = [name for name, checkpoint in PUBLISHED.items() if task in checkpoint.tasks]
    return sorted(names, key=lambda name: PUBLISHED[name].row != DEFAULT_ROW)
