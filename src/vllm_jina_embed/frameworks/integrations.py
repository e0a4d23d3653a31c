"""Import a framework's package for one store; where it is missing, the error holds the pip line."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import ConfigError


def integration(module: str, package: str) -> Any:
    """Return a module.

    Args:
        module: Its dotted name.
        package: What installs it.

    Raises:
        ConfigError: It is not installed, or something that it needs is not.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(f"{module} cannot be imported ({error}). Run: pip install {package}") from error
