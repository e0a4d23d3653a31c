"""Which servers to ask, and what they serve.

``remote`` checks what a user wrote and asks nobody; ``Remote.discover`` asks the servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..._secrets import Secret, check_key, split_login
from ...checkpoints.checkpoint import Checkpoint
from ...checkpoints.files import locate
from ...checkpoints.ranking import RankingCheckpoint
from ...checkpoints.registry import DEFAULT_ROW
from ...checkpoints.row import Row
from ...checkpoints.weights.token_layers import layer_files
from ...errors import ConfigError
from ..config import RemoteConfig
from ..pool import EnginePool
from .ranking_facts import RankingFacts
from .server_facts import ServerFacts

LONGEST_TIMEOUT = 1_000_000
"""Seconds that one request to a server may be given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """Servers, and what they serve.

    Attributes:
        urls: Where they are, without user names and passwords.
        api_key: What they want to be shown.
        timeout: Seconds that one request may take.
        logins: User name and password for each of ``urls``, or None.
        facts: What they serve; None where the caller names the checkpoint.
    """

    urls: tuple[str, ...]
    api_key: Secret | None
    timeout: float
    logins: tuple[Secret | None, ...] = ()
    facts: ServerFacts | RankingFacts | None = None

    def config(
        self, checkpoint: Checkpoint | RankingCheckpoint, *, revision: str | None, min_pixels: int, max_pixels: int
    ) -> RemoteConfig:
        """Return the configuration of their engine; where they are decides no vector."""
        if self.facts is None:
            location = checkpoint.location
            state = locate(location).state(layer_files(checkpoint.row) if isinstance(checkpoint, Checkpoint) else ())
        else:  # a server names its checkpoint as it likes; that is not a path on this machine
            location, state, revision = self.facts.location, self.facts.files, self.facts.revision
        return RemoteConfig(
            location=location,
            revision=revision,
            min_pixels=min_pixels,
            max_pixels=max_pixels,
            files=state,
            row=checkpoint.row,
            ranks=isinstance(checkpoint, RankingCheckpoint),
            checkpoint=checkpoint,
            is_told=self.facts is not None,
            **self._place(),
        )

    def discover(self, pool: EnginePool, row: Row | None = None, *, ranks: bool = False) -> tuple[Remote, bytes]:
        """Ask the servers: return this with their facts, and the tokenizer.json that they give.

        Args:
            pool: Where the engine is that asks.
            row: The row that they serve, where it is not a registered one.
            ranks: Whether they are to serve a reranker.

        Raises:
            ConfigError: They are plain vLLM servers, which do not say what they serve, or their row is not known here.
            EngineDeadError: None of them answers.
        """
        place = self._place() | {"ranks": ranks}
        config = RemoteConfig(location="", revision=None, min_pixels=0, max_pixels=0, row=row or DEFAULT_ROW, **place)
        engine: Any = pool.acquire(config)  # a RemoteEngine
        try:
            facts, tokenizer = engine.facts()
        finally:
            pool.release(config)
        return replace(self, facts=facts), tokenizer

    def _place(self) -> dict[str, Any]:
        return {"servers": self.urls, "api_key": self.api_key, "logins": self.logins, "timeout": self.timeout}


def remote(urls: str | Sequence[str], *, api_key: str | None, timeout: float, pickle_api_key: bool = False) -> Remote:
    """Return which servers to ask, checked.

    Raises:
        ConfigError: No URL, one that is not a URL, two ways to authenticate, no usable timeout, or a
            ``pickle_api_key`` that is neither True nor False. The message shows neither the key nor a password that
            stands in a URL.
    """
    if not isinstance(pickle_api_key, bool):  # not shown: it may be the key
        raise ConfigError(f"got a {type(pickle_api_key).__name__} as pickle_api_key; expected True or False.")
    try:
        listed = [urls] if isinstance(urls, str) else list(urls)
    except TypeError:
        raise ConfigError(
            f"servers={urls!r:.100} is a {type(urls).__name__}; expected a URL such as 'http://gpu-box:8000', or a "
            "list of them."
        ) from None
    if not listed:
        raise ConfigError("got no server; expected a URL such as 'http://gpu-box:8000', or a list of them.")
    split = [split_login(url, is_pickled=pickle_api_key) for url in listed]
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= LONGEST_TIMEOUT:
        raise ConfigError(f"timeout={timeout!r:.40} must be a number of seconds over 0, at most {LONGEST_TIMEOUT}.")
    key = check_key(api_key)
    if key is not None and any(login for _, login in split):
        raise ConfigError("got api_key and a user name in a URL; a request can show a server only one of them.")
    short = dict.fromkeys((url.rstrip("/").removesuffix("/v1").rstrip("/"), login) for url, login in split)
    return Remote(
        urls=tuple(url for url, _ in short),
        api_key=None if key is None else Secret(key, is_pickled=pickle_api_key),
        logins=tuple(login for _, login in short),
        timeout=float(timeout),
    )
