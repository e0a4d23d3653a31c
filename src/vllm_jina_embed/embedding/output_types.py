"""The type in which one call returns its embeddings: the embedder's, or the call's own."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError
from ..pooling.output_type import FLOAT32, OutputType
from ..pooling.quantization import BYTES
from ..settings import OnError, Settings


def of_call(
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

    Multi-vectors are float32, whatever the embedder's type is.

    Raises:
        ConfigError: It cannot be used with embeddings of their length, or the default ranges with embeddings that are
            not normalised.
    """
    if multi_vector:
        if dtype is not None or ranges is not None:
            raise ConfigError("output_dtype is the type of embeddings; multi-vectors are float32. Leave it out.")
        return FLOAT32
    chosen = settings.output.dtype if dtype is None else dtype
    if ranges is None and chosen in BYTES:
        ranges = settings.output.ranges
    if chosen == "float32" and ranges is None:
        return FLOAT32
    settings = settings.for_call(dimensions=dimensions, normalize=normalize)
    return OutputType.checked(chosen, ranges, dimensions=settings.dimensions, normalize=settings.normalize)


def mode_of(output: OutputType, on_error: OnError | None) -> OnError | None:
    """Return what a call does with bad items: whole numbers have no NaN, so that their rows cannot be skipped."""
    return "raise" if output.is_whole else on_error
