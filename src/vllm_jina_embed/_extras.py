"""Optional dependencies: a missing one raises an error with the pip command that installs it."""

from __future__ import annotations

from importlib.util import find_spec

from .errors import MissingExtraError


def require(extra: str, module: str) -> None:
    """Check that an optional dependency is installed, without importing it.

    Args:
        extra: The extra of this package that installs it.
        module: Dotted name of the module.

    Raises:
        MissingExtraError: ``module`` cannot be found. A broken module raises its own error on import.
    """
    try:
        installed = find_spec(module) is not None
    except ModuleNotFoundError:  # the parent of a dotted name is missing
        installed = False
    if not installed:
        raise MissingExtraError(extra, module)
