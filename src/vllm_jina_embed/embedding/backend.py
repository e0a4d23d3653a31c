"""The interface that an embedder computes with: a request in, rows and errors out.

The engine is one backend; the cache in front of it is another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..inputs.items import Item
from .outcomes import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call: the items and how to embed them.

    Attributes:
        items: Checked texts, images and both.
        prompt_name: ``query`` or ``passage``.
        multi_vector: Whether to return one vector per token, or one per item.
        both: Instead, whether to return both, from one pass of the engine where the model allows.
        weights: Instead, whether to return what each token id weighs, as a dict per item.
        dimensions: Matryoshka size; None takes the embedder's. Multi-vectors have none.
        task: None takes the embedder's.
        normalize: Whether embeddings have L2 norm 1; None takes the embedder's. Multi-vectors always do.
        ends: For late chunking, by the position of each item, a text, where its chunks end in it, in characters.
        show_progress: None takes the embedder's.
    """

    items: list[Item]
    prompt_name: str
    multi_vector: bool = False
    both: bool = False
    weights: bool = False
    dimensions: int | None = None
    task: str | None = None
    normalize: bool | None = None
    ends: Mapping[int, Sequence[int]] | None = None
    show_progress: bool | None = None


class Backend(Protocol):
    """Computes the rows of a request; called from any thread and any event loop."""

    def run(self, request: Request) -> Outcome:
        """Return one row per item, and the errors of the items that have none.

        Raises:
            ConfigError: ``dimensions`` is not a Matryoshka size, or the checkpoint does not serve ``task``.
            ClosedError: The embedder is closed.
        """
        ...

    async def arun(self, request: Request) -> Outcome:
        """Await ``run``."""
        ...
