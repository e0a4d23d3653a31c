"""Read items that hold a text and images under names: a mapping, or the content blocks of a chat message.

A string under ``text`` is a text whatever it looks like. A string under ``image`` is a path or a data URI, as in
``embed_images``. Blocks may come from elsewhere, so their URLs are data URIs or references and never name a file.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from itertools import islice

from ..errors import InputError
from .references import image_string, is_data_uri

KEYS = ("text", "image")
"""What an item may hold, at least one of them."""
TEXTS = ("text", "input_text")
"""Types of blocks of text: LangChain's and OpenAI's, and that of OpenAI's Responses API."""
IMAGES = ("image", "image_url", "input_image")
"""Types of blocks of one image: LangChain's, and those of OpenAI's two APIs."""
_SHOWN = 5
_PROVIDERS = "which only its provider can read. Pass the image itself."


def parts(value: Mapping[object, object]) -> dict[str, object]:
    """Return what an item holds under ``text`` and ``image``, unchecked.

    Raises:
        InputError: It has other keys, or none.
    """
    keys = list(islice(value, _SHOWN + 1))
    if keys and all(isinstance(key, str) and key in KEYS for key in keys):
        return {str(key): value[key] for key in keys}
    more = ", ..." if len(keys) > _SHOWN else ""
    shown = ", ".join(reprlib.repr(key) for key in keys[:_SHOWN]) + more
    hint = ""
    if "type" in keys:
        hint = " Content blocks stand in a list: [block, ...]."
    elif "content" in keys:
        hint = " Of a message, pass its content."
    what = f"with the keys {shown}" if keys else "without keys"
    raise InputError(f"got a {type(value).__name__} {what}; expected text, image or both.{hint}")


def block_parts(blocks: Sequence[object]) -> dict[str, object]:
    """Return the joined text of content blocks under ``text``, and their images as strings under ``image``, unchecked.

    Texts are joined as ``BaseMessage.text`` of LangChain and the chat template of our server do: with nothing between.
    Details that say nothing of the content, such as ``id`` or ``detail``, are left aside.

    Raises:
        InputError: A block is not one of a text or an image, or its image is elsewhere; names it.
    """
    texts: list[str] = []
    images: list[str] = []
    for number, block in enumerate(blocks):
        try:
            if not isinstance(block, Mapping):
                raise InputError(f"got {type(block).__name__} beside content blocks; expected blocks alone.")
            kind = block.get("type")
            if kind in TEXTS:
                texts.append(_string(block, "text"))
            elif kind in IMAGES:
                images.append(_image(block))
            else:
                expected = ", ".join((*TEXTS, *IMAGES))
                raise InputError(f"got the type {reprlib.repr(kind)}; expected one of {expected}.")
        except InputError as error:
            raise InputError(f"block {number}: {error.reason}") from None
    return {**({"text": "".join(texts)} if texts else {}), **({"image": images} if images else {})}


def _image(block: Mapping[str, object]) -> str:
    """Return a block's image as a data URI or a reference; nothing is decoded."""
    if block.get("file_id") is not None or block.get("source_type") == "id":
        raise InputError(f"got the id of a file, {_PROVIDERS}")
    if block["type"] != "image":
        place = block.get("image_url")
        return _url(_string(place, "url") if isinstance(place, Mapping) else _string(block, "image_url"))
    sources = [name for name in ("url", "base64", "data") if block.get(name) is not None]
    if len(sources) != 1:
        got = " and ".join(sources) or "no image"
        raise InputError(f"got {got}; expected url, or base64 and mime_type.")
    if sources == ["url"]:
        return _url(_string(block, "url"))
    uri = f"data:{_string(block, 'mime_type')};base64,{_string(block, sources[0])}"
    if not is_data_uri(uri):
        raise InputError(
            f"got mime_type={reprlib.repr(block['mime_type'])} and {len(uri)} characters of data; expected image/png "
            "or the like, and base64."
        )
    return uri


def _url(url: str) -> str:
    image = image_string(url)
    if image is None:
        raise InputError(
            f"got the URL {url[:100]!r}; in a block it has to be a data:image/...;base64, URI or a reference. Nothing "
            "is fetched, and a block opens no file: pass {'image': pathlib.Path(...)} for one."
        )
    return image


def _string(block: Mapping[str, object], name: str) -> str:
    value = block.get(name)
    if not isinstance(value, str):
        raise InputError(f"got {type(value).__name__} as {name}; expected a string.")
    return value
