"""Fill the prompts of texts up to the length that a model was trained with."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError


@dataclass(frozen=True, slots=True)
class Padding:
    """What prompts of texts are filled up with.

    Attributes:
        token_id: The padding token.
        length: How many tokens the checkpoint takes, and each prompt has; None if nobody said so.
    """

    token_id: int
    length: int | None

    def check(self, max_length: int) -> None:
        """Check that a prompt of the model's own length may be sent.

        Raises:
            ConfigError: ``max_length``, or the engine, allows shorter ones alone, or the length is not known.
        """
        if self.length is None or max_length < self.length:
            own = "its own number of" if self.length is None else self.length
            raise ConfigError(
                f"max_length={max_length}: this model was trained with texts that are filled up to {own} tokens, and "
                "shorter prompts have other vectors. Leave it out, and an engine's max_model_len."
            )

    def fill(self, token_ids: tuple[int, ...]) -> tuple[int, ...]:
        """Return the ids of a prompt with padding behind them."""
        return (*token_ids, *[self.token_id] * ((self.length or 0) - len(token_ids)))
