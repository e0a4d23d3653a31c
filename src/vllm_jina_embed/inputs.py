"""What callers may pass, told apart without any I/O.

Enters: a caller's list. Leaves: ``TextItem`` and ``ImageItem`` objects that know their position.
This file refuses to open pictures (``media``) and to know prompts (``prompts``).
A string is text; only a string that is wholly a ``data:image/...;base64,`` URI or a reference is an image, white space
around it aside, and one that is nearly that is an error (``image_strings``). A ``Text`` is a text whatever it says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TypeAlias

import numpy as np
from PIL import Image

from .errors import InputError
from .image_strings import Text, picture_string
from .media import ImageInput


@dataclass(frozen=True, slots=True, kw_only=True)
class TextItem:
    """One text and its position in the caller's list."""

    position: int
    where: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageItem:
    """One item of one or more pictures, not opened yet, and its position in the caller's list."""

    position: int
    where: str
    images: tuple[object, ...]


Item: TypeAlias = TextItem | ImageItem
EmbedInput: TypeAlias = "ImageInput | Sequence[ImageInput]"
"""A text, a picture, or a list or tuple of pictures that make one item together."""

_PICTURE_TYPES = (os.PathLike, bytes, bytearray, memoryview, BytesIO, Image.Image, np.ndarray)


def texts(values: Iterable[object], *, name: str = "texts") -> list[Item]:
    """Return one ``TextItem`` per value.

    Raises:
        InputError: A value is no string, or is empty or only white space; names every such position.
    """
    return _each(values, name, _text)


def images(values: Iterable[object], *, name: str = "images") -> list[Item]:
    """Return one ``ImageItem`` per value; here a string is a path or a data URI.

    Raises:
        InputError: A value is of no type that a picture can have; names every such position.
    """
    return _each(values, name, _image)


def mixed(values: Iterable[object], *, name: str = "items", start: int = 0) -> list[Item]:
    """Return one item per value; a string is text unless all of it is a picture's data URI or reference.

    Args:
        values: Texts and pictures.
        name: What errors call the list.
        start: Position of the first value, where ``values`` is a part of a longer stream.

    Raises:
        InputError: A value is neither text nor picture; names every such position.
    """
    return _each(values, name, _text_or_image, start)


def _each(values: Iterable[object], name: str, read: Callable[[object, int, str], Item], start: int = 0) -> list[Item]:
    if isinstance(values, (str, *_PICTURE_TYPES)):
        raise InputError(f"{name}: got one {type(values).__name__}; expected a list. Wrap it: [{name[:-1]}].")
    items: list[Item] = []
    errors: list[InputError] = []
    for position, value in enumerate(values, start):
        try:
            items.append(read(value, position, f"{name}[{position}]"))
        except InputError as error:
            named = error if error.positions else InputError(f"{name}[{position}]: {error}", positions=[position])
            errors.append(named)
    if errors:
        raise InputError.collect(errors, total=len(items) + len(errors))
    return items


def _text(value: object, position: int, where: str) -> Item:
    if not isinstance(value, str):
        raise InputError(f"{where}: got {type(value).__name__}; expected a string.", positions=[position])
    if not value.strip():
        raise InputError(
            f"{where}: got an empty text ({value[:20]!r}); there is nothing to embed.", positions=[position]
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where}: got a text that is not valid Unicode ({error.reason} at character {error.start}). Clean it "
            "first, for example with text.encode('utf-8', 'replace').decode().",
            positions=[position],
        ) from None
    return TextItem(position=position, where=where, text=str.__str__(value))


def _image(value: object, position: int, where: str) -> Item:
    pictures = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not pictures:
        raise InputError(f"{where}: got an empty list of pictures.", positions=[position])
    for picture in pictures:
        if not isinstance(picture, (str, *_PICTURE_TYPES)) and not hasattr(picture, "read"):
            raise InputError(
                f"{where}: got {type(picture).__name__}; expected a path, a data URI, encoded bytes, a PIL image, "
                "a uint8 array (height, width, 3), or a list of those for one item.",
                positions=[position],
            )
    return ImageItem(position=position, where=where, images=pictures)


def _text_or_image(value: object, position: int, where: str) -> Item:
    if isinstance(value, Text):
        return _text(value, position, where)
    if isinstance(value, str):
        picture = picture_string(value)
        return _text(value, position, where) if picture is None else _image(picture, position, where)
    if isinstance(value, list | tuple):
        for picture in value:
            if isinstance(picture, str) and picture_string(picture) is None:
                raise InputError(
                    f"{where}: got a {type(value).__name__} that holds a text; one item is one text or some pictures. "
                    "Pass a pathlib.Path to name a file.",
                    positions=[position],
                )
    return _image(value, position, where)
