r"""Names of files as strings: what stands in metadata, what chat models see, and ``file:`` URIs as paths.

A name that is not valid Unicode (``b"caf\xe9.png"``) is a Python string with lone surrogates, which stores and JSON
refuse. One rule holds wherever this package hands a string on: the bytes that are not Unicode stand percent-encoded
(``caf%E9.png``), and an absolute path as a whole is a ``file:`` URI, which opens again like any path.
"""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from ..errors import InputError

_SURROGATES = re.compile("[\ud800-\udfff]+")
_FILE = re.compile(r"file:/", re.IGNORECASE)
_FILE_URI = re.compile(r"file:(?://(?P<host>[^/?#]*))?(?P<path>/(?!/)[^?#]*)", re.IGNORECASE | re.DOTALL)
_PATH_KEY = re.compile(r"source|title|url|.*(?:path|file|filename|file_name|directory|folder|root)", re.IGNORECASE)
_ABSOLUTE = re.compile(r"file:/|/(?!\s)|~[^/\s]*/|[A-Za-z]:[\\/]|\\\\", re.IGNORECASE)


def local_path(name: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """Return the path that ``name`` is, or that it names as a ``file:`` URI; nothing is opened.

    Raises:
        InputError: It is a ``file:`` URI of another machine, or not a well-formed one.
    """
    text = os.fsdecode(name)
    if not _FILE.match(text):
        return text
    match = _FILE_URI.fullmatch(text)
    if match is None or (match["host"] or "").lower() not in ("", "localhost"):
        raise InputError(
            f"got the URI {text[:200]!r}; a file on this machine is file:///absolute/path, with # and ? "
            "percent-encoded, as pathlib.Path.as_uri() writes it. Or pass its path."
        )
    try:
        return os.fsdecode(unquote_to_bytes(os.fsencode(match["path"])))
    except UnicodeError:
        raise InputError(f"got the URI {text[:200]!r}, which names no file: it is not valid Unicode.") from None


def readable_path(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """Return ``path`` as valid Unicode: unchanged, or else percent-encoded, an absolute one as a ``file:`` URI."""
    text = os.fsdecode(path)
    if not _SURROGATES.search(text):
        return text
    try:
        quoted = quote(os.fsencode(text))
    except UnicodeError:  # no file has such a name
        return valid_unicode(text)
    return f"file://{quoted}" if quoted.startswith("/") else quoted


def valid_unicode(text: str) -> str:
    """Return ``text`` with percent-encoded bytes in place of lone surrogates; any other text as it is."""
    return _SURROGATES.sub(lambda found: "".join(map(_percent, found[0])), text)


def valid_metadata(value: Any) -> Any:
    """Return metadata whose strings, keys and nested ones too, are valid Unicode; all else as it is."""
    if isinstance(value, str):
        return valid_unicode(value)
    if isinstance(value, dict):
        return {valid_metadata(key): valid_metadata(one) for key, one in value.items()}
    return [valid_metadata(one) for one in value] if isinstance(value, list) else value


def is_path_key(key: str) -> bool:
    """Tell whether a metadata key's value may be a path: ``source``, ``file_path``, ``image_path`` and their like."""
    return _PATH_KEY.fullmatch(key) is not None


def shown_name(value: object) -> str:
    """Return what a chat model may see of a source: of an absolute path or ``file:`` URI the last part alone."""
    text = valid_unicode(str(value))
    if _ABSOLUTE.match(text):
        text = re.split(r"[\\/]", text.rstrip("\\/"))[-1]
    return text


def _percent(character: str) -> str:
    escaped = 0xDC80 <= ord(character) <= 0xDCFF  # a byte that os.fsdecode could not decode
    data = character.encode("utf-8", "surrogateescape" if escaped else "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in data)
