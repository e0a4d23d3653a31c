"""Checks of single keywords, which embedders and rerankers share."""

from __future__ import annotations

from typing import Any

from .errors import ConfigError


def one_of(name: str, value: Any, alias: str, other: Any) -> Any:
    """Return the one of two names of a setting that was given.

    Raises:
        ConfigError: Both were given.
    """
    if value is not None and other is not None:
        raise ConfigError(f"{name} and {alias} are two names of one setting; pass one.")
    return other if value is None else value


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> Any:
    """Return ``value`` itself, or raise a ``ConfigError`` that lists what is ``allowed``."""
    if value not in allowed:
        raise ConfigError(f"{name}={value!r} is unknown; choose one of {', '.join(allowed)}.")
    return value


def positive(name: str, value: int | None, default: int) -> int:
    """Return ``value`` itself, the default for None, or raise a ``ConfigError``: it is not a whole number over 0."""
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name}={value!r} must be a whole number over 0.")
    return value
