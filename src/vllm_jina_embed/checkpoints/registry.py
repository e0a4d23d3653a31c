"""The table of models: rows and published checkpoints by name.

Every module of ``table/`` is read, so a new one needs no line here. It has ``ROWS`` and ``CHECKPOINTS``.
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import Any, get_args

from ..errors import ConfigError
from . import table, values
from .description import TASKS, Checkpoint, Layout, Model, Pooling, Slot, Special, canonical
from .table.jina_v4 import JINA_V4

DEFAULT_ROW = JINA_V4
"""Row of the demo, the default model."""
ROWS: dict[str, Model] = {}
"""Rows by name: those of the table, then registered ones."""
ROLES = ("query", "passage", "any")
SLOTS = {"text": Slot.TEXT, "image": Slot.IMAGES}


def checked(row: Any) -> Model:
    """Return ``row`` itself, whose fields mean something.

    Raises:
        ConfigError: It is not a ``Model``, or names the field, its value and what is allowed.
    """
    if not isinstance(row, Model):
        raise ConfigError(f"row={values.short(row)} is a {type(row).__name__}; expected a vllm_jina_embed.Model.")
    takes_images = _are_templates(row.templates) and row.takes_images
    rules = {
        "name": (isinstance(row.name, str) and bool(row.name.strip()), "a name"),
        "layouts": (_is_tuple_of(row.layouts, Layout), "a tuple of Layout, at least one"),
        "pooling": (row.pooling in get_args(Pooling), f"one of {', '.join(get_args(Pooling))}"),
        "kind": (row.kind in ("bpe", "unigram", "wordpiece"), "bpe, unigram or wordpiece"),
        "templates": (
            _are_templates(row.templates),
            (
                "by (role, 'text' or 'image'), for both roles, a tuple of texts, Special and one Slot of that "
                "modality, with no text directly behind Slot.TEXT"
            ),
        ),
        "image": (
            bool(row.image) == takes_images and _is_tuple_of(row.image, str | Special, empty=True),
            "the pieces of one image, or none where no template takes images",
        ),
        "tasks": (_is_tuple_of(row.tasks, str) and {*row.tasks} <= {*TASKS}, f"some of {', '.join(TASKS)}"),
        "positions": (row.positions in ("all", "after_padding"), "all or after_padding"),
        "max_length": (
            row.max_length is None or (type(row.max_length) is int and row.max_length > 0),
            "a whole number over 0, or None",
        ),
        "max_pixels": (
            not takes_images or 1 <= row.min_pixels <= row.max_pixels > 1,
            "the largest area of an image, at least min_pixels",
        ),
    }
    for name, (is_right, expected) in rules.items():
        if not is_right:
            raise ConfigError(
                f"row={values.short(row.name)} has {name}={values.short(getattr(row, name))}; expected {expected}."
            )
    try:
        canonical(row)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"row={row.name!r} has no digest: {error}.") from None
    return row


def _is_tuple_of(value: Any, kind: Any, *, empty: bool = False) -> bool:
    return isinstance(value, tuple) and (empty or bool(value)) and all(isinstance(item, kind) for item in value)


def _are_templates(value: Any) -> bool:
    """Tell whether these are prompts of texts, and perhaps of images, for both roles."""
    if not isinstance(value, Mapping) or not {*value} <= set(itertools.product(ROLES, SLOTS)):
        return False
    modalities = {"text", *(modality for _, modality in value)}
    complete = all({("query", name), ("passage", name)} <= {*value} or ("any", name) in value for name in modalities)
    return complete and all(_is_template(pieces, SLOTS[modality]) for (_, modality), pieces in value.items())


def _is_template(pieces: Any, slot: Slot) -> bool:
    if not _is_tuple_of(pieces, str | Special | Slot) or [one for one in pieces if isinstance(one, Slot)] != [slot]:
        return False
    behind = pieces[pieces.index(slot) + 1 :][:1]
    return slot is not Slot.TEXT or not any(isinstance(piece, str) for piece in behind)


def register(row: Model) -> None:
    """Add a row to ``ROWS``: its folders are recognised from then on. An equal one may be there already.

    Raises:
        ConfigError: Another row has this name, or a field has a value that means nothing.
    """
    if (known := ROWS.setdefault(checked(row).name, row)) != row:
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


def row_named(name: str, digest: str | None = None) -> Model:
    """Return the row of this name.

    Args:
        name: Its name.
        digest: What its digest must be, if that is known.

    Raises:
        ConfigError: There is no row of this name, or it has another digest.
    """
    if name not in ROWS:
        raise ConfigError(
            f"row={name!r} is unknown; choose one of {', '.join(sorted(ROWS))}, or call vllm_jina_embed.register(row)."
        )
    row = ROWS[name]
    if digest not in (None, row.digest):
        raise ConfigError(
            f"row={name!r} has digest {row.digest} here, expected {digest}: it is described otherwise there. Use the "
            "same version of this package, and of the module that describes the row."
        )
    return row


def row_given(row: Model | str | None) -> Model | None:
    """Return the row that a caller passed, or named; None where there is none.

    Raises:
        ConfigError: It is unknown, or a field has a value that means nothing.
    """
    return None if row is None else row_named(row) if isinstance(row, str) else checked(row)


def row_at(place: str) -> Model:
    """Return a row by name, or register and return the one at ``package.module:NAME``.

    Raises:
        ConfigError: There is no such row, or the module cannot be imported.
    """
    module, colon, name = place.partition(":")
    if not colon:
        return row_named(place)
    try:
        row = getattr(importlib.import_module(module), name)
    except Exception as error:  # a user's module may raise anything
        raise ConfigError(
            f"row={place!r} cannot be imported ({type(error).__name__}: {error}). Pass package.module:NAME of an "
            "installed module, or one on PYTHONPATH."
        ) from error
    register(row)
    return row_named(row.name)


def serving(task: str) -> list[str]:
    """Return the names of the published checkpoints that serve ``task``, those of the default model first."""
    names = [name for name, checkpoint in PUBLISHED.items() if task in checkpoint.tasks]
    return sorted(names, key=lambda name: PUBLISHED[name].row != DEFAULT_ROW)
