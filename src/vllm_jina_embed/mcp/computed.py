"""Keep the embeddings of an unfinished index in a file beside it, so that a run that fails loses none."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .._arrays import Floats
from ..errors import ConfigError
from ..pooling.single_vector import NORM_LIMIT, norm_error

ALIKE = 0.999
"""Least cosine of a stored embedding and the same computed again; those of one engine differ by 1e-7."""
_KEY_BYTES = 32


class UnwrittenError(Exception):
    """A file of the index cannot be written; the cause is an OSError."""


@contextmanager
def writing() -> Iterator[None]:
    """Raise ``UnwrittenError`` for an OSError, so that it differs from a failure to read a place."""
    try:
        yield
    except OSError as error:
        raise UnwrittenError(str(error)) from error


def key_of(item: str | bytes) -> bytes:
    """Return the key of a text or an encoded image, 32 bytes."""
    kind, data = (b"text", item.encode("utf-8", "surrogatepass")) if isinstance(item, str) else (b"image", item)
    return hashlib.sha256(kind + b"\0" + data).digest()


def is_unit(row: Floats) -> bool:
    """Tell whether an embedding is a finite vector of L2 norm 1, within 1 %."""
    return bool(norm_error(row) <= NORM_LIMIT)  # False for NaN


class Computed:
    """Stores embeddings; returns those of an earlier run once one of them was computed again and is the same."""

    def __init__(self, path: Path, settings: str, dimension: int) -> None:
        """Read the file if it was written with the same settings; nothing is written before ``add``.

        Raises:
            ConfigError: ``path`` exists and is not a file that this command wrote.
        """
        self.path = path
        self.count = 0
        self._head = hashlib.sha256(settings.encode("utf-8", "surrogatepass")).digest()
        self._record = np.dtype([("key", f"V{_KEY_BYTES}"), ("row", "<f4", (dimension,))])
        self._known: dict[bytes, Floats] = {}
        self._proved = False
        self._new = True
        if path.exists() or path.is_symlink():
            self._read()

    def get(self, key: bytes) -> Floats | None:
        """Return an embedding of this run or of the earlier one, or None."""
        return self._known.get(key) if self._proved else None

    def add(self, keys: Sequence[bytes], rows: Sequence[Floats]) -> None:
        """Store embeddings.

        Raises:
            UnwrittenError: The disk is full, for example.
        """
        old = [(self._known[key], row) for key, row in zip(keys, rows, strict=True) if key in self._known]
        if not self._proved and not all(float(before @ now) >= ALIKE for before, now in old):
            self._known, self._new = {}, True  # other weights under the same name
        self._proved = self._proved or bool(old)
        fresh = [(key, row) for key, row in zip(keys, rows, strict=True) if key not in self._known]
        records = np.zeros(len(fresh), dtype=self._record)
        for number, (key, row) in enumerate(fresh):
            records[number] = (key, row)
        with writing():
            self._append(records.tobytes())
        self._known.update(fresh)
        self.count = len(self._known)

    def delete(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)

    def _append(self, data: bytes) -> None:
        if self._new:
            self.delete()
            data = self._head + data
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | (os.O_EXCL if self._new else 0) | os.O_NOFOLLOW
        with os.fdopen(os.open(self.path, flags, 0o600), "ab") as file:
            self._new = False
            file.write(data)

    def _read(self) -> None:
        """Read the complete records, and cut off an incomplete last one, so that the next is appended correctly."""
        facts = self.path.lstat()
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.getuid():
            raise ConfigError(f"{str(self.path)!r} is not a file that this command wrote; remove it.")
        with self.path.open("rb") as file:
            if file.read(len(self._head)) != self._head:
                return
            records = np.fromfile(
                file, dtype=self._record, count=(facts.st_size - file.tell()) // self._record.itemsize
            )
        os.truncate(self.path, len(self._head) + len(records) * self._record.itemsize)
        rows = records["row"].astype(np.float32)
        keys = (key.tobytes() for key in records["key"])
        self._known = {key: row for key, row in zip(keys, rows, strict=True) if is_unit(row)}
        self._new = False
        self.count = len(self._known)
