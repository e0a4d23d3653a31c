"""Read a stream of items in batches of bounded memory; each image is opened once.

An item without an id gets one from its content and payload, always the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, cast

import numpy as np

from .._arrays import Floats
from ..cache import keys as cache_keys
from ..errors import InputError
from ..inputs import items as inputs
from ..inputs.file_names import valid_unicode
from ..inputs.images import MediaPolicy
from ..inputs.items import BadItem, Checked, EmbedInput, Item, with_opened
from ..pooling.token_reduction import pool_tokens
from ..scoring.maxsim import blocks

ITEMS = 64
"""Items whose embeddings and multi-vectors are computed and held together."""
PIXELS = 32_000_000
"""Pixels of opened images, 0.1 GB, after which no further item joins a batch."""
MOST_NUMBERS = 1024 * 1024
"""Numbers that Qdrant takes in one multi-vector (MAX_MULTIVECTOR_FLATTENED_LEN in its lib/common); also the most of
one request, which as JSON stays under a server's limit of 32 MB."""

Payload = Mapping[str, Any]
_END: Any = object()


@dataclass(slots=True, kw_only=True)
class Batch:
    """Items that are embedded together, with their images opened."""

    items: list[Checked] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    payloads: list[Payload] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Rows:
    """Rows for the collection: lists of the same length, without the bad items."""

    ids: list[str]
    payloads: list[Payload]
    embeddings: list[Floats]
    multi_vectors: list[Floats]

    def parts(self) -> Iterator[Rows]:
        """Yield neighbouring rows that fit into one request."""
        numbers = [rows.size for rows in self.multi_vectors]
        for first, last in blocks(numbers, MOST_NUMBERS):
            yield Rows(
                ids=self.ids[first:last],
                payloads=self.payloads[first:last],
                embeddings=self.embeddings[first:last],
                multi_vectors=self.multi_vectors[first:last],
            )


def batches(
    items: Iterable[EmbedInput],
    payloads: Iterable[Payload] | None,
    ids: Iterable[str | None] | None,
    media: MediaPolicy,
) -> Iterator[Batch]:
    """Yield all items in order, with their payloads and ids; each stream is read as it is needed.

    Raises:
        InputError: ``items`` is not a list, or the streams have different lengths.
    """
    items = cast(Iterable[EmbedInput], inputs.listed(items, "items"))
    batch, pixels = Batch(), 0
    for position, (value, payload, name) in enumerate(_together(items, payloads, ids)):
        (item,) = inputs.mixed([value], start=position)
        item = _with_valid_details(item, payload, name)
        item, size = _opened(item, media)
        batch.items.append(item)
        batch.payloads.append(payload)
        batch.ids.append(_name(item, payload) if name is None and not isinstance(item, BadItem) else name or "")
        pixels += size
        if len(batch.items) == ITEMS or pixels > PIXELS:
            yield batch
            batch, pixels = Batch(), 0
    if batch.items:
        yield batch


def rows_of(
    batch: Batch, embeddings: Floats, multi_vectors: Sequence[Floats], pool_factor: int, most: int | None
) -> tuple[Rows, list[InputError]]:
    """Return the rows of a batch, and the errors of items that have more than ``most`` numbers, which Qdrant refuses.

    Items without a vector (``on_error="skip"``) are left out; the embedder has warned about them.
    """
    good = Rows(ids=[], payloads=[], embeddings=[], multi_vectors=[])
    errors: list[InputError] = []
    for item, name, payload, embedding, rows in zip(
        batch.items, batch.ids, batch.payloads, embeddings, multi_vectors, strict=True
    ):
        if not len(rows) or not np.isfinite(embedding).all():
            continue
        pooled = pool_tokens(rows, pool_factor)
        if most is not None and pooled.size > most:
            errors.append(_too_large(item, pooled))
            continue
        good.ids.append(name)
        good.payloads.append(payload)
        good.embeddings.append(embedding)
        good.multi_vectors.append(pooled)
    return good, errors


def _with_valid_details(item: Checked, payload: Any, name: Any) -> Checked:
    """Return the item, as a bad one if its payload or its id is not valid."""
    try:
        if not isinstance(payload, Mapping) or not all(isinstance(key, str) for key in payload):
            raise InputError(f"its payload is a {type(payload).__name__}; expected a mapping whose keys are strings.")
        if name is not None:
            check_id(name)
    except InputError as error:
        bad = BadItem(position=item.position, where=item.where, error=error.at(item.where, item.position))
        return item if isinstance(item, BadItem) else bad
    return item


def check_id(name: object) -> None:
    """Check the id of an item.

    Raises:
        InputError: It is not a string of valid Unicode.
    """
    if not isinstance(name, str) or name != valid_unicode(name):
        raise InputError(f"got the id {repr(name)[:80]} ({type(name).__name__}); expected a string of valid Unicode.")


def _too_large(item: Checked, rows: Floats) -> InputError:
    return InputError(
        f"its multi-vector has {len(rows)} rows of {rows.shape[1]} numbers; Qdrant takes {MOST_NUMBERS} numbers. Cut "
        "the text into pieces, or set max_length or Storage(pool_factor=...).",
        where=item.where,
        positions=[item.position],
    )


def _together(
    items: Iterable[EmbedInput], payloads: Iterable[Payload] | None, ids: Iterable[str | None] | None
) -> Iterator[tuple[EmbedInput, Payload, str | None]]:
    """Yield each item with its payload and id, where there are any."""
    arguments = {"items": items, "payloads": payloads, "ids": ids}
    streams = {name: inputs.listed(stream, name) for name, stream in arguments.items() if stream is not None}
    for position, values in enumerate(zip_longest(*streams.values(), fillvalue=_END)):
        if any(value is _END for value in values):
            short = ", ".join(name for name, value in zip(streams, values, strict=True) if value is _END)
            raise InputError(f"{short} ended after {position} items, and others did not; pass one per item.")
        given_values: dict[str, Any] = dict(zip(streams, values, strict=True))
        yield given_values["items"], given_values.get("payloads", {}), given_values.get("ids")


def _opened(item: Checked, media: MediaPolicy) -> tuple[Checked, int]:
    """Return the item with its images opened, and their pixels; a bad item where one cannot be."""
    if isinstance(item, BadItem):
        return item, 0
    try:
        return with_opened(item, media)
    except InputError as error:
        return BadItem(position=item.position, where=item.where, error=error), 0


def _name(item: Item, payload: Payload) -> str:
    """Return the id of an item without one: the hash of its content and payload."""
    content = json.dumps([cache_keys.content(item), payload], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()
