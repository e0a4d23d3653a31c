"""Optional dependencies: a missing one is an error that holds the pip line."""

from __future__ import annotations

from importlib.util import find_spec

from .errors import MissingExtraError


def require(extra: str, module: str) -> None:
    """Check that an optional dependency is installed, without importing it.

    Args:
        extra: The extra of this package that brings it along.
        module: The module that is needed, dotted.

    Raises:
        MissingExtraError: ``module`` cannot be found. One that is found but broken raises its own error on import.
    """
    try:
        found = find_spec(module) is not None
    except ModuleNotFoundError:  # the parent of a dotted name is missing
        found = False
    if not found:
        raise MissingExtraError(extra, module)
