"""What every embedder is: its settings, the backend that computes, and the outcome of checked items."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any

from .._closing import Closing
from ..checkpoints.checkpoint import Checkpoint
from ..inputs import items as inputs
from ..inputs.items import Checked
from ..pooling.output_type import OutputType
from ..prompts.input_types import role_and_task
from ..settings import OnError, Settings, check_on_error
from .backend import Backend, Request
from .outcomes import Outcome
from .output_types import mode_of, of_call
from .telemetry import add_failed, observed


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
        """A task of the checkpoint, such as ``retrieval``."""
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
        with observed(self.settings, items, overrides):
            outcome = self.backend.run(Request(items=inputs.good(items), prompt_name=prompt_name, **overrides))
            outcome = outcome.among(items, self._row_length(**overrides))
            add_failed(items, outcome)
        return outcome

    async def aoutcome(self, items: list[Checked], prompt_name: str, **overrides: Any) -> Outcome:
        """Await ``outcome``."""
        with observed(self.settings, items, overrides):
            outcome = await self.backend.arun(Request(items=inputs.good(items), prompt_name=prompt_name, **overrides))
            outcome = outcome.among(items, self._row_length(**overrides))
            add_failed(items, outcome)
        return outcome

    def _rows(self, items: list[Checked], prompt_name: str | None, /, **options: Any) -> Any:
        role, mode, overrides, output = self._understood(prompt_name, **options)
        with observed(self.settings, items, overrides):
            outcome = self.outcome(items, role, **overrides)
            with output.errors():
                rows = outcome.checked(self.settings, on_error=mode)
        return output.of(rows)

    async def _arows(self, items: list[Checked], prompt_name: str | None, /, **options: Any) -> Any:
        role, mode, overrides, output = self._understood(prompt_name, **options)
        with observed(self.settings, items, overrides):
            outcome = await self.aoutcome(items, role, **overrides)
            with output.errors():
                rows = outcome.checked(self.settings, on_error=mode)
        return output.of(rows)

    def _understood(
        self,
        prompt_name: str | None,
        *,
        input_type: str | None = None,
        task: str | None = None,
        on_error: str | None = None,
        output_dtype: str | None = None,
        ranges: Any = None,
        **overrides: Any,
    ) -> tuple[str, OnError | None, dict[str, Any], OutputType]:
        """Return the role of a call, what it does with errors, its overrides and the type of its rows.

        Nothing is computed.
        """
        role, task = role_and_task(self.checkpoint, prompt_name, input_type, task)
        output = of_call(self.settings, output_dtype, ranges, **overrides)
        mode = None if on_error is None else check_on_error(on_error)
        return role, mode_of(output, mode), {**overrides, "task": task}, output

    def _row_length(self, *, multi_vector: bool = False, dimensions: int | None = None, **_: Any) -> int:
        return self.checkpoint.token_dimensions if multi_vector else dimensions or self.dimensions
