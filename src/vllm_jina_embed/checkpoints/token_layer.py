"""Where a checkpoint has a layer that was trained on top of its token states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLayer:
    """A linear layer over token states, ``W x + b``; a checkpoint that has no ``b`` was trained without one.

    Attributes:
        names: Names of the layer, one of which the weights have: ``names[0].weight``, perhaps behind the model's name.
        file: The torch file that has ``weight`` and ``bias`` alone; empty where the layer is among the weights.
        size_key: The key of config.json with the length of what it gives; empty where that is ``size``.
        size: The length where config.json does not say it; None for that of a token state.
        skips_first: Whether the first token of a prompt gets no row.
        skips: Special tokens that get no weight, wherever they stand.
    """

    names: tuple[str, ...] = ()
    file: str = ""
    size_key: str = ""
    size: int | None = None
    skips_first: bool = False
    skips: tuple[str, ...] = ()

    @property
    def plain(self) -> dict[str, Any]:
        """What JSON holds of it: what decides a vector."""
        return {
            "names": list(self.names),
            "file": self.file,
            "skips_first": self.skips_first,
            "skips": list(self.skips),
        }
