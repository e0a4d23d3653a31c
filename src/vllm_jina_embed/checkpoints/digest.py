"""What of a row decides its vectors, as a digest: it stands in the keys of users' caches and indexes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

NO_VECTORS = frozenset(
    {
        "layouts",
        "known_as",
        "image_marks",
        "remote_code",
        "attention",
        "min_dimensions",
        "only_named",
        "score",
        "size_key",
        "source",
        "token_side",
        "token_vectors",
        "vectors_before",
    }
)
"""Fields that decide no vector: a corrected citation, or a stricter check, must not empty a cache. A vector's length
stands in its key itself, so the choice of lengths decides none."""


def canonical(row: Any) -> str:
    """Return the fields of a ``Model`` that decide vectors as JSON, one text for equal rows whatever the order of keys.

    Fields at their defaults are left out, so that a new one does not change the digests of all rows. If a default
    changes, ``code`` has to.
    """
    deciding = [one for one in fields(row) if one.name not in NO_VECTORS]
    values = {one.name: _plain(getattr(row, one.name)) for one in deciding}
    for one in deciding:
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if default is not MISSING and values[one.name] == _plain(default):
            del values[one.name]
    return json.dumps(values, sort_keys=True)


def _plain(value: Any) -> Any:
    """Return a value of a row as JSON has it: a slot is not the text of its name, nor a special token its spelling.

    Raises:
        TypeError: It is none.
    """
    if hasattr(value, "plain"):
        return value.plain
    if isinstance(value, Mapping):
        return {" ".join(key) if isinstance(key, tuple) else str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{value!r} is a {type(value).__name__}; expected what a row may hold")


def digest(row: Any) -> str:
    """Return 16 hexadecimal digits of what ``canonical`` returns."""
    return hashlib.sha256(canonical(row).encode()).hexdigest()[:16]
