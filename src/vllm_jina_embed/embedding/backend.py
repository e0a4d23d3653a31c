"""The seam below an embedder's calls: what answers a request for vectors.

The engine is one backend, the cache in front of it another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..inputs.items import Item
from .outcomes import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one call asks for.

    Attributes:
        items: Checked texts and images.
        prompt_name: ``query`` or ``passage``.
        multi_vector: Whether one vector per token is asked for, or one per item.
        dimensions: Matryoshka size; None takes the embedder's. Multi-vectors have none.
        task: None takes the embedder's.
        show_progress: None takes the embedder's.
    """

    items: list[Item]
    prompt_name: str
    multi_vector: bool = False
    dimensions: int | None = None
    task: str | None = None
    show_progress: bool | None = None


class Backend(Protocol):
    """Answers requests, from any thread and any event loop."""

    def run(self, request: Request) -> Outcome:
        """Return one row per item, and the errors of the items that have none.

        Raises:
            ConfigError: ``dimensions`` is not a Matryoshka size, or the checkpoint does not serve ``task``.
            ClosedError: It was closed.
        """
        ...

    async def arun(self, request: Request) -> Outcome:
        """Await ``run``."""
        ...
