"""Dataclasses whose mappings cannot be changed either."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from typing import Any


class ReadOnly(Mapping[Any, Any]):
    """A mapping that cannot be changed; unlike ``MappingProxyType`` it has copies and pickles."""

    def __init__(self, values: Mapping[Any, Any]) -> None:
        """Copy ``values``."""
        self._values = dict(values)

    def __getitem__(self, key: Any) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __or__(self, other: Mapping[Any, Any]) -> dict[Any, Any]:
        return self._values | dict(other)

    def __repr__(self) -> str:
        return repr(self._values)


class Frozen:
    """A base of frozen dataclasses: mappings become read-only copies, and pickles name each field.

    Whoever made a mapping could otherwise change a prompt, and with it the digest, under a living embedder.
    """

    def __post_init__(self) -> None:
        """Copy the mappings."""
        for name, value in _values(self).items():
            if isinstance(value, Mapping):
                object.__setattr__(self, name, ReadOnly(value))

    def __reduce__(self) -> tuple[Callable[[], Any], tuple[()]]:
        """Return what makes an equal one, in later versions too, which may have more fields."""
        return partial(type(self), **_values(self)), ()


def _values(thing: Any) -> dict[str, Any]:
    return {one.name: getattr(thing, one.name) for one in fields(thing)}
