"""Rules of a row's fields that say what vLLM is told besides its arguments: names, settings and adapters."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from .description import Model
from .templates import ROLES

NOT_A_ROWS = ("trust_remote_code", "model", "tokenizer", "hf_overrides")
"""Arguments that no row has: a user allows the first, and the others are made of the checkpoint and the row."""


def of_vllm(row: Model) -> dict[str, tuple[bool, str]]:
    """Return for each of these fields whether its value means something, and what does."""
    return {
        "vllm_architecture": (
            row.vllm_architecture is None or (_is_text(row.vllm_architecture) and row.architecture is None),
            "a text, or None; and None beside an architecture of the plugin",
        ),
        "reversed_states": (isinstance(row.reversed_states, bool), "True or False"),
        "remote_code": (isinstance(row.remote_code, str), "a text"),
        "config_names": (_are_texts(row.config_names), "a mapping of texts by texts"),
        "size_key": (
            row.size_key == "" or (_is_text(row.size_key) and _is_key(row.size_key.removeprefix("text_config."))),
            "a key of config.json, with text_config. in front if it stands there, or an empty text",
        ),
        "adapters": (
            _are_adapters(row.adapters, row.tasks),
            "by (role, task), for both roles of each task, a whole number from 0 on; or nothing",
        ),
    }


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_key(value: str) -> bool:
    return bool(value) and "." not in value


def _are_texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_is_text(one) for one in (*value, *value.values()))


def _are_adapters(value: Any, tasks: Any) -> bool:
    """Tell whether each task has an adapter for both roles, or none has one."""
    if not isinstance(value, Mapping) or not value or not isinstance(tasks, tuple):
        return bool(value == {})
    complete = all(any({*keys} <= {*value} for keys in _keys(task)) for task in tasks)
    known = {*value} <= {*itertools.product(ROLES, tasks)}
    return complete and known and all(type(one) is int and one >= 0 for one in value.values())


def _keys(task: Any) -> tuple[tuple[tuple[str, Any], ...], ...]:
    """Return the two ways in which both roles of a task have an adapter."""
    return (("any", task),), (("query", task), ("passage", task))
