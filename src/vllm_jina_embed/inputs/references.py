"""Tell strings that are images from strings that are texts, by their form alone: no file is opened.

Two forms are images where a string may also be a text: a strict data URI, and a reference (``sources``). A third is a
text with an image in one of those forms. Near misses are errors, never texts: a string that begins like one of them, or
that is one in quotes or brackets. A text that quotes one is a text.
"""

from __future__ import annotations

import base64
import os
import re
import string
import urllib.parse

from ..errors import InputError

SCHEME = "vllm-jina-embed:image:"
"""How references begin."""
BOTH = "vllm-jina-embed:both:"
"""How the string of a text with an image begins."""
DIGITS = 32
"""Hex digits of a reference's hash."""
_BEGINNINGS = {
    "image/png": rb"\x89PNG\r\n\x1a\n",
    "image/jpeg": rb"\xff\xd8\xff",
    "image/gif": rb"GIF8[79]a",
    "image/webp": rb"RIFF.{4}WEBP",
    "image/bmp": rb"BM.{4}\0{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}",  # reserved zeros, size of the next header
    "image/tiff": rb"II\*\0|MM\0\*",
    "image/avif": rb".{4}ftypavi[fs]",
    "image/heic": rb".{4}ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1)",
}
_MEDIA_TYPES = {name: re.compile(beginning, re.DOTALL) for name, beginning in _BEGINNINGS.items()}
_BASE64 = re.compile(r"[A-Za-z0-9+/]*")

# Line breaks as MIME writes them, but no spaces: "data:image/png;base64,AAAA and more" is a text.
# Possessive (*+), so that a long text that only begins like one is refused in linear time.
_DATA_URI = re.compile(
    r"data:image/[a-z0-9.+-]+;base64,(?P<payload>[a-z0-9+/\r\n]*+={0,2})\s*+", re.IGNORECASE | re.ASCII
)
_REFERENCE = re.compile(rf"{SCHEME}(?P<path>[A-Za-z0-9_.~%/-]+)#(?P<digest>[0-9a-f]{{{DIGITS}}})")

_BOTH = re.compile(rf"{BOTH}(?P<text>(?:[A-Za-z0-9_.~-]|%[0-9A-F]{{2}})++),(?P<image>.++)", re.DOTALL)

_STRICT_HEAD = re.compile(r"data:image/[a-z0-9.+-]+;base64", re.IGNORECASE | re.ASCII)

# Near misses. All of these look at the first _HEAD characters alone.
_HEAD = 600
_BEGINNING = re.compile(r"data(?::|%3a)image(?:/|%2f|;)", re.IGNORECASE)
_PARAMETERS = re.compile(  # possessive, and %3b and %2c always separate: whatever it says is matched in one way alone
    r"data(?::|%3a)image(?:/|%2f|;)[^\s,;%]*+"
    r'(?:\s*+(?:;|%3b)\s*+(?:(?!%3b|%2c)[^\s,;=])*+(?:=(?:"[^"]*+"|(?:(?!%3b|%2c)[^,;"])*+))?+)*+'
    r"\s*+(?:,|%2c)",
    re.IGNORECASE,
)
_MARKED = re.compile(
    r"data\s{0,9}:\s{0,9}(?P<kind>[^,;]{0,100})(?:;[^,;]{0,100}){0,9};\s{0,9}base64\s{0,9},\s{0,9}",
    re.IGNORECASE,
)
_LIKE_REFERENCE = re.compile(
    r"vllm-jina-embed(?::|%3a)(?:image(?::|%3a)(?!\s)|both(?::|%3a)(?=[\w.~%,-]|$))", re.IGNORECASE
)
_QUOTES, _BRACKETS = "\\\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb", "<>()[]{}"
_OPENING = re.compile(rf"(?:(?:!\[\]\(|[{re.escape(_QUOTES + _BRACKETS)}])\s{{0,9}}){{1,9}}")
"""What stands in front of a string in JSON, Markdown, HTML or prose; ``![](...)`` is an image of Markdown."""
_WORD = re.compile(rf"[^\s{re.escape(_QUOTES + _BRACKETS)}]+")
_CLOSING = f"{_QUOTES}{_BRACKETS},;.{string.whitespace}"
_PIECE = re.compile(r"(?<!\S)\S{24,}")
_LONG, _VERY_LONG = 24, 64
"""Characters without white space that are data behind a proper beginning, and behind any beginning."""
_BLANK = string.whitespace + "\ufeff\u200b\u200c\u200d\u2060\0"
"""What is not seen in front of a string: white space, byte order marks, spaces of no width, NULs."""


class Text(str):
    """A string that is a text whatever it looks like: the content of a file or node that nobody made an image."""

    __slots__ = ()


def is_data_uri(text: str) -> bool:
    """Tell whether the whole of ``text`` is a strict ``data:image/...;base64,`` URI."""
    return text[:11].lower().startswith("data:image/") and _DATA_URI.fullmatch(text) is not None


def is_reference(text: str) -> bool:
    """Tell whether the whole of ``text`` has the form that ``sources.reference`` makes."""
    return text.startswith(SCHEME) and _REFERENCE.fullmatch(text) is not None


def both_string(text: str, image: str) -> str:
    """Return a text and the data URI or reference of its image as one string, for where only a string can stand."""
    return f"{BOTH}{urllib.parse.quote(text, safe='')},{image}"


def both_parts(text: str) -> tuple[str, str] | None:
    """Return the text and the image's string of what ``both_string`` makes, None for any other string.

    It gives nobody more than the image's string alone: a reference in it is checked as ever when it is opened.
    """
    if isinstance(text, Text) or not (text := text.strip()).startswith(BOTH):
        return None
    match = _BOTH.fullmatch(text)
    if match is None or (image := _strict(match["image"])) is None:
        return None
    try:
        return urllib.parse.unquote(match["text"], errors="strict"), image
    except UnicodeDecodeError:
        return None


def has_data_scheme(text: str) -> bool:
    """Tell whether ``text`` begins like a data URI of whatever kind, so that it is never a path."""
    return text[:5].lower() == "data:"


def is_path(source: object) -> bool:
    """Tell whether an image is given by the path of its file: as ``os.PathLike``, or as a string that is no image's.

    Raises:
        InputError: It is nearly an image's string, as ``image_string``.
    """
    return isinstance(source, os.PathLike) or (isinstance(source, str) and image_string(source) is None)


def image_string(text: str) -> str | None:
    """Return ``text`` without the white space around it if the rest is a data URI or a reference, None for a text.

    Raises:
        InputError: It begins like one of the two and is not one, or holds a text too: says what to write.
    """
    if isinstance(text, Text):
        return None
    found = _strict(text)
    if found is None:
        refuse_near_miss(text)
    return found


def looks_like_image(text: str) -> bool:
    """Tell whether ``text`` is an image's string or nearly one, so that nobody who may see texts alone gets it."""
    return _strict(text) is not None or _near_miss(text) is not None


def strict_image(text: str) -> str | None:
    """Return what ``image_string`` returns, and None for what it refuses."""
    return None if isinstance(text, Text) else _strict(text)


def refuse_near_miss(text: str) -> None:
    """Do nothing, unless ``text`` begins like a data URI or a reference and is not one.

    Raises:
        InputError: It does.
    """
    near = _near_miss(text)
    if near is not None and both_parts(text) is not None:
        raise InputError(f"got {text.strip()[:100]!r}..., a text with an image; expected an image alone.")
    if near == "reference":
        raise InputError(
            f"got {text.strip()[:100]!r}, which begins like the reference of an image and is not a whole one. It was "
            "cut or changed on its way, for example by a text splitter: add image documents after the texts were split."
        )
    if near == "data URI":
        raise InputError(
            f"got {text.strip()[:60]!r}..., which begins like the data URI of an image and is not one that is read: "
            f"{_reason(text)}; expected data:image/png;base64, followed by base64 only. Or pass its bytes."
        )


def media_type(payload: str) -> str | None:
    """Return the media type of the image whose file begins like the base64 ``payload``, or None.

    The URL-safe and the percent-encoded kind are understood too, and whitespace in between.
    """
    head = "".join(urllib.parse.unquote(payload[:200]).split()).replace("-", "+").replace("_", "/")
    match = _BASE64.match(head)
    data = base64.b64decode(head[: len(match[0]) // 4 * 4]) if match else b""
    return next((name for name, beginning in _MEDIA_TYPES.items() if beginning.match(data)), None)


def data_uri_payload(text: str) -> str | None:
    """Return the base64 of a strict data URI without its line breaks, or None."""
    match = _DATA_URI.fullmatch(text)
    return None if match is None else "".join(match["payload"].split())


def reference_parts(text: str) -> tuple[str, str] | None:
    """Return a reference's percent-encoded path and its hash, or None."""
    match = _REFERENCE.fullmatch(text)
    return None if match is None else (match["path"], match["digest"])


def _strict(text: str) -> str | None:
    text = text.strip()
    return text if is_data_uri(text) or is_reference(text) else None


def _near_miss(text: str) -> str | None:
    """Return what ``text`` begins like, if it is neither that nor prose. Linear in its length."""
    text = text.lstrip(_BLANK).rstrip()
    opening = _OPENING.match(text)
    if opening is None:
        return _begins_like(text)
    inside = text[opening.end() :].rstrip(_CLOSING)
    if is_data_uri(inside):
        return "data URI"
    return _begins_like(inside) if _WORD.fullmatch(inside) else None  # else prose or code that begins with a quotation


def _begins_like(text: str) -> str | None:
    """Return what ``_near_miss`` does for a text that begins with it."""
    if _LIKE_REFERENCE.match(text) or _is_cut_scheme(text):
        return "reference"
    if _BEGINNING.match(text) and _holds_data(text):
        return "data URI"
    marked = _MARKED.match(text, 0, _HEAD)
    if marked is None:
        return None
    payload = text[marked.end() :]
    is_image = "image" in marked["kind"].lower() or media_type(payload) is not None
    return "data URI" if is_image and _has_piece(payload, _LONG) else None


def _is_cut_scheme(text: str) -> bool:
    name = SCHEME.partition(":")[0]
    return any(len(name) + 1 < len(text) < len(one) and one.startswith(text.lower()) for one in (SCHEME, BOTH))


def _holds_data(text: str) -> bool:
    """Tell whether data, and not prose, stand behind the beginning of a data URI."""
    head = _PARAMETERS.match(text, 0, _HEAD)
    if head is None:
        return _has_piece(text, _VERY_LONG)
    payload = text[head.end() :].lstrip()
    is_one_word = len(text.split(None, 1)) == 1
    return is_one_word or payload[:3].lower().startswith(("<", "%3c")) or _has_piece(payload, _LONG)


def _has_piece(text: str, least: int) -> bool:
    """Tell whether a piece without white space has that many characters and is not a URL in prose."""
    return any(len(found[0]) >= least and "://" not in found[0] for found in _PIECE.finditer(text))


def _reason(text: str) -> str:
    if _OPENING.match(text.lstrip(_BLANK)):
        return "it stands in quotes or brackets; leave them out"
    head, _, payload = text.strip().partition(",")
    if "svg" in head[:30].lower():
        return "SVG is a drawing and no image of pixels; render it to PNG"
    if "%" in text:
        return "it is percent-encoded; urllib.parse.unquote() decodes it"
    if head.count(";") > 1 or "=" in head:
        return "it has parameters beside base64; leave them out"
    if not _STRICT_HEAD.fullmatch(head):
        return f"its beginning {head[:40]!r} is written otherwise"
    if re.search(r"[ \t]", payload):
        return "there are spaces or words in its base64; decoding a form turns + into a space"
    if re.search(r"[-_]", payload):
        return "its base64 is the URL-safe kind; write + for - and / for _"
    return "there are characters in it that base64 does not have"
