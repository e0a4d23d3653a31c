"""Read and write safetensors files without torch, so that bfloat16 values stay as they are.

Source: https://huggingface.co/docs/safetensors: 8 bytes of the header's length, the header as JSON, then the data.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..._arrays import Floats
from ...errors import ConfigError

BYTES = {"BF16": 2, "F16": 2, "F32": 4}
"""Bytes of one number, by type."""
_LONGEST_HEADER = 100_000_000  # safetensors' own limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """The place of one tensor in a file.

    Attributes:
        file: The file that holds it.
        dtype: ``BF16``, ``F16`` or ``F32``.
        shape: Its shape.
        start: Its first byte in the file.
        size: Its length in bytes.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int

    def numpy(self) -> Floats:
        """Return the tensor's values as float32, without rounding."""
        with self.file.open("rb") as source:
            source.seek(self.start)
            content = source.read(self.size)
        return self._floats(content).reshape(self.shape)

    def row(self, number: int) -> Floats:
        """Return one row of a matrix as float32, without reading the others.

        Raises:
            IndexError: It has no such row.
        """
        rows, *width = self.shape
        if not 0 <= number < rows:
            raise IndexError(f"row {number} of {rows}")
        size = self.size // rows
        with self.file.open("rb") as source:
            source.seek(self.start + number * size)
            content = source.read(size)
        return self._floats(content).reshape(width)

    def _floats(self, content: bytes) -> Floats:
        if self.dtype == "BF16":  # the upper half of a float32
            values = (np.frombuffer(content, dtype="<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(content, dtype="<f2" if self.dtype == "F16" else "<f4").astype(np.float32)
        return values


def read_table(file: Path) -> dict[str, Tensor]:
    """Return the tensors of ``file`` by name; only its header is read.

    Raises:
        ConfigError: The file cannot be read, is cut off, or holds numbers that are not floats.
    """
    try:
        with file.open("rb") as source:
            length = int.from_bytes(source.read(8), "little")
            if not 0 < length <= _LONGEST_HEADER:
                raise ValueError(f"its header would take {length} bytes")
            header: dict[str, Any] = json.loads(source.read(length))
        header.pop("__metadata__", None)
        table = {name: _tensor(file, 8 + length, entry) for name, entry in header.items()}
        end = max((tensor.start + tensor.size for tensor in table.values()), default=0)
        if end > file.stat().st_size:
            raise ValueError(f"got {file.stat().st_size} bytes, and its header needs {end}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{str(file)!r} is not a usable safetensors file ({error}); copy or download it again."
        ) from None
    return table


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write ``tensors`` to a new ``file`` under new names, byte by byte, and sync it to disk."""
    header, offset = {}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": (offset, offset + tensor.size)}
        offset += tensor.size
    head = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    head += b" " * (-len(head) % 8)
    with file.open("wb") as target:
        target.write(len(head).to_bytes(8, "little") + head)
        for tensor in tensors.values():
            with tensor.file.open("rb") as source:
                source.seek(tensor.start)
                target.write(source.read(tensor.size))
        target.flush()
        os.fsync(target.fileno())


def _tensor(file: Path, data: int, entry: Mapping[str, Any]) -> Tensor:
    start, end = entry["data_offsets"]
    shape = tuple(int(length) for length in entry["shape"])
    if entry["dtype"] not in BYTES:
        raise ValueError(f"got numbers of type {entry['dtype']}; expected one of {', '.join(BYTES)}")
    if start < 0 or end - start != math.prod(shape) * BYTES[entry["dtype"]]:
        raise ValueError(f"{end - start} bytes do not hold the shape {shape}")
    return Tensor(file=file, dtype=entry["dtype"], shape=shape, start=data + start, size=end - start)
