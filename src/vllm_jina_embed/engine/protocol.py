"""The interface of every engine, local or remote: prompts in, vectors out."""

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
        token_ids: Prompt tokens with every image expanded, ``(n_tokens,)``.
        states: float32 ``(n_tokens, hidden_size)`` after the final norm, not normalised.
    """

    token_ids: tuple[int, ...]
    states: Floats


class VectorSource(Protocol):
    """Computes the vectors and states of prompts.

    The caller has checked the task; a source whose weights are merged for one task ignores it.
    """

    async def embed(
        self, prompt: Prompt, *, dimensions: int, task: str, urgent: bool = False, normalize: bool = True
    ) -> Floats:
        """Return the float32 embedding ``(dimensions,)`` of a prompt.

        Args:
            prompt: The prompt.
            dimensions: Length of the embedding; what was pooled is cut to it.
            task: The task.
            urgent: Whether it overtakes the requests that are not.
            normalize: Whether its L2 norm is 1; otherwise it is what was pooled, with a layer norm where the row has
                one.

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


class Engine(VectorSource, Protocol):
    """One running checkpoint. Its async methods are awaited inside a coroutine passed to ``run``."""

    async def both(
        self, prompt: Prompt, *, dimensions: int, task: str, urgent: bool = False, normalize: bool = True
    ) -> tuple[Floats, Floats]:
        """Return what ``embed`` and ``multi_vector`` return for a prompt, from one pass where the engine has one.

        The arguments are those of ``embed``.

        Raises:
            InputError: The engine refuses this prompt.
            EngineDeadError: The engine's process ended, and its restart did not help.
        """
        ...

    async def token_weights(self, prompt: Prompt, *, task: str) -> Floats:
        """Return what each token of the prompt weighs, float32 ``(n_tokens,)``, none of them negative.

        Raises:
            InputError: The engine refuses this prompt.
            ConfigError: The engine is remote, and no server gives them.
            EngineDeadError: The engine's process ended, and its restart did not help.
        """
        ...

    async def logit(self, prompt: Prompt, *, urgent: bool = False) -> float:
        """Return what a reranker gives for the prompt of a pair: the number whose sigmoid is its score.

        Raises:
            InputError: The engine refuses this prompt.
            EngineDeadError: The engine's process ended, and its restart did not help.
        """
        ...

    @property
    def max_tokens(self) -> int:
        """Longest prompt in tokens, images expanded."""
        ...

    @property
    def in_flight(self) -> int:
        """Prompts of one call that it works on best at the same time."""
        ...

    def run(self, job: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        """Start ``job`` on the engine's own loop; callable from any thread."""
        ...

    def close(self) -> None:
        """Stop the engine and free its memory; further calls do nothing."""
        ...
