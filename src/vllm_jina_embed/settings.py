"""An embedder's settings, checked.

Enters: what a user wrote. Leaves: a frozen ``Settings`` that the checkpoint and the engine can honour.
This file refuses to start anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from . import checkpoints
from .checkpoints import Checkpoint
from .engine.base import EngineConfig
from .errors import ConfigError
from .media import MediaPolicy
from .prompts import Truncate

OnError = Literal["raise", "skip"]

VECTORS = "vllm-jina-embed/1"
"""Version of the way vectors are made; changes whenever an equal input would give another vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an embedder was asked to do; see ``JinaEmbedder`` for each name."""

    checkpoint: Checkpoint
    task: str
    dimensions: int
    truncate: Truncate
    max_length: int
    media: MediaPolicy
    show_progress: bool
    on_error: OnError
    engine: EngineConfig

    def for_call(self, *, dimensions: int | None = None, task: str | None = None) -> Settings:
        """Return the settings of one call, which may have its own ``dimensions`` and ``task``.

        Raises:
            ConfigError: No Matryoshka size of this checkpoint, or a task that it does not serve.
        """
        changes: dict[str, Any] = {}
        if dimensions is not None:
            changes["dimensions"] = checkpoints.check_dimensions(self.checkpoint, dimensions)
        if task is not None:
            changes["task"] = checkpoints.check_task(self.checkpoint, task)
        return replace(self, **changes) if changes else self

    @property
    def fingerprint(self) -> str:
        """What decides a vector, as one string: equal ones give equal vectors for equal inputs and roles."""
        engine = self.engine
        parts = (
            VECTORS,
            engine.location,
            engine.revision,
            engine.files,
            self.task,
            self.dimensions,
            engine.min_pixels,
            engine.max_pixels,
            self.truncate,
            self.max_length,
            engine.options_key,
        )
        return "|".join(map(str, parts))


def check(
    *,
    model: str | os.PathLike[str],
    revision: str | None,
    task: str | None,
    dimensions: int | None,
    truncate: Truncate,
    max_length: int | None,
    min_pixels: int | None,
    max_pixels: int | None,
    media: MediaPolicy | None,
    show_progress: bool,
    on_error: OnError,
    engine_kwargs: Mapping[str, Any] | None,
) -> Settings:
    """Return the settings with every default filled in.

    Raises:
        ConfigError: Names the setting, what was got and what is allowed.
    """
    checkpoint = checkpoints.resolve(os.fspath(model), revision)
    low = _positive("min_pixels", min_pixels, checkpoint.min_pixels)
    high = _positive("max_pixels", max_pixels, checkpoint.max_pixels)
    if low > high:
        raise ConfigError(f"min_pixels={low} is larger than max_pixels={high}.")
    return Settings(
        checkpoint=checkpoint,
        task=checkpoints.check_task(checkpoint, task),
        dimensions=checkpoints.check_dimensions(checkpoint, dimensions),
        truncate=_choice("truncate", truncate, get_args(Truncate)),
        max_length=_positive("max_length", max_length, checkpoint.max_length),
        media=media if media is not None else MediaPolicy(),
        show_progress=show_progress,
        on_error=_choice("on_error", on_error, get_args(OnError)),
        engine=EngineConfig(
            location=checkpoint.location,
            revision=revision,
            min_pixels=low,
            max_pixels=high,
            files=checkpoints.files_state(checkpoint.location),
            max_tokens=checkpoint.max_length,
            tasks=checkpoint.tasks if checkpoint.has_adapters else (),
            options={**checkpoint.options, **(engine_kwargs or {})},
        ),
    )


def one_of(name: str, value: Any, alias: str, other: Any) -> Any:
    """Return the one of two names of a setting that was given.

    Raises:
        ConfigError: Both were given.
    """
    if value is not None and other is not None:
        raise ConfigError(f"{name} and {alias} are two names of one setting; pass one.")
    return other if value is None else value


def _choice(name: str, value: Any, allowed: tuple[str, ...]) -> Any:
    if value not in allowed:
        raise ConfigError(f"{name}={value!r} is unknown; choose one of {', '.join(allowed)}.")
    return value


def _positive(name: str, value: int | None, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name}={value!r} must be a whole number over 0.")
    return value
