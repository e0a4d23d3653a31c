r"""Turn names of files into strings for metadata and chat models, and ``file:`` URIs into paths.

A name that is not valid Unicode (``b"caf\xe9.png"``) is a Python string with lone surrogates, which stores and JSON
refuse. Wherever this package returns a string, the bytes that are not Unicode are percent-encoded (``caf%E9.png``), and
an absolute path becomes a ``file:`` URI, which opens like any path.
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
    """Return ``name`` as a path, or the path of a ``file:`` URI; nothing is opened.

    Raises:
        InputError: The ``file:`` URI is malformed, or of another machine.
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
    """Return ``path`` unchanged if it is valid Unicode, else percent-encoded, an absolute one as a ``file:`` URI."""
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
    return _SURROGATES.sub(lambda match: "".join(map(_percent, match[0])), text)


def valid_metadata(value: Any) -> Any:
    """Return metadata with all strings, also keys and nested ones, as valid Unicode; all else as it is."""
    if isinstance(value, str):
        return valid_unicode(value)
    if isinstance(value, dict):
        return {valid_metadata(key): valid_metadata(item) for key, item in value.items()}
    return [valid_metadata(item) for item in value] if isinstance(value, list) else value


def is_path_key(key: str) -> bool:
    """Tell whether a metadata key's value may be a path: ``source``, ``file_path``, ``image_path`` and the like."""
    return _PATH_KEY.fullmatch(key) is not None


def shown_name(value: object) -> str:
    """Return the part of a source that a chat model may see: of an absolute path or ``file:`` URI only the last."""
    text = valid_unicode(str(value))
    if _ABSOLUTE.match(text):
        text = re.split(r"[\\/]", text.rstrip("\\/"))[-1]
    return text


def _percent(character: str) -> str:
    escaped = 0xDC80 <= ord(character) <= 0xDCFF  # a byte that os.fsdecode could not decode
    data = character.encode("utf-8", "surrogateescape" if escaped else "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in data)
