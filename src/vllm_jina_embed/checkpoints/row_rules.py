"""Rules of the fields that every row has, and of its layouts: which values mean something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from ..errors import ConfigError
from . import values
from .evidence import words
from .layout import Layout
from .row import Row
from .templates import is_image

NOT_A_ROWS = ("trust_remote_code", "model", "tokenizer", "hf_overrides")
"""Arguments that no row has: a user allows the first, and the others are made of the checkpoint and the row."""
Rule: TypeAlias = tuple[bool, str]
"""Whether a field's value means something, and what does."""


def check_fields(row: Row, rules: Mapping[str, Rule]) -> None:
    """Check the fields of a row and of its layouts.

    Args:
        row: The row.
        rules: By their names, the rules of its own fields; those of ``Row`` and of its layouts are known here.

    Raises:
        ConfigError: Names the field, its value and what is allowed.
    """
    named = [(name, getattr(row, name), rule) for name, rule in rules.items()]
    for place, layout in enumerate(row.layouts if is_tuple_of(row.layouts, Layout) else ()):
        named += [(f"layouts[{place}].{name}", getattr(layout, name), rule) for name, rule in of_layout(layout).items()]
    for name, value, (is_right, expected) in named:
        if not is_right:
            raise ConfigError(f"row={values.short(row.name)} has {name}={values.short(value)}; expected {expected}.")


def of_row(row: Row, *, takes_images: bool) -> dict[str, Rule]:
    """Return the rules of the fields that every row has, but for ``pooling``.

    Args:
        row: The row.
        takes_images: Whether it does; False where what says so means nothing.
    """
    return _of_names(row) | _of_start(row) | _of_prompts(row, takes_images) | _of_sizes(row, takes_images)


def _of_names(row: Row) -> dict[str, Rule]:
    """Return the rules of the fields by which a row is known."""
    name = row.name
    return {
        "name": (
            values.is_name(name) and bool(words(name)) and {*":@"}.isdisjoint(name),
            f"a name of at most {values.LONGEST_NAME} printable characters, without : and @",
        ),
        "layouts": (is_tuple_of(row.layouts, Layout), "a tuple of Layout, at least one"),
        "known_as": (
            is_tuple_of(row.known_as, str, empty=True) and all(map(words, row.known_as)),
            "a tuple of names, each with a letter",
        ),
        "only_named": (isinstance(row.only_named, bool), "True or False"),
        "source": (are_texts(row.source), "a mapping of texts"),
    }


def _of_start(row: Row) -> dict[str, Rule]:
    """Return the rules of the fields that decide how vLLM is started; no row switches on a checkpoint's own code."""
    return {
        "vllm_architecture": (is_text_or_none(row.vllm_architecture), "a text, or None"),
        "remote_code": (isinstance(row.remote_code, str), "a text"),
        "config_names": (
            are_texts(row.config_names) and all((*row.config_names, *row.config_names.values())),
            "a mapping of texts by texts",
        ),
        "attention": (row.attention in ("causal", "both", None), "causal or both, or None"),
        "splits_prompts": (
            isinstance(row.splits_prompts, bool) and not (row.splits_prompts and row.attention == "both"),
            "True or False, and False with attention='both'",
        ),
        "overrides": (
            has_json(row.overrides) and "architectures" not in row.overrides,
            "a mapping of JSON values by names, without architectures, which is vllm_architecture",
        ),
        "arguments": (
            has_json(row.arguments) and not {*NOT_A_ROWS} & {*row.arguments},
            f"a mapping of JSON values by names, without {', '.join(NOT_A_ROWS)}",
        ),
    }


def _of_prompts(row: Row, takes_images: bool) -> dict[str, Rule]:
    """Return the rules of the fields that make prompts."""
    return {
        "kind": (row.kind in ("bpe", "unigram", "wordpiece"), "bpe, unigram or wordpiece"),
        "image": (
            row.image == () or (takes_images and is_image(row.image)),
            "the pieces of one image, a special token among them, or none",
        ),
        "normalization": (row.normalization in ("lower", "canonical", None), "lower or canonical, or None"),
    }


def _of_sizes(row: Row, takes_images: bool) -> dict[str, Rule]:
    """Return the rules of numbers."""
    low, high, number = row.min_pixels, row.max_pixels, "a whole number over 0"
    return {
        "positions": (row.positions in ("all", "after_padding"), "all or after_padding"),
        "token_side": (is_over_0(row.token_side), number),
        "side_multiple": (row.side_multiple is None or is_over_0(row.side_multiple), f"{number}, or None"),
        "fixed_size": (isinstance(row.fixed_size, bool), "True or False"),
        "min_pixels": (is_over_0(low), number),
        "max_pixels": (
            is_over_0(low) and is_over_0(high) and low <= high and (high > 1 or row.fixed_size or not takes_images),
            "the largest area of an image, at least min_pixels",
        ),
        "max_length": (row.max_length is None or is_over_0(row.max_length), f"{number}, or None"),
        "code": (is_over_0(row.code), number),
    }


def of_layout(layout: Layout) -> dict[str, Rule]:
    """Return the rules of a layout's fields."""
    adapters = ("none", "ignored", "folder", "named", "by_task", "merged")
    mappings, texts = ("config", "text", "processor", "defaults"), ("unnamed", "texts_only", "assumed")
    flags = ("adds_ends", "any_prompts", "pooling_decides", "prompts_unpublished")
    return {
        "architecture": (bool(layout.architecture) and is_text_or_none(layout.architecture), "an architecture"),
        **{name: (has_text_keys(getattr(layout, name)), "a mapping of values by keys") for name in mappings},
        **{name: (isinstance(getattr(layout, name), str), "a text") for name in texts},
        **{name: (isinstance(getattr(layout, name), bool), "True or False") for name in flags},
        "present": (is_tuple_of(layout.present, str, empty=True), "a tuple of keys"),
        "absent": (is_tuple_of(layout.absent, str, empty=True), "a tuple of keys"),
        "modules": (is_tuple_of(layout.modules, str, empty=True), "a tuple of modules"),
        "prompts": (are_texts(layout.prompts), "a mapping of texts"),
        "other_prompts": (are_texts(layout.other_prompts), "a mapping of texts"),
        "adapters": (layout.adapters in adapters, f"one of {', '.join(adapters)}"),
    }


def is_over_0(value: Any) -> bool:
    """Tell whether this is a whole number over 0."""
    return type(value) is int and value > 0


def is_text_or_none(value: Any) -> bool:
    """Tell whether this is a text that is not empty, or None."""
    return value is None or (isinstance(value, str) and bool(value))


def has_text_keys(value: Any) -> bool:
    """Tell whether this is a mapping by texts."""
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def has_json(values: Any) -> bool:
    """Tell whether this is a mapping of JSON's values by texts."""
    return has_text_keys(values) and all(map(_is_json, values.values()))


def _is_json(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    return has_json(value) if isinstance(value, Mapping) else value is None or isinstance(value, str | int | float)


def are_texts(value: Any) -> bool:
    """Tell whether this is a mapping of texts by texts."""
    return has_text_keys(value) and all(isinstance(text, str) for text in value.values())


def is_tuple_of(value: Any, kind: Any, *, empty: bool = False) -> bool:
    """Tell whether this is a tuple of things of one kind."""
    return isinstance(value, tuple) and (empty or bool(value)) and all(isinstance(item, kind) for item in value)
