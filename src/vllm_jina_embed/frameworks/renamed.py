"""Keywords that have another name now: the old one is taken for one more version, with a warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from ..errors import ConfigError

P = ParamSpec("P")
R = TypeVar("R")


def renamed(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that also takes keywords by their old names.

    Args:
        **names: The new name by the old one.

    Raises:
        ConfigError: At a call that gives a keyword by both names.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for old, new in names.items():
                if old not in kwargs:
                    continue
                take_old(old, new, both=new in kwargs, stacklevel=3)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


def take_old(old: str, new: str, *, both: bool, stacklevel: int = 2) -> None:
    """Warn that a keyword was given by its old name.

    Raises:
        ConfigError: It was given by both.
    """
    if both:
        raise ConfigError(f"{old}=... is the old name of {new}=...; got both. Give {new}=... alone.")
    warn_renamed(f"{old}=...", f"{new}=...", stacklevel=stacklevel)


def warn_renamed(old: str, new: str, *, stacklevel: int) -> None:
    """Warn of an old name; ``stacklevel`` counts from the caller of this."""
    about = f"{old} is deprecated and goes with the next version; it is named {new} now."
    warnings.warn(about, DeprecationWarning, stacklevel=stacklevel + 1)
