"""An embedder's settings, checked.

Enters: what a user wrote. Leaves: a frozen ``Settings`` that the checkpoint and the engine can honour.
This file refuses to start anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from ._secrets import Secret, split_login
from .checkpoints import description, files, resolve
from .checkpoints.description import TASKS, Checkpoint
from .checkpoints.registry import serving
from .engine.config import EngineConfig
from .engine.pool import EnginePool
from .engine.remote.server_facts import ServerFacts
from .errors import ConfigError
from .inputs.images import MediaPolicy
from .prompts.base import Truncate

OnError = Literal["raise", "skip"]
LONGEST_TIMEOUT = 1_000_000
"""Seconds that one request to a server may be given."""

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
            changes["dimensions"] = check_dimensions(self.checkpoint, dimensions)
        if task is not None:
            changes["task"] = check_task(self.checkpoint, task)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Which servers to ask, and what they told.

    Attributes:
        urls: Where they are, without user names and passwords.
        api_key: What they want to be shown.
        logins: User name and password for each of ``urls``, or None.
        timeout: Seconds that one request may take.
        facts: What they serve; None where the caller names the checkpoint.
    """

    urls: tuple[str, ...]
    api_key: Secret | None
    timeout: float
    logins: tuple[Secret | None, ...] = ()
    facts: ServerFacts | None = None

    def engine(self, config: EngineConfig, checkpoint: Checkpoint) -> EngineConfig:
        """Return ``config`` for the servers; where they are decides no vector."""
        changes: dict[str, Any] = {}
        if self.facts is not None:
            location = f"{checkpoint.name} in {self.facts.dtype}"
            changes = {"location": location, "revision": self.facts.revision, "files": self.facts.files}
        return replace(config, **self._where(), checkpoint=checkpoint, **changes)

    def ask(self, pool: EnginePool) -> tuple[Served, bytes]:
        """Return this with the servers' facts, and the tokenizer.json that they give.

        Raises:
            ConfigError: They are plain vLLM servers, which tell nothing.
            EngineDeadError: None of them answers.
        """
        config = EngineConfig(location="", revision=None, min_pixels=0, max_pixels=0, **self._where())
        engine: Any = pool.acquire(config)  # a RemoteEngine
        try:
            facts, tokenizer = engine.facts()
        finally:
            pool.release(config)
        return replace(self, facts=facts), tokenizer

    def _where(self) -> dict[str, Any]:
        return {"servers": self.urls, "api_key": self.api_key, "logins": self.logins, "timeout": self.timeout}


def check_key(api_key: str | None) -> str | None:
    """Return ``api_key`` itself.

    Raises:
        ConfigError: It cannot stand in an HTTP header; the message does not show it.
    """
    if api_key is not None and not (isinstance(api_key, str) and re.fullmatch(r"[!-~]+", api_key)):
        raise ConfigError("api_key must be a string of ASCII letters, digits and punctuation, without spaces.")
    return api_key


def served(urls: str | Sequence[str], *, api_key: str | None, timeout: float) -> Served:
    """Return where to ask, checked.

    Raises:
        ConfigError: No URL, one that is none, two ways to authenticate, or no usable timeout. The message shows
            neither the key nor a password that stands in a URL.
    """
    try:
        listed = [urls] if isinstance(urls, str) else list(urls)
    except TypeError:
        raise ConfigError(
            f"servers={urls!r:.100} is a {type(urls).__name__}; expected a URL such as 'http://gpu-box:8000', or a "
            "list of them."
        ) from None
    if not listed:
        raise ConfigError("got no server; expected a URL such as 'http://gpu-box:8000', or a list of them.")
    split = [split_login(url) for url in listed]
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= LONGEST_TIMEOUT:
        raise ConfigError(f"timeout={timeout!r:.40} must be a number of seconds over 0, at most {LONGEST_TIMEOUT}.")
    key = check_key(api_key)
    if key is not None and any(login for _, login in split):
        raise ConfigError("got api_key and a user name in a URL; a request can show a server only one of them.")
    short = dict.fromkeys((url.rstrip("/").removesuffix("/v1").rstrip("/"), login) for url, login in split)
    return Served(
        urls=tuple(url for url, _ in short),
        api_key=None if key is None else Secret(key),
        logins=tuple(login for _, login in short),
        timeout=float(timeout),
    )


def check(
    *,
    model: str | os.PathLike[str] | None,
    revision: str | None = None,
    task: str | None = None,
    dimensions: int | None = None,
    truncate: Truncate = "end",
    max_length: int | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    media: MediaPolicy | None = None,
    show_progress: bool = False,
    on_error: OnError = "raise",
    engine_kwargs: Mapping[str, Any] | None = None,
    where: Served | None = None,
) -> Settings:
    """Return the settings with every default filled in.

    Raises:
        ConfigError: Names the setting, what was got and what is allowed.
    """
    if where is not None and where.facts is not None:
        checkpoint = where.facts.checkpoint
    else:
        checkpoint = resolve.resolve(os.fspath(model or description.DEMO), revision)
        resolve.warn_if_assumed(checkpoint)
    if not checkpoint.supports_images and (min_pixels, max_pixels) != (None, None):
        raise ConfigError(f"min_pixels and max_pixels mean nothing to {checkpoint.name}, which takes texts only.")
    low = _positive("min_pixels", min_pixels, checkpoint.min_pixels)
    high = _positive("max_pixels", max_pixels, checkpoint.max_pixels)
    if low > high:
        raise ConfigError(f"min_pixels={low} is larger than max_pixels={high}.")
    engine = EngineConfig(
        location=checkpoint.location,
        revision=revision,
        min_pixels=low,
        max_pixels=high,
        # A server names its checkpoint as it likes; that is not a path on this machine.
        files="" if where is not None and where.facts is not None else files.files_state(checkpoint.location),
        max_tokens=checkpoint.max_length,
        tasks=checkpoint.tasks if checkpoint.has_adapters else (),
        options={} if where is not None else {**checkpoint.options, **(engine_kwargs or {})},
        family=checkpoint.family,
    )
    return Settings(
        checkpoint=checkpoint,
        task=check_task(checkpoint, task),
        dimensions=check_dimensions(checkpoint, dimensions),
        truncate=_choice("truncate", truncate, get_args(Truncate)),
        max_length=_positive("max_length", max_length, checkpoint.max_length),
        media=media if media is not None else MediaPolicy(),
        show_progress=show_progress,
        on_error=check_on_error(on_error),
        engine=engine if where is None else where.engine(engine, checkpoint),
    )


def check_on_error(on_error: str) -> OnError:
    """Return ``on_error`` itself.

    Raises:
        ConfigError: It is neither ``raise`` nor ``skip``.
    """
    checked: OnError = _choice("on_error", on_error, get_args(OnError))
    return checked


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


def check_task(checkpoint: Checkpoint, task: str | None) -> str:
    """Return the task to use: ``task`` itself, or the checkpoint's first where it is None.

    Raises:
        ConfigError: These weights do not serve ``task``; the message names the checkpoint that does.
    """
    if task is None:
        return checkpoint.tasks[0]
    if task not in TASKS:
        raise ConfigError(f"task={task!r} is unknown; choose one of {', '.join(TASKS)}.")
    if task not in checkpoint.tasks:
        raise ConfigError(
            f"task={task!r} is not served by {checkpoint.name}, only {', '.join(checkpoint.tasks)}. It is served by "
            f"{' and '.join(serving(task))}."
        )
    return task


def check_dimensions(checkpoint: Checkpoint, dimensions: int | None) -> int:
    """Return the length of the embeddings: ``dimensions``, or the full length where it is None.

    Raises:
        ConfigError: Not a Matryoshka size of this checkpoint.
    """
    if dimensions is None:
        return checkpoint.hidden_size
    if isinstance(dimensions, bool | float) or dimensions not in checkpoint.dimensions:
        raise ConfigError(
            f"dimensions={dimensions!r} is not a Matryoshka size of {checkpoint.name}; "
            f"choose one of {', '.join(map(str, checkpoint.dimensions))}."
        )
    return int(dimensions)
