"""Where an embedder's prompt builder comes from: the checkpoint's files, or the servers.

An embedder that was unpickled makes its builder at the first request, and first checks that its vectors will be those
of the embedder that was pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.files import locate
from ..checkpoints.ranking import RankingCheckpoint
from ..checkpoints.weights.token_layers import layer_files
from ..engine.config import EngineConfig
from ..engine.pool import EnginePool
from ..errors import ConfigError
from ..prompts.base import Builder
from ..prompts.build import load_builder, read_builder
from ..settings import Settings

Loader = Callable[[Settings, EnginePool], Builder]


def from_checkpoint(settings: Settings, pool: EnginePool) -> Builder:
    """Return the builder with the tokenizer among the checkpoint's files.

    Raises:
        ConfigError: There is no usable tokenizer.
    """
    return load_builder(settings.checkpoint, revision=settings.engine.revision, policy=settings.media)


def from_same_checkpoint(settings: Settings, pool: EnginePool) -> Builder:
    """Do what ``from_checkpoint`` does, where the files are those that the settings were made for.

    Raises:
        ConfigError: The checkpoint is not here, its files are others, or there is no usable tokenizer.
    """
    checkpoint = settings.checkpoint
    check_same_files(settings.engine, checkpoint, "embedder", layer_files(checkpoint.row))
    return from_checkpoint(settings, pool)


def from_servers(settings: Settings, pool: EnginePool) -> Builder:
    """Return the builder with the tokenizer that the servers give, if they serve what they served before.

    Raises:
        ConfigError: They serve something else, or the tokenizer cannot be used.
        EngineDeadError: None of them answers.
    """
    urls, tokenizer = told_again(settings.engine, pool)
    return served_builder(settings, tokenizer, urls)


def served_builder(settings: Settings, tokenizer: bytes, where: str) -> Builder:
    """Return the builder with the tokenizer.json of servers at ``where``.

    Raises:
        ConfigError: It cannot be used; names the servers.
    """
    try:
        return read_builder(settings.checkpoint, tokenizer, policy=settings.media)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def check_same_files(
    config: EngineConfig, checkpoint: Checkpoint | RankingCheckpoint, owner: str, others: Collection[str] = ()
) -> None:
    """Check that the files of a checkpoint are those that a configuration was made for.

    Args:
        config: Of an engine here.
        checkpoint: Its checkpoint.
        owner: What was pickled, ``embedder`` or ``reranker``.
        others: Names of files beside the usual ones.

    Raises:
        ConfigError: They are not, or the checkpoint is not here.
    """
    if locate(checkpoint.location, config.revision).state(others) != config.files:
        raise ConfigError(
            f"model={checkpoint.name!r}: the files in {checkpoint.location!r} are not those that this {owner} was "
            "pickled with (other names, sizes or times), so its results may be others. Copy the folder with its times "
            f"(cp -p, rsync -t), or make a new {owner} here."
        )


def told_again(config: Any, pool: EnginePool) -> tuple[str, bytes]:
    """Return where servers are, and their tokenizer.json, if they serve what they served before.

    Args:
        config: A ``RemoteConfig`` of which the servers told what they serve.
        pool: Where the engine is that asks.

    Raises:
        ConfigError: They serve something else.
        EngineDeadError: None of them answers.
    """
    engine: Any = pool.acquire(config)  # a RemoteEngine
    try:
        _, tokenizer = engine.facts()
    finally:
        pool.release(config)
    return ", ".join(config.servers), tokenizer
