"""The errors that this package raises, and its warnings.

    VllmJinaError
    ├── InputError(ValueError)        an item that cannot be embedded; names its position
    ├── ConfigError(ValueError)       a setting that no checkpoint or engine could honour
    ├── MissingExtraError(ImportError) an optional dependency is not installed
    ├── WriteError(OSError)           a file cannot be written, for example because the disk is full
    └── EngineError(RuntimeError)     the engine could not answer
        ├── ClosedError               used after close()
        ├── ForkedError               used in a process forked after the engine started
        └── EngineDeadError           the engine's process ended

Leaves also inherit the built-in that people already catch.

Where warnings are errors (``python -W error``) no vector is lost: a warning about the items of a call is an
``EmbeddingWarning``, raised after everything is computed and with the result in ``.embeddings``; other warnings, such
as one about a full cache, are logged then.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

SHOWN = 20
"""Bad items that a message describes at most; the error's attributes hold all."""


class VllmJinaError(Exception):
    """Base of every error that this package raises on purpose."""


class InputError(VllmJinaError, ValueError):
    """One or more items cannot be embedded.

    The message is the place and the reason, which stay apart in the attributes: ``items[3][1]: got a PDF``.

    Attributes:
        where: The item that the message begins with, for example ``items[3]``; empty where there is none.
        image: Which image of an item of several is bad; None where the item has one.
        kind: ``long`` where a text is over a limit; empty elsewhere, and for several items.
        reason: What is wrong, without the place.
        positions: Indices of the bad items in the caller's list, ascending.
        problems: One sentence per bad item, same order as ``positions``.
        reasons: The ``problems`` without their places.
        embeddings: What the call computed all the same, NaN rows (or empty multi-vectors) for the bad items; None if
            the call as a whole was refused.
    """

    def __init__(
        self,
        reason: str,
        *,
        where: str = "",
        image: int | None = None,
        positions: Sequence[int] = (),
        kind: str = "",
    ) -> None:
        place = where if image is None else f"{where}[{image}]"
        message = f"{place}: {reason}" if place else reason
        super().__init__(message)
        self.where, self.image, self.reason, self.kind = where, image, reason, kind
        self.positions = tuple(positions)
        self.problems: tuple[str, ...] = (message,)
        self.reasons: tuple[str, ...] = (reason,)
        self.embeddings: Any = None

    def at(self, where: str, position: int, *, image: int | None = None) -> InputError:
        """Return the error of the same reason at another place.

        Args:
            where: The item, for example ``items[3]``.
            position: Its index in the caller's list.
            image: Which of its images is bad; None keeps the error's own.
        """
        number = self.image if image is None else image
        return InputError(self.reason, where=where, image=number, positions=[position], kind=self.kind)

    @classmethod
    def collect(cls, errors: Sequence[InputError], *, total: int) -> InputError:
        """Merge the errors of one call into one that names every bad position.

        Args:
            errors: At least one error, each about one position.
            total: Number of items in the call.

        Returns:
            The only error itself, or one error that lists all of them.
        """
        if len(errors) == 1:
            return errors[0]
        lines = [f"  {error}" for error in errors[:SHOWN]]
        if len(errors) > SHOWN:
            lines.append(f"  ... and {len(errors) - SHOWN} more (see .positions and .problems)")
        merged = cls(
            "\n".join([f"{len(errors)} of {total} items cannot be embedded:", *lines]),
            positions=[position for error in errors for position in error.positions],
        )
        merged.problems = tuple(str(error) for error in errors)
        merged.reasons = tuple(error.reason for error in errors)
        return merged


class EmbeddingWarning(UserWarning):
    """Some items of a call were cut, left out or have no vector.

    Attributes:
        embeddings: What the call computed, for code that turns warnings into errors.
    """

    embeddings: Any = None


def warn_of_items(message: str, embeddings: Any, *, stacklevel: int) -> None:
    """Give an ``EmbeddingWarning`` with what the call computed; ``stacklevel`` counts from the caller of this."""
    warning = EmbeddingWarning(message)
    warning.embeddings = embeddings
    warnings.warn(warning, stacklevel=stacklevel + 1)


def unreadable(thing: object, error: Exception) -> InputError:
    """Return the error for an object of a caller that raised ``error`` when it was looked at."""
    return InputError(f"got a {type(thing).__name__} that cannot be read ({type(error).__name__}: {error}).")


class ConfigError(VllmJinaError, ValueError):
    """A setting that this checkpoint or engine cannot honour."""


class MissingExtraError(VllmJinaError, ImportError):
    """An optional dependency is not installed; the message holds the pip line."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"{package} is not installed. Run: pip install 'vllm-jina-embed[{extra}]'", name=package)
        self.extra = extra

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the call that makes an equal error, so that it can cross processes."""
        return type(self), (self.extra, self.name)


class WriteError(VllmJinaError, OSError):
    """A file cannot be written; the message says where, why, and what was kept."""


class EngineError(VllmJinaError, RuntimeError):
    """The engine could not answer a request."""


class ClosedError(EngineError):
    """The object was used after ``close()``."""


class ForkedError(EngineError):
    """The engine was started before this process was forked, so it cannot be reached from here."""


class EngineDeadError(EngineError):
    """The engine's process ended while it was needed."""
