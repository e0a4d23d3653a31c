"""Check values of a checkpoint's JSON files for type and range before they are used.

Each function returns the value itself, or raises a ``ConfigError`` that names the file, the key and the allowed values.
"""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeGuard

from ..errors import ConfigError

LARGEST_SIZE = 65_536
"""Most numbers of a vector."""
MOST_TOKENS = 10_000_000
"""Most tokens of a text."""
LONGEST_NAME = 1000
"""Most characters of a name."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200


def is_name(value: Any) -> TypeGuard[str]:
    """Tell whether ``value`` is a printable text of at most ``LONGEST_NAME`` characters."""
    return isinstance(value, str) and len(value) <= LONGEST_NAME and value.isprintable()


def short(value: Any) -> str:
    """Return ``repr(value)``, shortened; it also works for values nested too deeply for ``repr``."""
    return _SHORT.repr(value)


def whole(
    where: str, values: Mapping[str, Any], key: str, default: int | None = None, *, least: int = 1, most: int
) -> int:
    """Return a whole number from ``least`` to ``most``; ``default`` where the key is missing."""
    value = values.get(key, default)
    if not _is_whole(value, least, most):
        raise ConfigError(f"{where} has {key}={short(value)}; expected a whole number from {least} to {most}.")
    return int(value)


def wholes(where: str, values: Mapping[str, Any], key: str, default: Sequence[int], *, most: int) -> list[int]:
    """Return a list of whole numbers from 0 to ``most``; ``default`` where it is missing, null or empty."""
    value = values.get(key)
    if value is None or value == []:
        return list(default)
    if not isinstance(value, list) or not all(_is_whole(item, 0, most) for item in value):
        raise ConfigError(f"{where} has {key}={short(value)}; expected a list of whole numbers from 0 to {most}.")
    return value


def choices(
    where: str, values: Mapping[str, Any], key: str, default: Sequence[str], *, allowed: Collection[str]
) -> tuple[str, ...]:
    """Return a list of names out of ``allowed``; ``default`` where it is missing, null or empty."""
    value = values.get(key)
    if value is None or value == []:
        return tuple(default)
    if not isinstance(value, list) or not all(isinstance(item, str) and item in allowed for item in value):
        raise ConfigError(f"{where} has {key}={short(value)}; expected a list of some of {', '.join(allowed)}.")
    return tuple(dict.fromkeys(value))


def mapping(where: str, values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a JSON object; an empty one where it is missing or null."""
    return as_mapping(f"{where} has {key}=", values.get(key))


def as_mapping(prefix: str, value: Any) -> dict[str, Any]:
    """Return ``value``, a JSON object, or an empty one for null; ``prefix`` begins the error's message."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{prefix}{short(value)}; expected a JSON object.")
    return value


def as_mappings(prefix: str, value: Any) -> list[dict[str, Any]]:
    """Return ``value``, a list of JSON objects, or an empty one for null."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ConfigError(f"{prefix}{short(value)}; expected a list of JSON objects.")
    return value


def text(where: str, values: Mapping[str, Any], key: str, default: str = "") -> str:
    """Return a string; ``default`` where the key is missing or null."""
    value = values.get(key)
    if value is None:
        return default
    if not isinstance(value, str):
        raise ConfigError(f"{where} has {key}={short(value)}; expected a string.")
    return value


def switch(where: str, values: Mapping[str, Any], key: str) -> bool:
    """Return true or false; the latter where the key is missing or null."""
    value = values.get(key)
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"{where} has {key}={short(value)}; expected true or false.")
    return bool(value)


def names(where: str, values: Mapping[str, Any], key: str) -> set[str]:
    """Return one string or a list of strings as a set; an empty one where the key is missing or null."""
    value = values.get(key)
    listed = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in listed):
        raise ConfigError(f"{where} has {key}={short(value)}; expected a string, or a list of strings.")
    return set(listed)


def _is_whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most  # bool is an int, and true is not a size
