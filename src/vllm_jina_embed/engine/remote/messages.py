"""Converts prompts to the JSON bodies of HTTP requests, and decoded JSON answers to float32 arrays.

Texts travel as token ids, so they stay text; images as the PNG or JPEG file that they are given as, if the server
decodes it to the same pixels, and else as lossless PNG. Vectors come back as base64 of float32.
Source of the bodies: vLLM 0.32, entrypoints/pooling/{embed,pooling}/protocol.py.
"""

from __future__ import annotations

import asyncio
import base64
import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, Literal

import numpy as np
from PIL import Image

from ..._arrays import Floats
from ...checkpoints.values import is_name
from ...errors import ConfigError, EngineError, InputError
from ...inputs import encoding
from ...pooling.single_vector import NORM_LIMIT, norm_error
from ...prompts.base import Files, Prompt
from ..plugin_contract import PROMPT_KEY
from .server_facts import MOST_TOKENS, is_within

ENCODING = {"encoding_format": "base64", "embed_dtype": "float32", "endianness": "little"}
Kind = Literal["embed", "multi", "states", "logit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorRequest:
    """What is asked for a prompt: texts of equal ones travel in one HTTP request."""

    kind: Kind
    task: str
    dimensions: int = 0
    urgent: bool = False
    normalize: bool = True

    @property
    def options(self) -> dict[str, Any]:
        """The part of a body that shapes embeddings; vLLM normalises them by default."""
        return {"dimensions": self.dimensions} | ({} if self.normalize else {"use_activation": False})

    def checked(self, vector: Floats, where: str) -> Floats:
        """Return an embedding itself.

        Raises:
            EngineError: Its L2 norm is not 1, and one of norm 1 was requested.
        """
        return unit(vector, where) if self.normalize else vector


class Question:
    """The part of a body that holds the prompts, made once for all servers that are asked."""

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self._prompts = prompts
        self._made: dict[bool, dict[str, Any]] = {}

    async def body(self, *, as_files: bool) -> dict[str, Any]:
        """Return what ``question`` does; images are encoded in a thread."""
        as_files = as_files and any(file for prompt in self._prompts for file in prompt.files)
        if as_files not in self._made:
            has_images = any(prompt.images for prompt in self._prompts)
            make = partial(question, self._prompts, as_files=as_files)
            self._made[as_files] = await asyncio.to_thread(make) if has_images else make()
        return self._made[as_files]


def question(prompts: Sequence[Prompt], *, as_files: bool = False) -> dict[str, Any]:
    """Return the part of a body that holds the prompts: texts together, or one item with images.

    With ``as_files``, images travel as the files that they were given as, if there are some.
    A prompt with images travels as its images and its token ids. A server of version 0.1, or a plain one, ignores the
    ids and makes the prompt of images by its chat template.
    """
    if prompts[0].images:
        (prompt,) = prompts
        return {
            "messages": messages(prompt.images, prompt.files if as_files else ()),
            "add_generation_prompt": False,
            "chat_template_kwargs": {PROMPT_KEY: {"token_ids": list(prompt.token_ids)}},
        }
    return {"input": [list(prompt.token_ids) for prompt in prompts]}


def messages(images: Sequence[Image.Image], files: Files = ()) -> list[dict[str, Any]]:
    """Return the chat messages of one item with images; the rest of its prompt is the server's, or travels as ids."""
    uris = [
        data_uri(image) if file is None else encoding.data_uri(*file)
        for image, file in zip(images, files or (None,) * len(images), strict=True)
    ]
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": uri}} for uri in uris]
    return [{"role": "user", "content": parts}]


def data_uri(image: Image.Image) -> str:
    """Return an RGB image as a PNG data URI: the same pixels, compressed quickly."""
    file = BytesIO()
    image.save(file, "PNG", compress_level=1)
    return encoding.data_uri(file.getvalue(), "image/png")


def answers(told: Any, name: str, count: int, *, where: str = "the server") -> list[Floats]:
    """Return the flat float32 arrays of an answer, in the order of the prompts.

    Args:
        told: The decoded JSON.
        name: Where each entry holds its numbers: ``embedding`` or ``data``.
        count: How many prompts were sent.
        where: Who answered, for the message.

    Raises:
        EngineError: The answer is not what vLLM gives; names the entry.
        InputError: Some numbers are not finite.
    """
    entries = told.get("data") if isinstance(told, dict) else None
    if not isinstance(entries, list) or len(entries) != count:
        got = f"{len(entries)} entries" if isinstance(entries, list) else reprlib.repr(told)
        raise EngineError(f"{where}: the server gave no answer for each of {count} prompts (got {got}).")
    found: dict[int, Floats] = {}
    for place, entry in enumerate(entries):
        index = entry.get("index") if isinstance(entry, dict) else None
        if type(index) is not int or not 0 <= index < count or index in found:
            what = f"index {reprlib.repr(index)}" + " twice" * (type(index) is int and index in found)
            raise EngineError(f"{where}: data[{place}]: got {what}; expected each of 0 to {count - 1} once.")
        found[index] = _numbers(entry.get(name), f"{where}: data[{place}].{name}")
    if not all(np.isfinite(array).all() for array in found.values()):
        raise InputError(
            f"{where}: the model's numbers overflowed on this item; use dtype bfloat16 or float32 on the server."
        )
    return [found[index] for index in range(count)]


def image_prompt_tokens(told: Any, prompts: Sequence[Prompt]) -> int:
    """Return how many tokens a server counted in the prompt of images that it answered; 0 for texts, or if it is mute.

    Args:
        told: The decoded JSON.
        prompts: What was sent: texts, or one item with images.
    """
    usage = told.get("usage") if isinstance(told, dict) else None
    count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return count if prompts[0].images and is_within(count, MOST_TOKENS) else 0


def unit(rows: Floats, where: str) -> Floats:
    """Return ``rows`` ``(..., n)`` themselves.

    Raises:
        EngineError: One of them does not have an L2 norm of 1.
    """
    off = norm_error(rows)
    if not (off <= NORM_LIMIT).all():
        raise EngineError(
            f"{where}: got a vector whose L2 norm is {float(off.max()):.3g} off; expected a norm of 1, within "
            f"{NORM_LIMIT:g}. Does something between here and vLLM change its answers?"
        )
    return rows


def model_of(told: Any, where: str) -> tuple[str, int]:
    """Return the name and the longest prompt, in tokens, of the model that ``/v1/models`` tells.

    Raises:
        ConfigError: There is none.
    """
    entries = told.get("data") if isinstance(told, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("parent") is None:
            name, length = entry.get("id"), entry.get("max_model_len")
            if is_name(name) and is_within(length, MOST_TOKENS):
                return name, length
    raise ConfigError(f"{where}: expected a vLLM server's model; got {reprlib.repr(told)}.")


def _numbers(encoded: Any, where: str) -> Floats:
    try:
        if isinstance(encoded, str):
            return np.frombuffer(base64.b64decode(encoded, validate=True), dtype="<f4").astype(np.float32)
    except ValueError:
        pass  # not base64, or not of whole numbers
    raise EngineError(f"{where}: got {reprlib.repr(encoded)}; expected float32 numbers in base64.")


def expanded(prompt: Prompt, *, min_pixels: int, max_pixels: int, side: int) -> tuple[int, ...]:
    """Return the prompt's token ids with every image's token repeated as the model's processor does."""
    before, after = prompt.around
    ids = list(prompt.token_ids[:before])
    for number, image in enumerate(prompt.images):
        start, pad, end = prompt.token_ids[before + 3 * number : before + 3 * number + 3]
        tokens = image_tokens(*image.size, min_pixels=min_pixels, max_pixels=max_pixels, side=side)
        ids += [start, *[pad] * tokens, end]
    return (*ids, *prompt.token_ids[len(prompt.token_ids) - after :]) if prompt.images else prompt.token_ids


def image_tokens(width: int, height: int, *, min_pixels: int, max_pixels: int, side: int) -> int:
    """Return how many tokens an image takes, each for a square of ``side`` pixels.

    Source: smart_resize in transformers' image_processing_qwen2_vl.py.
    """
    rows, columns = round(height / side), round(width / side)
    if rows * columns * side**2 > max_pixels:
        beta = math.sqrt((height * width) / max_pixels)
        rows, columns = max(1, math.floor(height / beta / side)), max(1, math.floor(width / beta / side))
    elif rows * columns * side**2 < min_pixels:
        beta = math.sqrt(min_pixels / (height * width))
        rows, columns = math.ceil(height * beta / side), math.ceil(width * beta / side)
    return rows * columns
