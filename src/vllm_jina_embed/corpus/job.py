"""What a run of ``embed_corpus`` is told, checked, and how far it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ..errors import ConfigError
from .destinations import Place
from .entries import Columns
from .kept import kept_types
from .parquet_parts import Shape
from .reports import Progress, Report
from .sources import Source
from .work import Vectors

Kinds = Literal["embedding", "multi-vector", "both"]


class Stop(Protocol):
    """Tells whether to end after the current shard, as a ``threading.Event`` does."""

    def is_set(self) -> bool:
        """Tell it."""
        ...


@dataclass(kw_only=True)
class Job:
    """One run; ``embed_corpus`` describes its settings.

    Attributes:
        progress: How far it is.
        errors: Items without a vector, by kind, of the shards that are done.
        cut: Texts that were cut, of the shards of this run.
        complete: Whether nothing was left out because of ``stop``.
    """

    sources: list[Source]
    place: Place
    embedder: Any
    columns: Columns
    vectors: Vectors
    dtype: str | None
    rows_per_file: int
    shard: tuple[int, int]
    limit: int | None
    retry_errors: bool
    report: Report
    stop: Stop | None
    progress: Progress = field(default_factory=Progress)
    errors: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    complete: bool = True

    def shape(self) -> Shape:
        """Return what the rows hold."""
        settings, keep = self.embedder.settings, self.columns.keep
        return Shape(
            dimensions=settings.dimensions if self.vectors.embedding else None,
            token_dimensions=settings.checkpoint.token_dimensions if self.vectors.multi_vector else None,
            dtype=self.dtype or "float32",
            token_dtype="float32" if self.dtype == "float32" else "float16",
            text="text" in keep,
            image="image" in keep,
            kept=kept_types(self.sources, self.columns),
        )


def checked_vectors(embedder: Any, kinds: Kinds | None, pool_factor: int, prompt_name: str) -> Vectors:
    """Return what to compute of each item.

    Raises:
        ConfigError: ``kinds`` is unknown, the model has none of a kind, or ``pool_factor`` has nothing to shorten.
    """
    has_embedding = embedder.settings.checkpoint.row.pooling is not None
    chosen = kinds or ("embedding" if has_embedding else "multi-vector")
    if chosen not in ("embedding", "multi-vector", "both"):
        raise ConfigError(f"vectors={kinds!r} is unknown; choose one of embedding, multi-vector, both.")
    if chosen != "multi-vector" and not has_embedding:
        raise ConfigError(f"vectors={kinds!r}: {embedder.model} has multi-vectors alone.")
    if pool_factor > 1 and chosen == "embedding":
        raise ConfigError(f"pool_factor={pool_factor} shortens multi-vectors, and vectors={chosen!r} has none.")
    return Vectors(
        embedder=embedder,
        embedding=chosen != "multi-vector",
        multi_vector=chosen != "embedding",
        pool_factor=pool_factor,
        prompt_name=prompt_name,
    )


def positive(name: str, value: int) -> int:
    """Return ``value``.

    Raises:
        ConfigError: It is not a whole number over 0.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name}={value!r} must be a whole number over 0.")
    return value


def checked_shard(shard: tuple[int, int]) -> tuple[int, int]:
    """Return ``shard``.

    Raises:
        ConfigError: The first number is not among as many as the second says.
    """
    own, processes = shard
    if not 1 <= own <= processes:
        raise ConfigError(f"shard={own}/{processes}: the first number is from 1 to the second.")
    return shard
