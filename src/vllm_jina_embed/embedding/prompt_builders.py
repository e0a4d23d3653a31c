"""Where an embedder's prompt builder comes from: the checkpoint's files, or the servers.

An embedder that was unpickled makes its builder at the first request, and first checks that its vectors will be those
of the embedder that was pickled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..checkpoints.files import locate
from ..checkpoints.weights.token_layers import layer_files
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
    engine, checkpoint = settings.engine, settings.checkpoint
    location = locate(checkpoint.location, engine.revision)
    if location.state(layer_files(checkpoint.row)) != engine.files:
        raise ConfigError(
            f"model={checkpoint.name!r}: the files in {checkpoint.location!r} are not those that this embedder was "
            "pickled with (other names, sizes or times), so its vectors may be others. Copy the folder with its times "
            "(cp -p, rsync -t), or make a new JinaEmbedder here."
        )
    return from_checkpoint(settings, pool)


def from_servers(settings: Settings, pool: EnginePool) -> Builder:
    """Return the builder with the tokenizer that the servers give, if they serve what they served before.

    Raises:
        ConfigError: They serve something else, or the tokenizer cannot be used.
        EngineDeadError: None of them answers.
    """
    config: Any = settings.engine  # a RemoteConfig
    engine: Any = pool.acquire(config)  # a RemoteEngine
    try:
        _, tokenizer = engine.facts()
    finally:
        pool.release(config)
    return served_builder(settings, tokenizer, ", ".join(config.servers))


def served_builder(settings: Settings, tokenizer: bytes, where: str) -> Builder:
    """Return the builder with the tokenizer.json of servers at ``where``.

    Raises:
        ConfigError: It cannot be used; names the servers.
    """
    try:
        return read_builder(settings.checkpoint, tokenizer, policy=settings.media)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
