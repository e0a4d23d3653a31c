"""Checks that a server serves what was asked for, what it served before, and what its peers serve.

Each takes what is known of the two and raises a ``ConfigError`` that shows both values.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...checkpoints.description import Checkpoint
from ...errors import ConfigError
from ..config import RemoteConfig
from .server_facts import ServerFacts


def compare_checkpoint(config: RemoteConfig, wanted: Checkpoint, served: Checkpoint, url: str) -> None:
    """Check that a server serves the checkpoint and the pixel bounds that were asked for."""
    asked = {name: getattr(wanted, name) for name in ("row", "hidden_size", "token_dimensions")}
    asked |= {"min_pixels": config.min_pixels, "max_pixels": config.max_pixels}
    for name, value in asked.items():
        if value != (got := getattr(served, name)):
            raise ConfigError(
                f"{url}: the server has {name}={got!r} ({served.name}); expected {value!r} ({wanted.name}). Ask for "
                "what it serves, or start it otherwise."
            )


def compare_starts(before: ServerFacts, now: ServerFacts, url: str) -> None:
    """Check that a server that was lost is the same one again."""
    old, new = before.identity, now.identity
    names = [name for name in old | new if old.get(name) != new.get(name)]
    if changes := [f"{name}={old.get(name)!r}, now {new.get(name)!r}" for name in names]:
        raise started_anew(url, changes)


def started_anew(url: str, changes: Sequence[str]) -> ConfigError:
    """Return the error for a server that came back and serves something else."""
    return ConfigError(
        f"{url}: the server there was started anew and serves another checkpoint ({'; '.join(changes)}). Its vectors "
        "do not go with those from before. Make a new embedder and index anew, or start it as it was."
    )


def compare_peers(facts: ServerFacts, url: str, peer: ServerFacts, peer_url: str) -> None:
    """Check that two servers give equal vectors for the tasks that both serve.

    Times of files are not compared: copies on two machines have others.
    """
    mine, other = facts.checkpoint, peer.checkpoint
    if not set(mine.tasks) & set(other.tasks):
        return
    names = ["dtype"]
    if mine.name == other.name or None not in (facts.revision, peer.revision):
        names.append("revision")
    for name in names:
        if (got := getattr(facts, name)) != (known := getattr(peer, name)):
            raise ConfigError(
                f"{url}: the server has {name}={got!r} ({mine.name}), and {peer_url} has {known!r} ({other.name}); "
                "expected servers that give equal vectors. Start them alike, or pass one of them."
            )
