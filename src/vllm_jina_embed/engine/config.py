"""What decides which engine it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._secrets import Secret
from ..checkpoints.description import Checkpoint, Family
from ..checkpoints.registry import DEFAULT_FAMILY


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What two callers must have in common to share one engine.

    Attributes:
        location: Folder or hub repository of the checkpoint.
        revision: Commit or tag of a hub repository.
        min_pixels: Lower bound of a picture's area in pixels.
        max_pixels: Upper bound of a picture's area in pixels.
        files: State of the files in a local checkpoint's folder, so that new weights get a new engine.
        max_tokens: Longest prompt in tokens, pictures expanded, unless the options say otherwise.
        tasks: Tasks that the checkpoint has an adapter for; empty where its weights are merged for one.
        options: The engine's own keyword arguments, passed on unchanged.
        servers: URLs of the servers to ask, which must serve ``location``; none for an engine in this process.
        api_key: What the servers want to be shown; a string becomes a ``Secret``.
        logins: User name and password for each of ``servers``, or None; empty where none has any.
        timeout: Seconds that a server may take for one request.
        checkpoint: What the servers must serve; None asks them.
        family: Decides how vLLM is started and what its vectors must be.
    """

    location: str
    revision: str | None
    min_pixels: int
    max_pixels: int
    files: str = ""
    max_tokens: int = DEFAULT_FAMILY.max_length
    tasks: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)
    servers: tuple[str, ...] = ()
    api_key: Secret | str | None = field(default=None, repr=False)
    logins: tuple[Secret | None, ...] = field(default=(), repr=False)
    timeout: float = 60.0
    checkpoint: Checkpoint | None = field(default=None, compare=False)
    family: Family = DEFAULT_FAMILY
    options_key: str = field(init=False, default="")

    def __post_init__(self) -> None:
        """Make the options comparable and hashable, and the key secret."""
        object.__setattr__(self, "options_key", json.dumps(self.options, sort_keys=True, default=repr))
        if isinstance(self.api_key, str):
            object.__setattr__(self, "api_key", Secret(self.api_key))
