"""How Qdrant stores the vectors of an item, and how many bytes that takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import ConfigError
from ..pooling.token_reduction import WINDOW, check_factor

Datatype = Literal["float32", "float16"]
Quantization = Literal["scalar", "binary"]
_BYTES = {"float32": 4, "float16": 2}
_BITS = {"scalar": 8, "binary": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """How a Qdrant server stores the vectors of a collection; the embedded Qdrant always keeps float32 in memory.

    Attributes:
        datatype: Of the vectors themselves, ``float32`` or ``float16``.
        quantization: A smaller copy beside them that is searched first, ``scalar`` (one byte a number) or ``binary``
            (one bit a number); None for no copy.
        oversampling: With a quantised copy, how many times more items than requested it selects, which the vectors
            themselves then rank.
        on_disk: Whether the vectors themselves are served from disk; a quantised copy stays in memory.
        pool_factor: Tokens of an item that become one row, on average; 1 keeps them all (``pooling.token_reduction``).
    """

    datatype: Datatype = "float32"
    quantization: Quantization | None = None
    oversampling: float = 3.0
    on_disk: bool = False
    pool_factor: int = 1

    def __post_init__(self) -> None:
        if self.datatype not in get_args(Datatype):
            raise ConfigError(f"datatype={self.datatype!r} is unknown; choose one of {', '.join(get_args(Datatype))}.")
        if self.quantization not in (None, *get_args(Quantization)):
            choices = ", ".join(get_args(Quantization))
            raise ConfigError(f"quantization={self.quantization!r} is unknown; choose one of {choices}, or None.")
        if not self.oversampling >= 1:
            raise ConfigError(f"oversampling={self.oversampling!r} must be at least 1.")
        check_factor(self.pool_factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Bytes of one item's vectors, without Qdrant's overhead per item and its graph over the embeddings.

    Attributes:
        embedding: Of the single vector.
        multi_vector: Of the rows, one per token or pooled.
        quantized: Of the smaller copy of both; 0 without one.
    """

    embedding: int
    multi_vector: int
    quantized: int

    @property
    def total(self) -> int:
        """Sum of the three."""
        return self.embedding + self.multi_vector + self.quantized


def size_of(tokens: int, *, token_dimensions: int, dimensions: int, storage: Storage | None = None) -> Size:
    """Return the bytes of an item in a collection.

    Args:
        tokens: Of the item; a page of 602112 pixels has 768, and a few for the words around it.
        token_dimensions: Length of a multi-vector's rows.
        dimensions: Length of the embedding.
        storage: None takes the default.
    """
    storage = storage or Storage()
    rows = sum(-(-min(WINDOW, tokens - start) // storage.pool_factor) for start in range(0, tokens, WINDOW))
    wide = _BYTES[storage.datatype]
    bits = 0 if storage.quantization is None else _BITS[storage.quantization]
    return Size(
        embedding=dimensions * wide,
        multi_vector=rows * token_dimensions * wide,
        quantized=-(-dimensions * bits // 8) + rows * -(-token_dimensions * bits // 8),
    )
