"""Progress bars of calls."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

from tqdm.auto import tqdm


class Showing(Protocol):
    """What settings say of progress bars."""

    @property
    def show_progress(self) -> bool:
        """Whether calls draw one."""
        ...


def progress_bar(
    settings: Showing, total: int | None, show_progress: bool | None, *, what: str = "Embedding"
) -> tqdm[Any]:
    """Return a bar on stderr; ``show_progress`` of a call overrides the settings."""
    shown = settings.show_progress if show_progress is None else show_progress
    return tqdm(total=total, desc=what, unit="item") if shown else _no_bar()


@cache
def _no_bar() -> tqdm[Any]:
    """Return the hidden bar that all calls share: making one takes a tenth of a question's time here."""
    return tqdm(disable=True)
