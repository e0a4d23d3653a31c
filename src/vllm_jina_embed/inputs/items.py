"""Sorts a caller's items into texts, images and both, each with its position; nothing is opened or read.

A string is a text, unless the whole of it is a ``data:image/...;base64,`` URI or a reference (``references``). A
mapping or a list of content blocks holds a text, images or both (``contents``). A value that is none of that becomes a
``BadItem``; a list that cannot be read at all is an error at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from ..errors import InputError, unreadable
from . import contents
from .images import ImageInput, LoadedImage, open_to_send
from .policy import MediaPolicy
from .references import Text, both_parts, image_string


@dataclass(frozen=True, slots=True, kw_only=True)
class TextItem:
    """One text and its position in the caller's list."""

    position: int
    where: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageItem:
    """One item of one or more images, and its position in the caller's list.

    Attributes:
        images: As the caller passed them, or a ``LoadedImage`` each once they were opened.
    """

    position: int
    where: str
    images: tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BothItem:
    """A text and one or more images that make one item together, and its position in the caller's list.

    Attributes:
        text: The text, never an image's string.
        images: As of an ``ImageItem``.
    """

    position: int
    where: str
    text: str
    images: tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadItem:
    """A value that is neither text nor image nor both, its position in the caller's list, and what is wrong with it."""

    position: int
    where: str
    error: InputError


Item: TypeAlias = TextItem | ImageItem | BothItem
Checked: TypeAlias = Item | BadItem
EmbedInput: TypeAlias = "ImageInput | Sequence[ImageInput] | Mapping[str, Any] | Sequence[Mapping[str, Any]]"
"""A text, an image, or a list or tuple of images that make one item together; or a text with its images, as
``{"text": ..., "image": ...}`` or as the content blocks of a chat message."""

_IMAGE_TYPES = (os.PathLike, bytes, bytearray, memoryview, BytesIO, Image.Image, np.ndarray)
_AN_IMAGE = "a path, a data URI, encoded bytes, a PIL image, a uint8 array (height, width, 3)"


def texts(values: Iterable[object], *, name: str = "texts") -> list[Checked]:
    """Return one ``TextItem`` per value, a ``BadItem`` where it is not a string, or empty or only white space.

    Raises:
        InputError: ``values`` is not a list.
    """
    return _each(values, name, _text)


def checked_text(value: object, *, name: str = "text") -> str:
    """Return a text that can be embedded, unchanged.

    Raises:
        InputError: It is not a string, or empty, or not valid Unicode.
    """
    try:
        return _text(value, 0, name).text
    except InputError as error:
        raise InputError(error.reason, where=name, kind=error.kind) from None


def images(values: Iterable[object], *, name: str = "images") -> list[Checked]:
    """Return one ``ImageItem`` per value, a ``BadItem`` where no image has its type; a string is a path or a URI.

    Raises:
        InputError: ``values`` is not a list.
    """
    return _each(values, name, _image)


def mixed(values: Iterable[object], *, name: str = "items", start: int = 0) -> list[Checked]:
    """Return one item per value; a string is text unless all of it is an image's data URI or reference.

    Args:
        values: Texts, images, and mappings or content blocks of both.
        name: What errors call the list.
        start: Position of the first value, where ``values`` is a part of a longer stream.

    Raises:
        InputError: ``values`` is not a list.
    """
    return _each(values, name, _of_any_kind, start)


def good(items: Iterable[Checked]) -> list[Item]:
    """Return the items that can be embedded."""
    return [item for item in items if not isinstance(item, BadItem)]


def opened(item: ImageItem | BothItem, policy: MediaPolicy) -> tuple[LoadedImage, ...]:
    """Return the images of an item, each opened unless it was; their files are let go of.

    Raises:
        InputError: Names the position of the item and, where it has several images, of the first bad one in it.
    """
    images = []
    for number, source in enumerate(item.images):
        try:
            images.append(open_to_send(source, policy))
        except InputError as error:
            image = None if len(item.images) == 1 else number
            raise error.at(item.where, item.position, image=image) from None
    return tuple(images)


def with_opened(item: Item, policy: MediaPolicy) -> tuple[Item, int]:
    """Return the item with its images opened, and the pixels of all of them; a text as it is, and 0.

    Raises:
        InputError: As ``opened``.
    """
    if isinstance(item, TextItem):
        return item, 0
    images = opened(item, policy)
    return replace(item, images=images), sum(image.pixel_count for image in images)


def listed(values: Any, name: str) -> Iterable[object]:
    """Return ``values`` itself, or as a list where it is an array of one dimension that holds objects or strings.

    Raises:
        InputError: It is one item, or nothing that gives one item after the other.
    """
    try:
        return _listed(values, name)
    except InputError:
        raise
    except Exception as error:  # of the value's own code
        raise InputError(unreadable(values, error).reason, where=name) from None


def _listed(values: Any, name: str) -> Iterable[object]:
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "OUT":
        found: list[object] = values.tolist()
        return found
    if isinstance(values, np.ndarray) and values.ndim == 4:
        raise InputError(
            f"{name}: got an array of shape {values.shape}, which looks like {len(values)} images; expected a list. "
            "Pass list(array), which makes each image one item."
        )
    if isinstance(values, (str, *_IMAGE_TYPES)) or hasattr(values, "read"):
        raise InputError(
            f"{name}: got one {type(values).__name__}; expected a list. Wrap it: [{name[:-1]}].{_hint(values)}"
        )
    is_table = isinstance(values, Mapping) or hasattr(values, "columns")  # which gives names, not rows
    if is_table or not isinstance(values, Iterable):
        raise InputError(f"{name}: got {type(values).__name__}; expected a list with one {name[:-1]} after the other.")
    return values


def _hint(values: object) -> str:
    """Return what an array may have been meant for that is not one image."""
    if not isinstance(values, np.ndarray) or (values.ndim in (2, 3) and values.dtype.kind not in "OUT"):
        return ""
    return f" An array of shape {values.shape} and dtype {values.dtype} is not one image; for texts pass a list."


def _each(
    values: Iterable[object], name: str, read: Callable[[object, int, str], Item], start: int = 0
) -> list[Checked]:
    items: list[Checked] = []
    for position, value in enumerate(listed(values, name), start):
        where = f"{name}[{position}]"
        try:
            if isinstance(value, InputError):  # an adapter knows already that there is nothing, and why
                raise value
            items.append(read(value, position, where))
        except Exception as failure:  # also of the value's own code
            error = failure if isinstance(failure, InputError) else unreadable(value, failure)
            place = error.where if error is value else where
            items.append(BadItem(position=position, where=where, error=error.at(place, position)))
    return items


def _text(value: object, position: int, where: str) -> TextItem:
    if not isinstance(value, str):
        raise InputError(f"got {type(value).__name__}; expected a string.")
    if not value.strip():
        raise InputError(f"got an empty text ({value[:20]!r}); there is nothing to embed.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"got a text that is not valid Unicode ({error.reason} at character {error.start}). Clean it "
            "first, for example with text.encode('utf-8', 'replace').decode()."
        ) from None
    return TextItem(position=position, where=where, text=str.__str__(value))


def _image(value: object, position: int, where: str, *, or_text: bool = False) -> ImageItem:
    images = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not images:
        raise InputError("got an empty list of images.")
    for image in images:
        if not isinstance(image, (str, *_IMAGE_TYPES)) and not hasattr(image, "read"):
            inside = f"a {type(value).__name__} that holds {type(image).__name__}"
            got = inside if isinstance(value, list | tuple) else type(image).__name__
            text = "a text as a string, or an image: " if or_text else ""
            raise InputError(f"got {got}; expected {text}{_AN_IMAGE}, or a list of those for one item.")
    return ImageItem(position=position, where=where, images=images)


def _both(parts: Mapping[str, object], position: int, where: str) -> Item:
    """Return the item of what stands under ``text``, ``image`` or both."""
    if "image" not in parts:
        return _text(parts["text"], position, where)
    images = _image(parts["image"], position, where)
    if "text" not in parts:
        return images
    text = _text(parts["text"], position, where)
    return BothItem(position=position, where=where, text=text.text, images=images.images)


def _of_any_kind(value: object, position: int, where: str) -> Item:
    if isinstance(value, Text):
        return _text(value, position, where)
    if isinstance(value, str):
        if (parts := both_parts(value)) is not None:
            return _both(dict(zip(contents.KEYS, parts, strict=True)), position, where)
        image = image_string(value)
        return _text(value, position, where) if image is None else _image(image, position, where)
    if isinstance(value, Mapping):
        return _both(contents.parts(value), position, where)
    if isinstance(value, list | tuple):
        if any(isinstance(block, Mapping) for block in value):
            return _both(contents.block_parts(value), position, where)
        for image in value:
            if isinstance(image, str) and image_string(image) is None:
                raise InputError(
                    f"got a {type(value).__name__} that holds a text; one item is one text or some images. "
                    "Pass a pathlib.Path to name a file, or {'text': ..., 'image': ...} for both together."
                )
    return _image(value, position, where, or_text=True)
