"""Checks that a server serves what was asked for, what it served before, and what its peers serve.

Each takes what is known of the two and raises a ``ConfigError`` that shows both values. Of a plain server nothing is
known but the token states of ``PROBES``, which tell their length and the kind of attention.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..._arrays import Floats
from ...checkpoints.checkpoint import Checkpoint
from ...errors import ConfigError
from ..config import RemoteConfig
from ..self_check import LIMIT, apart
from .server_facts import ServerFacts

PROBES = ((0, 1, 0, 1, 0, 1), (0, 1, 0, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0))
"""Token ids of two prompts for a plain server. Every vocabulary has these; both prompts begin alike, so that attention
shows; and they are shorter than a block of a prefix cache, so that the second one is computed too."""


def check_plain(checkpoint: Checkpoint | None, flats: Sequence[Floats], url: str) -> int:
    """Return the length of a token state of a plain server that gives the states of a checkpoint.

    Args:
        checkpoint: What it should serve; None where nobody said it.
        flats: The token states of each of ``PROBES``, flat.
        url: Where it is.

    Raises:
        ConfigError: It gives those of another checkpoint, or computes another kind of attention, as vLLM does of older
            copies of gte-Qwen2 whose config.json has no ``is_causal``; or a plain server cannot serve this one.
    """
    counts = [len(ids) for ids in PROBES]
    width = len(flats[0]) // counts[0]
    sizes = [len(flat) for flat in flats]
    if checkpoint is not None and checkpoint.row.projector is not None:
        raise ConfigError(
            f"{url}: a plain vLLM server makes other multi-vectors than {checkpoint.name} was trained for. Start it by "
            "'vllm-jina-embed serve'."
        )
    if checkpoint is None or checkpoint.has_adapters or sizes != [count * checkpoint.hidden_size for count in counts]:
        wanted = "a merged checkpoint" if checkpoint is None else f"{checkpoint.name} ({checkpoint.hidden_size})"
        raise ConfigError(
            f"{url}: this plain vLLM server gives token states of {width} numbers; expected those of {wanted}. Pass "
            "the checkpoint that it serves as model=, or start it by 'vllm-jina-embed serve'."
        )
    if checkpoint.row.adapters:
        raise ConfigError(
            f"{url}: a plain vLLM server computes every task of {checkpoint.name} by the same adapter. Start it by "
            "'vllm-jina-embed serve'."
        )
    short, long = (flat.reshape(-1, width) for flat in flats)
    distance = apart(short, long[: len(short)])
    wrong = {"causal": not distance <= LIMIT, "both": not distance > LIMIT}
    if (attention := checkpoint.row.attention) is not None and wrong[attention]:
        is_causal = attention == "causal"
        raise ConfigError(
            f"{url}: in this plain vLLM server the first tokens of a prompt {'' if is_causal else 'do not '}see what "
            f"follows (their states are {distance:.4f} apart), but {checkpoint.name} was trained with "
            f"{'causal attention' if is_causal else 'attention to both sides'}. Start it by 'vllm-jina-embed serve', "
            f"or with --hf-overrides '{json.dumps({'is_causal': is_causal})}' where vLLM's class reads that."
        )
    return width


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


def compare_before(config: RemoteConfig, facts: Sequence[ServerFacts], *, all_told: bool) -> None:
    """Check that servers serve what they served when ``config`` was made, in this process or in another one.

    Args:
        config: Of an engine whose checkpoint the servers told.
        facts: What those tell now that answer.
        all_told: Whether every server does. Copies have files of other times, so these decide nothing while the server
            may be missing whose files they were.
    """
    names = ("location", "revision", "files") if all_told else ("location", "revision")
    wanted = {name: getattr(config, name) for name in names}
    served = [{name: getattr(one, name) for name in names} for one in facts]
    if wanted not in served:
        raise ConfigError(
            f"{', '.join(config.servers)}: this embedder was made for {wanted}; the servers now serve "
            f"{' and '.join(map(str, served))}. Their vectors do not go with those from before. Make a new embedder "
            "and index anew, or start them as they were."
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
