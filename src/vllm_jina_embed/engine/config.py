"""What decides which engine it is: two callers with equal configurations share one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._instruments import ENGINE, ROW
from .._secrets import Secret
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.ranking import RankingCheckpoint
from ..checkpoints.registry import DEFAULT_ROW
from ..checkpoints.row import Row
from ..checkpoints.table.jina_v4 import MAX_LENGTH
from ..errors import ConfigError

DECIDED = frozenset({"model", "tokenizer", "hf_overrides"})
"""Arguments of vLLM that the checkpoint and its row decide; a user's would be left out without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What decides the vectors of an engine, wherever it runs; a ``LocalConfig`` or a ``RemoteConfig``.

    Attributes:
        location: Folder or hub repository of the checkpoint; for servers that say what they serve, their own words.
        revision: Commit or tag of a hub repository.
        min_pixels: Lower bound of an image's area in pixels.
        max_pixels: Upper bound of an image's area in pixels.
        files: State of the files in a local checkpoint's folder, so that new weights get a new engine.
        row: Decides how vLLM is started and what its vectors or scores must be; of servers that are not known yet, a
            row that they may name although nobody registered it.
        options_key: The engine's own keyword arguments as one string; those of servers are not known here.
    """

    location: str
    revision: str | None
    min_pixels: int
    max_pixels: int
    files: str = ""
    row: Row = DEFAULT_ROW
    options_key: str = field(init=False, default="{}")

    @property
    def told(self) -> dict[str, str]:
        """What metrics tell of the engine: where it runs, and its row where that is known."""
        is_remote = isinstance(self, RemoteConfig)
        row = {} if is_remote and not self.location else {ROW: self.row.name}
        return {ENGINE: "remote" if is_remote else "local", **row}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalConfig(EngineConfig):
    """An engine in this process.

    Attributes:
        architecture: The checkpoint's own; empty for that of the row's first layout.
        embedding_size: Length of a full embedding where that is not the one of a state; None elsewhere.
        max_tokens: Longest prompt in tokens, images expanded, unless the options say otherwise.
        tasks: Tasks that the checkpoint has an adapter for; empty where its weights are merged for one.
        options: The engine's own keyword arguments, passed on unchanged.
    """

    architecture: str = ""
    embedding_size: int | None = None
    max_tokens: int = MAX_LENGTH
    tasks: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Make the options comparable and hashable.

        Raises:
            ConfigError: They hold an argument that the checkpoint and its row decide.
        """
        if own := sorted(DECIDED & {*self.options}):
            raise ConfigError(
                f"engine_kwargs: {', '.join(own)} would be ignored: it is made of the checkpoint and its row. Pass "
                "model=, or row= with a description of another model (vllm_jina_embed.Model, overrides)."
            )
        object.__setattr__(self, "options_key", json.dumps(self.options, sort_keys=True, default=repr))


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteConfig(EngineConfig):
    """Servers elsewhere, which must serve ``location``.

    Attributes:
        servers: Their URLs, without user names and passwords.
        api_key: What the servers want to be shown; a string becomes a ``Secret``.
        logins: User name and password for each of ``servers``, or None; empty where none has any.
        timeout: Seconds that a server may take for one request.
        ranks: Whether they must serve a reranker; else a model that embeds items.
        checkpoint: What the servers must serve; None asks them.
        is_told: Whether they said what they serve; else the caller named it.
    """

    servers: tuple[str, ...]
    api_key: Secret | str | None = field(default=None, repr=False)
    logins: tuple[Secret | None, ...] = field(default=(), repr=False)
    timeout: float = 60.0
    ranks: bool = False
    checkpoint: Checkpoint | RankingCheckpoint | None = field(default=None, compare=False)
    is_told: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        """Make the key secret."""
        if isinstance(self.api_key, str):
            object.__setattr__(self, "api_key", Secret(self.api_key))

    @property
    def image_sizes(self) -> dict[str, int]:
        """What decides how many tokens an image has: the bounds of its pixels, and the side of a token's square."""
        return {"min_pixels": self.min_pixels, "max_pixels": self.max_pixels, "side": self.row.token_side}
