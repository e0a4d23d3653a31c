"""Keys and values of cached embeddings, made so that no key can return another input's vector."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace

import numpy as np

from .._arrays import Floats
from ..errors import ConfigError
from ..inputs.images import LoadedImage
from ..inputs.items import ImageItem, Item, TextItem
from ..inputs.metadata import content_hash
from ..pooling.output_type import FLOAT32
from ..settings import Settings

PREFIX = "vllm-jina-embed-"
_CHECK_BYTES = 16
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WHOLE, _CUT = b"\0", b"\1"


def identity(settings: Settings, *, multi_vector: bool = False) -> str:
    """Return all settings that change a vector, or a multi-vector, as one string.

    Raises:
        ConfigError: The checkpoint is a hub repository without a commit, so its weights may change under the cache.
    """
    engine = settings.engine
    if not engine.files and not _COMMIT.fullmatch(engine.revision or ""):
        raise ConfigError(
            f"revision={engine.revision!r} of {engine.location} may mean other weights tomorrow, so its embeddings "
            "cannot be cached. Pass revision= with a full commit hash (40 hex digits), or a folder as model."
        )
    if not multi_vector:
        return replace(settings, output=FLOAT32).fingerprint  # float32 is kept, and other types are made of it
    # No size and no norm changes a multi-vector, and a longer text is always cut.
    full = settings.checkpoint.hidden_size
    plain = replace(settings, dimensions=full, normalize=True, fusion=None, long_text=None, output=FLOAT32)
    return f"multi-vector|{plain.fingerprint}"


def content(item: Item) -> str:
    """Return the hash of an item's content; its images must have been opened (``items.opened``).

    Text is hashed byte by byte, an image by its size and RGB pixels, whatever its file.
    """
    parts = []
    if not isinstance(item, ImageItem):
        parts += ["text", hashlib.sha256(item.text.encode()).hexdigest()]
    if not isinstance(item, TextItem):
        images = [image for image in item.images if isinstance(image, LoadedImage)]
        assert len(images) == len(item.images), "items.opened comes first"
        parts += ["image", *(content_hash(image.pixels) for image in images)]
    return " ".join(parts)


def key(identity: str, role: str, content: str) -> str:
    """Return the key of one vector: letters, digits and hyphens, which every store accepts.

    Args:
        identity: Result of ``identity``.
        role: Result of ``role_of`` of the model's prompts.
        content: Result of ``content``.
    """
    return PREFIX + hashlib.sha256(json.dumps([identity, role, content]).encode()).hexdigest()


def pack(key: str, embedding: Floats, *, truncated: bool) -> bytes:
    """Return a vector or multi-vector as bytes bound to ``key``: a checksum, whether the text was cut, float32."""
    body = (_CUT if truncated else _WHOLE) + np.ascontiguousarray(embedding, dtype="<f4").tobytes()
    return _checksum(key, body) + body


def unpack(key: str, value: bytes | bytearray | memoryview | None, dimensions: int) -> tuple[Floats, bool] | None:
    """Return an embedding and whether its text was cut; None where ``value`` is missing or damaged.

    Database drivers return stored bytes as a ``memoryview`` (psycopg2) or a ``bytearray``.
    """
    if not isinstance(value, bytes | bytearray | memoryview):
        return None
    if len(bytes(value)) != _CHECK_BYTES + 1 + 4 * dimensions:
        return None
    return _unpacked(key, bytes(value))


def unpack_rows(key: str, value: bytes | bytearray | memoryview | None, dimensions: int) -> tuple[Floats, bool] | None:
    """Return a multi-vector ``(n_tokens, dimensions)`` and whether its text was cut, as ``unpack`` does."""
    if not isinstance(value, bytes | bytearray | memoryview):
        return None
    rows, rest = divmod(len(bytes(value)) - _CHECK_BYTES - 1, 4 * dimensions)
    if rows < 1 or rest:
        return None
    unpacked = _unpacked(key, bytes(value))
    return None if unpacked is None else (unpacked[0].reshape(rows, dimensions), unpacked[1])


def _unpacked(key: str, value: bytes) -> tuple[Floats, bool] | None:
    """Return the numbers of a value in one row, and whether the text was cut; None where it is damaged."""
    body = value[_CHECK_BYTES:]
    if _checksum(key, body) != value[:_CHECK_BYTES] or body[:1] not in (_WHOLE, _CUT):
        return None
    embedding = np.frombuffer(body, dtype="<f4", offset=1).astype(np.float32)
    return (embedding, body[:1] == _CUT) if np.isfinite(embedding).all() else None


def _checksum(key: str, body: bytes) -> bytes:
    return hashlib.blake2b(key.encode() + body, digest_size=_CHECK_BYTES).digest()
