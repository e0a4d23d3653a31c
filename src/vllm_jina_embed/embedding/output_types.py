"""The type in which a call returns its embeddings, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError, EmbeddingWarning, InputError
from ..pooling.quantization import BYTES, checked, quantized
from ..settings import OnError, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputType:
    """What a call does with its rows.

    Attributes:
        dtype: One of ``pooling.quantization.DTYPES``.
        ranges: Of int8 and uint8; None takes the default ones.
    """

    dtype: str = "float32"
    ranges: Any = None

    @classmethod
    def of_call(
        cls,
        settings: Settings,
        dtype: str | None,
        ranges: Any,
        *,
        multi_vector: bool = False,
        dimensions: int | None = None,
        normalize: bool | None = None,
        **_: Any,
    ) -> OutputType:
        """Return the type of one call, given its overrides of the embedder's ``settings``.

        Raises:
            ConfigError: It cannot be used with embeddings of their length, or the default ranges with embeddings that
                are not normalised.
        """
        if dtype is None and ranges is None:
            return cls()
        if multi_vector:
            raise ConfigError("output_dtype is the type of embeddings; multi-vectors are float32. Leave it out.")
        found = cls(dtype="float32" if dtype is None else dtype, ranges=ranges)
        settings = settings.for_call(dimensions=dimensions, normalize=normalize)
        checked(found.dtype, settings.dimensions, ranges)
        if found.dtype in BYTES and ranges is None and not settings.normalize:
            raise ConfigError(
                f"output_dtype={found.dtype!r} with normalize=False needs ranges=..., which calibrated() measures: the "
                "default ones are for vectors of norm 1."
            )
        return found

    def mode(self, on_error: OnError | None) -> OnError | None:
        """Return what the call does with bad items: whole numbers have no NaN, so that their rows cannot be skipped."""
        return on_error if self.dtype.startswith("float") else "raise"

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the rows that an error inside the block holds into this type too."""
        try:
            yield
        except (InputError, EmbeddingWarning) as error:
            if error.embeddings is not None:
                error.embeddings = self.of(error.embeddings)
            raise

    def of(self, rows: Any) -> Any:
        """Return rows in this type; NaN, which the rows of an error alone can hold, counts as 0 in whole numbers."""
        if self.dtype == "float32":
            return rows
        if isinstance(rows, list):  # late chunks
            return [self.of(part) for part in rows]
        if not self.dtype.startswith("float"):
            rows = np.nan_to_num(rows, nan=0.0)
        return quantized(rows, self.dtype, self.ranges)
