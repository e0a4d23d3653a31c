"""The table of models: rows and published checkpoints by name.

Every module of ``table/`` is read, so a new one needs no line here. It has ``ROWS`` and ``CHECKPOINTS``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import Any, TypeAlias, get_args

from ..errors import ConfigError
from . import table, values
from .checkpoint import Checkpoint
from .description import TASKS, Model, Pooling
from .evidence import words
from .layout import Layout
from .table.jina_v4 import JINA_V4
from .templates import TEMPLATES, are_templates, is_image, is_special
from .token_rules import of_tokens
from .vllm_rules import NOT_A_ROWS, of_vllm

DEFAULT_ROW = JINA_V4
"""Row of the demo, the default model."""
ROWS: dict[str, Model] = {}
"""Rows by name: those of the table, then registered ones."""
Rule: TypeAlias = tuple[bool, str]
"""Whether a field's value means something, and what does."""


def checked(row: Any) -> Model:
    """Return ``row`` itself, whose fields mean something.

    Raises:
        ConfigError: It is not a ``Model``, or names the field, its value and what is allowed.
    """
    if not isinstance(row, Model):
        raise ConfigError(f"row={values.short(row)} is a {type(row).__name__}; expected a vllm_jina_embed.Model.")
    own = _of_names(row) | _of_start(row) | of_vllm(row) | _of_prompts(row) | _of_sizes(row) | of_tokens(row)
    rules = [(name, getattr(row, name), rule) for name, rule in own.items()]
    for place, layout in enumerate(row.layouts if _is_tuple_of(row.layouts, Layout) else ()):
        rules += [
            (f"layouts[{place}].{name}", getattr(layout, name), rule) for name, rule in _of_layout(layout).items()
        ]
    for name, value, (is_right, expected) in rules:
        if not is_right:
            raise ConfigError(f"row={values.short(row.name)} has {name}={values.short(value)}; expected {expected}.")
    return row


def _of_names(row: Model) -> dict[str, Rule]:
    """Return the rules of the fields by which a row is known."""
    name = row.name
    return {
        "name": (
            values.is_name(name) and bool(words(name)) and {*":@"}.isdisjoint(name),
            f"a name of at most {values.LONGEST_NAME} printable characters, without : and @",
        ),
        "layouts": (_is_tuple_of(row.layouts, Layout), "a tuple of Layout, at least one"),
        "known_as": (
            _is_tuple_of(row.known_as, str, empty=True) and all(map(words, row.known_as)),
            "a tuple of names, each with a letter",
        ),
        "only_named": (isinstance(row.only_named, bool), "True or False"),
        "source": (_are_texts(row.source), "a mapping of texts"),
        "vectors_before": (_are_texts(row.vectors_before), "a mapping of texts"),
    }


def _of_start(row: Model) -> dict[str, Rule]:
    """Return the rules of the fields that decide how vLLM is started; no row switches on a checkpoint's own code."""
    return {
        "architecture": (_is_text_or_none(row.architecture), "an architecture, or None"),
        "adapter_architecture": (_is_text_or_none(row.adapter_architecture), "an architecture, or None"),
        "attention": (row.attention in ("causal", "both", None), "causal or both, or None"),
        "splits_prompts": (
            isinstance(row.splits_prompts, bool) and not (row.splits_prompts and row.attention == "both"),
            "True or False, and False with attention='both'",
        ),
        "overrides": (
            _has_json(row.overrides) and "architectures" not in row.overrides,
            "a mapping of JSON values by names, without architectures, which is vllm_architecture",
        ),
        "arguments": (
            _has_json(row.arguments) and not {*NOT_A_ROWS} & {*row.arguments},
            f"a mapping of JSON values by names, without {', '.join(NOT_A_ROWS)}",
        ),
    }


def _of_prompts(row: Model) -> dict[str, Rule]:
    """Return the rules of the fields that make prompts, and of the pooling."""
    takes_images = are_templates(row.templates) and row.takes_images
    tasks = f"some of {', '.join(TASKS)}"
    return {
        "pooling": (
            row.pooling in get_args(Pooling) or (row.pooling is None and row.projector is not None),
            f"one of {', '.join(get_args(Pooling))}; or None with a projector, for multi-vectors alone",
        ),
        "layer_norm": (isinstance(row.layer_norm, bool), "True or False"),
        "kind": (row.kind in ("bpe", "unigram", "wordpiece"), "bpe, unigram or wordpiece"),
        "templates": (are_templates(row.templates), TEMPLATES),
        "image": (
            row.image == () or (takes_images and is_image(row.image)),
            "the pieces of one image, a special token among them, or none",
        ),
        "normalization": (row.normalization in ("lower", "canonical", None), "lower or canonical, or None"),
        "padding": (row.padding is None or is_special(row.padding), "a Special, or None"),
        "image_positions": (row.image_positions in ("grid", "line"), "grid or line"),
        "tasks": (_is_tuple_of(row.tasks, str) and {*row.tasks} <= {*TASKS}, tasks),
        "symmetric_tasks": (
            _is_tuple_of(row.symmetric_tasks, str, empty=True) and {*row.symmetric_tasks} <= {*TASKS},
            f"a tuple of {tasks}, or an empty one",
        ),
    }


def _of_sizes(row: Model) -> dict[str, Rule]:
    """Return the rules of numbers."""
    takes_images = are_templates(row.templates) and row.takes_images
    low, high, number = row.min_pixels, row.max_pixels, "a whole number over 0"
    return {
        "matryoshka_sizes": (
            _is_tuple_of(row.matryoshka_sizes, int, empty=True) and all(map(_is_over_0, row.matryoshka_sizes)),
            "a tuple of whole numbers over 0",
        ),
        "min_dimensions": (row.min_dimensions is None or _is_over_0(row.min_dimensions), f"{number}, or None"),
        "token_dimensions": (row.token_dimensions is None or _is_over_0(row.token_dimensions), f"{number}, or None"),
        "positions": (row.positions in ("all", "after_padding"), "all or after_padding"),
        "token_side": (_is_over_0(row.token_side), number),
        "side_multiple": (row.side_multiple is None or _is_over_0(row.side_multiple), f"{number}, or None"),
        "fixed_size": (isinstance(row.fixed_size, bool), "True or False"),
        "min_pixels": (_is_over_0(low), number),
        "max_pixels": (
            _is_over_0(low) and _is_over_0(high) and low <= high and (high > 1 or row.fixed_size or not takes_images),
            "the largest area of an image, at least min_pixels",
        ),
        "max_length": (row.max_length is None or _is_over_0(row.max_length), f"{number}, or None"),
        "code": (_is_over_0(row.code), number),
    }


def _of_layout(layout: Layout) -> dict[str, Rule]:
    """Return the rules of a layout's fields."""
    adapters = ("none", "ignored", "folder", "named", "by_task", "merged")
    mappings, texts = ("config", "text", "processor", "defaults"), ("unnamed", "texts_only", "assumed")
    flags = ("adds_ends", "any_prompts", "pooling_decides", "prompts_unpublished")
    return {
        "architecture": (bool(layout.architecture) and _is_text_or_none(layout.architecture), "an architecture"),
        **{name: (_has_text_keys(getattr(layout, name)), "a mapping of values by keys") for name in mappings},
        **{name: (isinstance(getattr(layout, name), str), "a text") for name in texts},
        **{name: (isinstance(getattr(layout, name), bool), "True or False") for name in flags},
        "present": (_is_tuple_of(layout.present, str, empty=True), "a tuple of keys"),
        "absent": (_is_tuple_of(layout.absent, str, empty=True), "a tuple of keys"),
        "modules": (_is_tuple_of(layout.modules, str, empty=True), "a tuple of modules"),
        "prompts": (_are_texts(layout.prompts), "a mapping of texts"),
        "other_prompts": (_are_texts(layout.other_prompts), "a mapping of texts"),
        "adapters": (layout.adapters in adapters, f"one of {', '.join(adapters)}"),
    }


def _is_over_0(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_text_or_none(value: Any) -> bool:
    return value is None or (isinstance(value, str) and bool(value))


def _has_text_keys(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _has_json(values: Any) -> bool:
    """Tell whether this is a mapping of JSON's values by texts."""
    return _has_text_keys(values) and all(map(_is_json, values.values()))


def _is_json(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    return _has_json(value) if isinstance(value, Mapping) else value is None or isinstance(value, str | int | float)


def _are_texts(value: Any) -> bool:
    return _has_text_keys(value) and all(isinstance(text, str) for text in value.values())


def _is_tuple_of(value: Any, kind: Any, *, empty: bool = False) -> bool:
    return isinstance(value, tuple) and (empty or bool(value)) and all(isinstance(item, kind) for item in value)


def register(row: Model) -> None:
    """Add a row to ``ROWS``: its folders are recognised from then on. It takes the place of an equal one.

    Raises:
        ConfigError: Another row has this name, or a field has a value that means nothing.
    """
    _check_name(ROWS.setdefault(checked(row).name, row), row)
    ROWS[row.name] = row  # an equal one may be recognised by other files


def _check_name(known: Model, row: Model) -> None:
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
        ConfigError: It is unknown, a field has a value that means nothing, or another row has its name.
    """
    if row is None or isinstance(row, str):
        return None if row is None else row_named(row)
    _check_name(ROWS.get(checked(row).name, row), row)
    return row


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
