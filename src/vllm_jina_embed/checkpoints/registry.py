"""The table of models: rows and published checkpoints by name.

Every module of ``table/`` is read, so a new one needs no line here. It has ``ROWS`` and ``CHECKPOINTS``.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Any, get_args

from ..errors import ConfigError
from . import table, values
from .checkpoint import Checkpoint
from .description import TASKS, Model
from .ranking import RankingModel
from .row import Pooling, Row
from .row_rules import Rule, are_texts, check_fields, is_over_0, is_text_or_none, is_tuple_of, of_row
from .table.jina_v4 import JINA_V4
from .templates import TEMPLATES, are_templates, is_special
from .token_rules import of_tokens
from .vllm_rules import of_vllm

DEFAULT_ROW = JINA_V4
"""Row of the demo, the default model."""
ROWS: dict[str, Model] = {}
"""Rows by name: those of the table, then registered ones."""


def checked(row: Any) -> Model:
    """Return ``row`` itself, whose fields mean something.

    Raises:
        ConfigError: It is not a ``Model``, or names the field, its value and what is allowed.
    """
    if not isinstance(row, Model):
        advice = " It describes a reranker: use JinaReranker." if isinstance(row, RankingModel) else ""
        raise ConfigError(
            f"row={values.short(row)} is a {type(row).__name__}; expected a vllm_jina_embed.Model.{advice}"
        )
    takes_images = are_templates(row.templates) and row.takes_images
    own = _of_start(row) | of_vllm(row) | _of_prompts(row) | _of_sizes(row) | of_tokens(row)
    check_fields(row, own | of_row(row, takes_images=takes_images))
    return row


def _of_start(row: Model) -> dict[str, Rule]:
    """Return the rules of the fields that name architectures, and what vectors were called."""
    return {
        "architecture": (
            is_text_or_none(row.architecture) and None in (row.architecture, row.vllm_architecture),
            "an architecture of the plugin, or None; and None beside a vllm_architecture",
        ),
        "adapter_architecture": (is_text_or_none(row.adapter_architecture), "an architecture, or None"),
        "vectors_before": (are_texts(row.vectors_before), "a mapping of texts"),
    }


def _of_prompts(row: Model) -> dict[str, Rule]:
    """Return the rules of the fields that make prompts, and of the pooling."""
    tasks = f"some of {', '.join(TASKS)}"
    return {
        "pooling": (
            row.pooling in get_args(Pooling) or (row.pooling is None and row.projector is not None),
            f"one of {', '.join(get_args(Pooling))}; or None with a projector, for multi-vectors alone",
        ),
        "layer_norm": (isinstance(row.layer_norm, bool), "True or False"),
        "templates": (are_templates(row.templates), TEMPLATES),
        "padding": (row.padding is None or is_special(row.padding), "a Special, or None"),
        "image_positions": (row.image_positions in ("grid", "line"), "grid or line"),
        "tasks": (is_tuple_of(row.tasks, str) and {*row.tasks} <= {*TASKS}, tasks),
        "symmetric_tasks": (
            is_tuple_of(row.symmetric_tasks, str, empty=True) and {*row.symmetric_tasks} <= {*TASKS},
            f"a tuple of {tasks}, or an empty one",
        ),
    }


def _of_sizes(row: Model) -> dict[str, Rule]:
    """Return the rules of the lengths of vectors."""
    number = "a whole number over 0"
    return {
        "matryoshka_sizes": (
            is_tuple_of(row.matryoshka_sizes, int, empty=True) and all(map(is_over_0, row.matryoshka_sizes)),
            "a tuple of whole numbers over 0",
        ),
        "min_dimensions": (row.min_dimensions is None or is_over_0(row.min_dimensions), f"{number}, or None"),
        "token_dimensions": (row.token_dimensions is None or is_over_0(row.token_dimensions), f"{number}, or None"),
    }


def register(row: Model) -> None:
    """Add a row to ``ROWS``: its folders are recognised from then on. It takes the place of an equal one.

    Raises:
        ConfigError: Another row has this name, or a field has a value that means nothing.
    """
    check_same(ROWS.setdefault(checked(row).name, row), row)
    ROWS[row.name] = row  # an equal one may be recognised by other files


def check_same(known: Row, row: Row) -> None:
    """Check that a row is the one that is known by its name: a name in JSON or in a server's facts means one row."""
    if known != row:
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


UNSERVED: dict[str, str] = {
    architecture: reason
    for module in modules_of(table)
    for architecture, reason in getattr(module, "UNSERVED", {}).items()
}
"""By architecture, why checkpoints of a model that is known cannot be served."""


def row_named(name: str, digest: str | None = None) -> Model:
    """Return the row of this name.

    Args:
        name: Its name, or ``name@digest``.
        digest: What its digest must be, if that is known.

    Raises:
        ConfigError: There is no row of this name, or it has another digest.
    """
    name, _, said = name.partition("@")
    digest = digest or said or None
    if name not in ROWS:
        raise ConfigError(
            f"row={name!r} is unknown; choose one of {', '.join(sorted(ROWS))}, or call vllm_jina_embed.register(row)."
        )
    check_digest(ROWS[name], digest)
    return ROWS[name]


def check_digest(row: Row, digest: str | None) -> None:
    """Check that a row has the digest that somebody told; none is right.

    Raises:
        ConfigError: It has another.
    """
    if digest and digest != row.digest:
        raise ConfigError(
            f"row={row.name!r} has digest {row.digest} here, expected {digest}: it is described otherwise there. Use "
            "the same version of this package, and of the module that describes the row."
        )


def row_given(row: Model | str | None) -> Model | None:
    """Return the row that a caller passed, or named; None where there is none.

    Raises:
        ConfigError: It is unknown, a field has a value that means nothing, or another row has its name.
    """
    if row is None or isinstance(row, str):
        return None if row is None else row_named(row)
    check_same(ROWS.get(checked(row).name, row), row)
    return row


def serving(task: str) -> list[str]:
    """Return the names of the published checkpoints that serve ``task``, those of the default model first."""
    names = [name for name, checkpoint in PUBLISHED.items() if task in checkpoint.tasks]
    return sorted(names, key=lambda name: PUBLISHED[name].row != DEFAULT_ROW)
