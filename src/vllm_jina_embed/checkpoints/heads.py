"""What a reranker has on top of the state of one token: a number for a pair, whose sigmoid is its score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class YesNo:
    """The head that gives words, asked for two of them: its logit is that of ``yes`` less that of ``no``.

    Attributes:
        yes: The token of a relevant document, as the vocabulary spells it.
        no: The token of one that is not.
    """

    yes: str
    no: str

    @property
    def plain(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {"yes": self.yes, "no": self.no}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """Two linear layers of the checkpoint with a function between them.

    Attributes:
        names: The names of both in the weights: ``names[0].weight`` and ``names[0].bias`` come first.
        activation: What stands between them.
        minus: What the published code takes from the logit.
    """

    names: tuple[str, str]
    activation: Literal["tanh", "relu"]
    minus: float = 0.0

    @property
    def plain(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {"names": list(self.names), "activation": self.activation, "minus": self.minus}


Head: TypeAlias = YesNo | Layers
