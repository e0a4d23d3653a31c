"""The calls for both kinds of vectors of the same items."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._arrays import Floats
from ..inputs import items as inputs
from ..inputs.items import Checked, EmbedInput
from ..prompts.base import PromptName
from .telemetry import observed
from .token_weights import TokenWeightCalls


class BothKindsCalls(TokenWeightCalls):
    """The calls of an embedder whose model has embeddings and multi-vectors."""

    def embed_both_kinds(
        self,
        items: Iterable[EmbedInput],
        *,
        prompt_name: PromptName | None = None,
        input_type: str | None = None,
        **overrides: Any,
    ) -> tuple[Any, list[Floats]]:
        """Return what ``embed`` and ``embed_multi_vector`` return, from one pass of the engine for each item.

        Two passes are made, with the same result, where the engine is a server, where ``long_text="chunks"`` gives the
        embedding other prompts, and for texts with images where ``fusion`` does.

        Args:
            items: As in ``embed``.
            prompt_name: As in ``embed``.
            input_type: As in ``embed``.
            **overrides: As in ``embed``.

        Returns:
            The embeddings ``(n, dimension)``, and ``n`` multi-vectors ``(n_tokens, token_dimensions)``, order kept.

        Raises:
            InputError: As in ``embed``; an item that has one kind alone has an error. ``error.embeddings`` has the
                attributes ``embeddings`` and ``multi_vectors``.
            ConfigError: As in ``embed``, or the model has one kind alone.
            ClosedError: After ``close()``.
        """
        return self._both(inputs.mixed(items), prompt_name, input_type=input_type, **overrides)

    async def aembed_both_kinds(
        self,
        items: Iterable[EmbedInput],
        *,
        prompt_name: PromptName | None = None,
        input_type: str | None = None,
        **overrides: Any,
    ) -> tuple[Any, list[Floats]]:
        """Await ``embed_both_kinds``."""
        return await self._aboth(inputs.mixed(items), prompt_name, input_type=input_type, **overrides)

    def _both(self, items: list[Checked], prompt_name: str | None, **options: Any) -> tuple[Any, list[Floats]]:
        role, mode, overrides, output = self._understood(prompt_name, both=True, **options)
        with observed(self.settings, items, overrides):
            rows = self.outcome(items, role, **overrides).checked(self.settings, on_error=mode)
        return output.of(rows.embeddings), rows.multi_vectors

    async def _aboth(self, items: list[Checked], prompt_name: str | None, **options: Any) -> tuple[Any, list[Floats]]:
        role, mode, overrides, output = self._understood(prompt_name, both=True, **options)
        with observed(self.settings, items, overrides):
            rows = (await self.aoutcome(items, role, **overrides)).checked(self.settings, on_error=mode)
        return output.of(rows.embeddings), rows.multi_vectors
