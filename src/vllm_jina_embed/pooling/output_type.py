"""The type in which embeddings are returned, checked before anything is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError, EmbeddingWarning, InputError
from .quantization import BYTES, PACKED, checked, quantized

Ranges = tuple[tuple[float, ...], tuple[float, ...]]
"""Where each number's 256 steps begin, and where they end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputType:
    """What is made of float32 rows; ``OutputType.checked`` makes one.

    Attributes:
        dtype: One of ``pooling.quantization.DTYPES``.
        ranges: Of int8 and uint8; None takes the default ones.
    """

    dtype: str = "float32"
    ranges: Ranges | None = None

    @classmethod
    def checked(
        cls, dtype: str, ranges: npt.ArrayLike | None, *, dimensions: int, normalize: bool, on_error: str = "raise"
    ) -> OutputType:
        """Return the type for embeddings of these ``dimensions``.

        Raises:
            ConfigError: It cannot be used with embeddings of their length, the default ranges with embeddings that are
                not normalised, or whole numbers where bad items get NaN.
        """
        limits = checked(dtype, dimensions, ranges)
        if dtype in BYTES and ranges is None and not normalize:
            raise ConfigError(
                f"output_dtype={dtype!r} with normalize=False needs ranges=..., which calibrated() measures: the "
                "default ones are for vectors of norm 1."
            )
        if ranges is None or limits is None:
            found = cls(dtype=dtype)
        else:
            low, high = limits.tolist()
            found = cls(dtype=dtype, ranges=(tuple(low), tuple(high)))
        if found.is_whole and on_error == "skip":
            raise ConfigError(
                f"output_dtype={dtype!r} with on_error='skip': whole numbers have no NaN for a bad item. Take float16, "
                "or on_error='raise'."
            )
        return found

    @property
    def is_whole(self) -> bool:
        """Whether its numbers are whole, or bits: without NaN."""
        return not self.dtype.startswith("float")

    @property
    def is_packed(self) -> bool:
        """Whether a number holds eight bits, so that only a Hamming distance compares them."""
        return self.dtype in PACKED

    @property
    def decides(self) -> tuple[str, ...]:
        """What it adds to a fingerprint; nothing for float32."""
        if self.dtype == "float32":
            return ()
        if self.ranges is None:
            return (f"output_dtype={self.dtype}",)
        digest = hashlib.sha256(np.asarray(self.ranges, dtype="<f4").tobytes()).hexdigest()[:16]
        return f"output_dtype={self.dtype}", f"ranges={digest}"

    def length(self, dimensions: int) -> int:
        """Return how many numbers an embedding of so many ``dimensions`` has in this type."""
        return dimensions // 8 if self.is_packed else dimensions

    def of(self, rows: Any) -> Any:
        """Return rows in this type; NaN, which the rows of an error alone can hold, counts as 0 in whole numbers."""
        if self.dtype == "float32":
            return rows
        if isinstance(rows, list):  # late chunks
            return [self.of(part) for part in rows]
        if self.is_whole:
            rows = np.nan_to_num(rows, nan=0.0)
        return quantized(rows, self.dtype, self.ranges)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the rows that an error inside the block holds into this type too."""
        try:
            yield
        except (InputError, EmbeddingWarning) as error:
            if error.embeddings is not None:
                error.embeddings = self.of(error.embeddings)
            raise


FLOAT32 = OutputType()
"""What engines give, and caches keep."""
