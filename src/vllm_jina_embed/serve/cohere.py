"""What a client sends to ``/v2/embed``, read and checked; nothing is opened or computed.

Source: docs.cohere.com/reference/embed; vLLM 0.32, entrypoints/pooling/embed/protocol.py, CohereEmbedRequest, which has
``priority`` too.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError, InputError
from ..prompts.base import SPELLINGS, Truncate
from .embedding_types import TYPES

FIELDS = (
    "model", "input_type", "texts", "images", "inputs", "max_tokens", "output_dimension", "embedding_types", "truncate",
    "priority",
)  # fmt: skip
LISTS = ("texts", "images", "inputs")
"""What holds the items: one of them."""
LARGEST = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One item as it was sent.

    Attributes:
        where: Its place in the body, such as ``inputs[2]``.
        text: Its text; empty where it has none.
        urls: Where its images are.
    """

    where: str
    text: str
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """A body of ``/v2/embed``.

    Attributes:
        inputs: The items.
        texts: The texts, to send back; None where the items have images or blocks.
        embedding_types: Which of ``TYPES`` to answer.
        truncate: Which end of a longer text to cut, or ``error``.
    """

    inputs: tuple[Input, ...]
    texts: list[str] | None
    model: str | None
    input_type: str | None
    output_dimension: int | None
    embedding_types: tuple[str, ...]
    truncate: Truncate
    max_tokens: int | None
    priority: int


def read(content: bytes) -> EmbedRequest:
    """Return the request of a body.

    Raises:
        ConfigError: A field has a value that means nothing, or is unknown.
        InputError: An item is none.
        RecursionError: It is nested too deeply.
    """
    try:
        body = json.loads(content)
    except ValueError as error:  # also of letters that are not UTF-8, and of numbers of thousands of digits
        raise ConfigError(f"the body is no JSON ({error}).") from None
    if not isinstance(body, dict):
        raise ConfigError(f"the body is a {_kind(body)}; expected an object.")
    told = {name: value for name, value in body.items() if value is not None}
    if unknown := sorted(told.keys() - {*FIELDS}):
        raise ConfigError(f"unknown field {reprlib.repr(unknown[0])}; known are {', '.join(FIELDS)}.")
    lists = [name for name in LISTS if name in told]
    if len(lists) != 1:
        raise ConfigError(f"got {' and '.join(lists) or 'no items'}; expected one of {', '.join(LISTS)}.")
    (name,) = lists
    values = told[name]
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{name}: got {_shown(values)}; expected a list of at least one.")
    inputs = tuple(_input(name, value, f"{name}[{place}]") for place, value in enumerate(values))
    truncate = told.get("truncate", "END")
    if not isinstance(truncate, str) or truncate not in SPELLINGS:
        raise ConfigError(f"truncate: got {_shown(truncate)}; expected one of {', '.join(SPELLINGS)}.")
    return EmbedRequest(
        inputs=inputs,
        texts=values if name == "texts" else None,
        model=_string(told, "model"),
        input_type=_string(told, "input_type"),
        output_dimension=_whole(told, "output_dimension", least=1),
        embedding_types=_types(told.get("embedding_types", ["float"])),
        truncate=SPELLINGS[truncate],
        max_tokens=_whole(told, "max_tokens", least=1),
        priority=_whole(told, "priority", least=-LARGEST) or 0,
    )


def _input(name: str, value: Any, where: str) -> Input:
    if name == "inputs":
        return _of_blocks(value, where)
    if not isinstance(value, str):
        raise InputError(f"got {_shown(value)}; expected a string.", where=where)
    if name == "images":
        return Input(where=where, text="", urls=(value,))
    return Input(where=where, text=value)


def _of_blocks(value: Any, where: str) -> Input:
    """Return an item of content blocks; texts are joined with nothing between."""
    blocks = value.get("content") if isinstance(value, Mapping) else None
    if not isinstance(blocks, list) or not blocks:
        raise InputError(f"got {_shown(value)}; expected an object with content, a list of blocks.", where=where)
    texts, urls = [], []
    for number, block in enumerate(blocks):
        kind = block.get("type") if isinstance(block, Mapping) else None
        if kind == "text" and isinstance(block.get("text"), str):
            texts.append(block["text"])
            continue
        place = block.get("image_url") if kind == "image_url" else None
        url = place.get("url") if isinstance(place, Mapping) else None
        if not isinstance(url, str):
            raise InputError(
                f"got {_shown(block)}; expected {{'type': 'text', 'text': ...}} or "
                "{'type': 'image_url', 'image_url': {'url': ...}}.",
                where=f"{where}.content[{number}]",
            )
        urls.append(url)
    return Input(where=where, text="".join(texts), urls=tuple(urls))


def _types(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ConfigError(f"embedding_types: got {_shown(value)}; expected a list of some of {', '.join(TYPES)}.")
    for kind in value:
        if not isinstance(kind, str) or kind not in TYPES:
            raise ConfigError(f"embedding_types: got {_shown(kind)}; expected some of {', '.join(TYPES)}.")
    return tuple(dict.fromkeys(value))


def _string(told: Mapping[str, Any], name: str) -> str | None:
    value = told.get(name)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{name}: got {_shown(value)}; expected a string.")
    return value


def _whole(told: Mapping[str, Any], name: str, *, least: int) -> int | None:
    value = told.get(name)
    if value is not None and (type(value) is not int or not least <= value < LARGEST):
        raise ConfigError(f"{name}: got {_shown(value)}; expected a whole number from {least} on.")
    return value


def _kind(value: Any) -> str:
    return {list: "list", str: "string", int: "number", float: "number", bool: "boolean"}.get(type(value), "null")


def _shown(value: Any) -> str:
    """Return a value for a message; an image's data is not repeated."""
    return reprlib.repr(value)
