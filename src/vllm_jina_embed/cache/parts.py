"""A part of a call on its way through the cache: its items, what the store has of them, and what is still missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .._arrays import Floats
from ..embedding.backend import Request
from ..embedding.outcomes import BothKinds, Outcome
from ..errors import InputError
from ..inputs.items import Item
from . import keys

Found = tuple[Floats, bool]
"""A vector, or a multi-vector, and whether its text was cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of vectors: how the store knows it.

    Attributes:
        multi: Whether it is that of multi-vectors.
        length: Of an embedding, or of a row of a multi-vector.
        identity: As of ``keys.identity``.
        kept: Whether the store has it; if not, it is always computed.
    """

    multi: bool
    length: int
    identity: str
    kept: bool = True

    def unpacked(self, key: str, value: Any) -> Found | None:
        """Return what the store's ``value`` is; None where it is missing or damaged."""
        return (keys.unpack_rows if self.multi else keys.unpack)(key, value, self.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """One kind of vectors of a part's items.

    Attributes:
        kind: The kind.
        keys: Of each item; None where an image cannot be opened.
        found: By key, what the store had, or what was computed.
    """

    kind: Kind
    keys: list[str | None] = field(default_factory=list)
    found: dict[str, Found] = field(default_factory=dict)

    def has(self, row: int) -> bool:
        """Return whether an item has its vector."""
        return self.keys[row] in self.found


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the backend is asked for: the kinds that some rows of a part lack."""

    lookups: tuple[Lookup, ...]
    rows: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Neighbouring items of a call.

    Attributes:
        start: The place of the first in the call.
        lookups: One for each kind that the call asks for.
        items: The items.
        errors: Of items whose image cannot be opened.
        failed: By the key of the first kind, why an item has no vector.
    """

    start: int
    lookups: tuple[Lookup, ...]
    items: list[Item] = field(default_factory=list)
    errors: list[InputError] = field(default_factory=list)
    failed: dict[str, InputError] = field(default_factory=dict)

    def questions(self, *, jointly: bool) -> Iterator[Question]:
        """Yield what is missing, each item once; those that lack both kinds ask for both together if ``jointly``."""
        groups: dict[tuple[int, ...], dict[str, int]] = {}
        for row in range(len(self.items)):
            lacking = tuple(place for place, one in enumerate(self.lookups) if not one.has(row))
            for places in [lacking] if jointly else [(place,) for place in lacking]:
                if places and (key := self.lookups[0].keys[row]) is not None:
                    groups.setdefault(places, {}).setdefault(key, row)
        for places, rows in groups.items():
            yield Question(lookups=tuple(self.lookups[place] for place in places), rows=[*rows.values()])

    def request(self, question: Question, request: Request) -> Request:
        """Return ``request`` for what ``question`` asks."""
        items, multi = [self.items[row] for row in question.rows], question.lookups[-1].kind.multi
        if len(question.lookups) == len(self.lookups):
            return replace(request, items=items)
        request = replace(request, items=items, both=False, multi_vector=multi)
        return replace(request, dimensions=None, normalize=None) if multi else request

    def take(self, question: Question, computed: Outcome) -> dict[str, bytes]:
        """Take what was computed of a question; return what is to be stored, by key."""
        errors = {error.positions[0]: error for error in computed.errors}
        new: dict[str, bytes] = {}
        for row, vectors in zip(question.rows, computed.embeddings, strict=True):
            position, first = self.items[row].position, self.lookups[0].keys[row]
            if position in errors and first is not None:
                self.failed[first] = errors[position]
                continue
            truncated = position in computed.truncated
            own = vectors if isinstance(computed.embeddings, BothKinds) else (vectors,)
            for lookup, vector in zip(question.lookups, own, strict=True):
                key = lookup.keys[row]
                assert key is not None
                lookup.found[key] = vector, truncated
                if lookup.kind.kept and np.isfinite(vector).all():
                    new[key] = keys.pack(key, vector, truncated=truncated)
        return new

    def fill(self, outcome: Outcome) -> None:
        """Fill in the part's rows, errors and cut texts."""
        outcome.errors.extend(self.errors)
        for row, item in enumerate(self.items):
            key = self.lookups[0].keys[row]
            if key is None:
                continue
            if key in self.failed:
                outcome.errors.append(self.failed[key].at(item.where, item.position))
                continue
            found = [lookup.found[lookup.keys[row] or ""] for lookup in self.lookups]
            vectors = tuple(vector for vector, _ in found)
            outcome.embeddings[self.start + row] = vectors if len(vectors) > 1 else vectors[0]
            if any(truncated for _, truncated in found):
                outcome.truncated.append(item.position)
        outcome.errors.sort(key=lambda error: error.positions)
