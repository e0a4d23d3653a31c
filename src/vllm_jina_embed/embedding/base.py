"""What every embedder is: its settings, the backend that computes, and the outcome of checked items."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any

from .._closing import Closing
from ..checkpoints.description import Checkpoint
from ..inputs import items as inputs
from ..inputs.items import Checked
from ..settings import Settings, check_on_error
from .backend import Backend, Request
from .outcomes import Outcome


class Base(Closing):
    """The settings and the backend of an embedder; ``Calls`` has its public methods.

    Attributes:
        settings: The checked settings.
        backend: Computes the vectors.
    """

    settings: Settings
    backend: Backend

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether ``close`` was called."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The description of the checkpoint."""
        return self.settings.checkpoint

    @property
    def model(self) -> str:
        """The checkpoint's name, as it was passed."""
        return self.checkpoint.name

    @property
    def task(self) -> str:
        """``retrieval``, ``text-matching`` or ``code``."""
        return self.settings.task

    @property
    def dimensions(self) -> int:
        """Length of the embeddings."""
        return self.settings.dimensions

    @property
    def dimension(self) -> int:
        """Old name of ``dimensions``, until the next version."""
        warnings.warn(f"{type(self).__name__}.dimension is now called dimensions", DeprecationWarning, stacklevel=2)
        return self.settings.dimensions

    @property
    def fingerprint(self) -> str:
        """All settings that change a vector, as one string: equal fingerprints, inputs and roles give equal vectors."""
        return self.settings.fingerprint

    # --- checked items ----------------------------------------------------------------------------------------------

    def outcome(self, items: list[Checked], prompt_name: str, **overrides: Any) -> Outcome:
        """Return the rows of checked items, and the errors of the bad ones; ``overrides`` are fields of ``Request``."""
        outcome = self.backend.run(Request(items=inputs.good(items), prompt_name=prompt_name, **overrides))
        return outcome.among(items, self._row_length(**overrides))

    async def aoutcome(self, items: list[Checked], prompt_name: str, **overrides: Any) -> Outcome:
        """Await ``outcome``."""
        outcome = await self.backend.arun(Request(items=inputs.good(items), prompt_name=prompt_name, **overrides))
        return outcome.among(items, self._row_length(**overrides))

    def _rows(self, items: list[Checked], prompt_name: str, /, *, on_error: str | None = None, **overrides: Any) -> Any:
        mode = None if on_error is None else check_on_error(on_error)  # before anything is computed
        return self.outcome(items, prompt_name, **overrides).checked(self.settings, on_error=mode)

    async def _arows(
        self, items: list[Checked], prompt_name: str, /, *, on_error: str | None = None, **overrides: Any
    ) -> Any:
        mode = None if on_error is None else check_on_error(on_error)
        return (await self.aoutcome(items, prompt_name, **overrides)).checked(self.settings, on_error=mode)

    def _row_length(self, *, multi_vector: bool = False, dimensions: int | None = None, **_: Any) -> int:
        return self.checkpoint.token_dimensions if multi_vector else dimensions or self.dimensions
