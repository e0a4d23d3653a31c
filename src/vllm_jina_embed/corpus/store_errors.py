"""Turn the errors of a store's library into those of this package."""

from __future__ import annotations

from ..errors import EngineError, VllmJinaError, WriteError


class WritingStore:
    """A block in which a store is written: its error is a ``WriteError`` that says where, why, and what was kept."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        """Raise the error."""
        if isinstance(error, Exception) and not isinstance(error, VllmJinaError):
            raise WriteError(
                f"{self._place!r}: {_told(error)}. Every finished shard is kept; run the same command again."
            ) from error


class ReadingStore:
    """A block in which a store is read: its error is an ``EngineError`` that says where and why."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        """Raise the error."""
        if isinstance(error, Exception) and not isinstance(error, VllmJinaError | KeyError):
            raise EngineError(f"{self._place!r} cannot be read: {_told(error)}") from error


def _told(error: Exception) -> str:
    message = " ".join(str(error).split())[:500].rstrip(".")
    return f"{type(error).__name__}: {message}"
