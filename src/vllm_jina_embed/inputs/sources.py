"""Where the bytes of an image come from: data URIs, files, references to files; under a ``MediaPolicy``.

``references`` tells which strings are images. Nothing is decoded here, and the network is never touched.
A *reference* names a file in the policy's ``allowed_root`` together with the hash of its content, so that an image can
travel through any store as one short string: nobody can make one up for a file that they have not read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from ..errors import InputError
from .file_names import local_path
from .file_objects import read_all
from .policy import MediaPolicy
from .references import (
    DIGITS,
    SCHEME,
    data_uri_payload,
    has_data_scheme,
    image_string,
    is_data_uri,
    is_reference,
    reference_parts,
    refuse_near_miss,
)

__all__ = [
    "SCHEME",
    "UNAVAILABLE",
    "ImageFile",
    "MediaPolicy",
    "image_string",
    "is_data_uri",
    "is_reference",
    "path_of",
    "read",
    "read_data_uri",
    "read_file",
    "read_file_object",
    "read_reference",
    "read_with_reference",
    "reference",
]

UNAVAILABLE = (
    "the file does not exist, is not a regular file, cannot be read, lies outside the media policy's allowed_root, or "
    "has another content than was indexed"
)
"""All that keeps a named file from being opened, in one sentence: which of it is true tells about other files."""
_CUT = "It was cut on its way, for example by a text splitter: add image documents after the texts were split"
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """The encoded bytes of an image, and where they came from.

    Attributes:
        data: At most one byte more than the policy's ``max_bytes``.
        name: What errors call it.
        path: The file's absolute path as it was named, links not resolved; None where no file was named.
        reference: The reference that leads to the file; None where there is none.
    """

    data: bytes
    name: str
    path: Path | None = None
    reference: str | None = None


def reference(path: str | os.PathLike[str], policy: MediaPolicy) -> str:
    """Return the reference of a file: ``vllm-jina-embed:image:<path in allowed_root>#<hash of its content>``.

    Raises:
        InputError: The policy has no ``allowed_root``, or the file lies outside it or cannot be read.
    """
    return str(read_with_reference(path, policy).reference)


def read_with_reference(path: str | os.PathLike[str], policy: MediaPolicy) -> ImageFile:
    """Return the content of a file in ``allowed_root`` together with its reference; raises as ``reference`` does."""
    root = _root(policy, "a reference")
    file, data = _opened(os.fspath(path), policy)
    inside = file.relative_to(root).as_posix()
    text = f"{SCHEME}{quote(os.fsencode(inside))}#{_digest(data)}"
    return ImageFile(data=data, name=repr(inside), path=_absolute(path), reference=text)


def path_of(text: str) -> str:
    """Return the path in ``allowed_root`` that a reference names, as it is written there; not checked against it.

    Raises:
        InputError: ``text`` is not a reference.
    """
    parts = reference_parts(text.strip())
    if parts is None:
        refuse_near_miss(text)
        raise InputError(f"got {text[:200]!r}, which is not a reference that image_document() makes.")
    return os.fsdecode(unquote_to_bytes(parts[0]))


def read(source: object, policy: MediaPolicy) -> ImageFile | None:
    """Return the encoded bytes of an image; None for what never was encoded.

    Raises:
        InputError: They cannot be had, or the policy does not allow it.
    """
    if isinstance(source, str):
        text = image_string(source)
        if has_data_scheme(text or source):
            data = read_data_uri(text or source)
            name = f"a data URI ({_CUT[0].lower()}{_CUT[1:]})" if _is_cut(data) else "a data URI"
            return ImageFile(data=data, name=name)
        if text is not None:
            return read_reference(text, policy)
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        data, name = read_file(path, policy), repr(os.path.basename(os.fsdecode(path)))  # noqa: PTH119
        return ImageFile(data=data, name=name, path=_absolute(path))
    if isinstance(source, bytes | bytearray | memoryview):
        return ImageFile(data=bytes(source), name=f"{len(source)} bytes")
    if hasattr(source, "read"):
        return ImageFile(data=read_file_object(source, policy.max_bytes + 1), name="a file object")
    return None


def read_reference(text: str, policy: MediaPolicy) -> ImageFile:
    """Return the content of the file that a reference names; errors show its path in ``allowed_root``.

    Raises:
        InputError: There is no ``allowed_root``, or no file in it has that path and content. One message for all of
            that: a reference that somebody made up shall not tell whether a file is there.
    """
    relative = PurePosixPath(path_of(text))
    root = _root(policy, repr(text[:200]))
    if not policy.allow_local_files:
        raise InputError(f"got {text[:200]!r}, but the media policy allows no local files.")
    try:
        data = _opened(str(root / relative), policy)[1]  # which keeps dots, links and absolute paths inside the root
    except InputError:
        data = None
    if data is None or _digest(data) != text.rpartition("#")[2]:
        raise InputError(f"{text[:200]!r}: {UNAVAILABLE}. Index it anew.")
    path = Path(policy.allowed_root or "").expanduser().absolute() / relative
    return ImageFile(data=data, name=repr(str(relative)), path=path, reference=text)


def read_data_uri(text: str) -> bytes:
    """Return what a data URI holds.

    Raises:
        InputError: It is not strict, or its base64 is broken.
    """
    payload = data_uri_payload(text)
    if payload is None:
        raise InputError(f"got {text[:40]!r}...; expected data:image/png;base64, followed by base64 only.")
    try:
        return base64.b64decode(payload, validate=True)
    except binascii.Error as error:
        raise InputError(f"the data URI's base64 is broken ({error}). {_CUT}.") from None


def read_file_object(source: Any, most: int) -> bytes:
    """Return at most ``most`` bytes of a binary file object, from its beginning and without moving it.

    A stream that cannot seek is read from where it stands, until it ends.

    Raises:
        InputError: It cannot be read, or gives text.
    """
    try:
        return read_all(source, most)
    except InputError:
        raise
    except Exception as error:  # closed, a broken connection, text that is no UTF-8
        raise InputError(f"the file object cannot be read ({type(error).__name__}: {error}).") from None


def read_file(name: str | bytes, policy: MediaPolicy) -> bytes:
    """Return at most ``policy.max_bytes + 1`` bytes of a file; ``name`` is a path or a ``file:`` URI.

    Raises:
        InputError: It is another URL, the policy does not allow it, or it cannot be read.
    """
    return _opened(name, policy)[1]


def _opened(name: str | bytes, policy: MediaPolicy) -> tuple[Path, bytes]:
    """Return a file's resolved path and its first ``policy.max_bytes + 1`` bytes."""
    text = local_path(name)
    if _URL.match(text):
        raise InputError(f"got the URL {text[:200]!r}; URLs are not fetched. Download it and pass its bytes.")
    if not policy.allow_local_files:
        raise InputError(f"got the path {text[:200]!r}, but the media policy allows no local files.")
    try:
        path = Path(text).expanduser().resolve()
        if policy.allowed_root is not None and not path.is_relative_to(_root(policy, repr(text[:200]))):
            raise InputError(f"{text[:200]!r} lies outside the media policy's allowed_root.")
        if not path.is_file():
            reason = "is not a regular file" if path.exists() else "does not exist"
            raise InputError(f"the file {text[:200]!r} {reason}.")
        # Without blocking: a pipe may have been put there meanwhile, and some files of /proc wait for their content.
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            return path, file.read(policy.max_bytes + 1) or b""
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{text[:200]!r} cannot be read ({getattr(error, 'strerror', None) or error}).") from None


def _absolute(name: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> Path:
    """Return the path of a file that was read."""
    return Path(local_path(name)).expanduser().absolute()


def _root(policy: MediaPolicy, what: str) -> Path:
    if policy.allowed_root is None:
        raise InputError(
            f"got {what}, but the media policy has no folder to look it up in. Pass "
            "media=MediaPolicy(allowed_root=...) with the folder that holds the images."
        )
    try:
        return Path(policy.allowed_root).expanduser().resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"the media policy's allowed_root cannot be resolved ({error}).") from None


def _is_cut(data: bytes) -> bool:
    """Tell whether the end of a PNG, JPEG, GIF or WebP file is missing."""
    if data[:4] == b"RIFF":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    ends = {b"\x89PNG": b"IEND", b"\xff\xd8\xff": b"\xff\xd9", b"GIF8": b"\x3b"}
    return any(data.startswith(start) and end not in data for start, end in ends.items())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGITS]
