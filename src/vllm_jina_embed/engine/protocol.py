"""What every engine can do, and what decides which engine it is.

Enters: ``Prompt`` objects. Leaves: embeddings. Knows neither vLLM nor HTTP.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from .._arrays import Floats
from ..prompts.base import Prompt
from .loop import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStates:
    """The states of one prompt's tokens.

    Attributes:
        token_ids: Prompt tokens with every picture expanded, ``(n_tokens,)``.
        states: float32 ``(n_tokens, hidden_size)`` after the final norm, never normalised.
    """

    token_ids: tuple[int, ...]
    states: Floats


class Engine(Protocol):
    """One running checkpoint. What is awaited is awaited inside a coroutine that ``run`` was given.

    A task was checked against the checkpoint before; one whose weights are merged for a task needs to do nothing.
    """

    @property
    def max_tokens(self) -> int:
        """Longest prompt in tokens, pictures expanded."""
        ...

    def run(self, job: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        """Start ``job`` on the engine's own loop; callable from any thread."""
        ...

    async def embed(self, prompt: Prompt, *, dimensions: int, task: str, urgent: bool = False) -> Floats:
        """Return the float32 embedding ``(dimensions,)`` of L2 norm 1; urgent ones overtake the others.

        Raises:
            InputError: The engine refuses this prompt.
            EngineDeadError: The engine's process ended, and its restart did not help.
        """
        ...

    async def multi_vector(self, prompt: Prompt, *, task: str, urgent: bool = False) -> Floats:
        """Return one row per token of the prompt, float32 ``(n_tokens, token_dimensions)``, rows of L2 norm 1.

        Raises:
            InputError: The engine refuses this prompt.
            EngineDeadError: The engine's process ended, and its restart did not help.
        """
        ...

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        """Return every token's state."""
        ...

    def close(self) -> None:
        """Stop the engine and free what it holds; further calls do nothing."""
        ...
