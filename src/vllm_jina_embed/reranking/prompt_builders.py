"""Where a reranker's prompt builder comes from: the checkpoint's files, or the servers; see ``embedding``'s."""

from __future__ import annotations

from collections.abc import Callable

from ..checkpoints.files import locate
from ..embedding.prompt_builders import check_same_files, told_again
from ..engine.pool import EnginePool
from ..errors import ConfigError
from ..prompts.pairs import PairBuilder, pair_builder, read_pair_builder
from .settings import RankingSettings

Loader = Callable[[RankingSettings, EnginePool], PairBuilder]


def from_checkpoint(settings: RankingSettings, pool: EnginePool) -> PairBuilder:
    """Return the builder with the tokenizer among the checkpoint's files.

    Raises:
        ConfigError: There is no usable tokenizer.
    """
    location = locate(settings.checkpoint.location, settings.engine.revision)
    return pair_builder(settings.checkpoint.row, location, policy=settings.media)


def from_same_checkpoint(settings: RankingSettings, pool: EnginePool) -> PairBuilder:
    """Do what ``from_checkpoint`` does, where the files are those that the settings were made for.

    Raises:
        ConfigError: The checkpoint is not here, its files are others, or there is no usable tokenizer.
    """
    check_same_files(settings.engine, settings.checkpoint, "reranker")
    return from_checkpoint(settings, pool)


def from_servers(settings: RankingSettings, pool: EnginePool) -> PairBuilder:
    """Return the builder with the tokenizer that the servers give, if they serve what they served before.

    Raises:
        ConfigError: They serve something else, or the tokenizer cannot be used.
        EngineDeadError: None of them answers.
    """
    urls, tokenizer = told_again(settings.engine, pool)
    return served_builder(settings, tokenizer, urls)


def served_builder(settings: RankingSettings, tokenizer: bytes, where: str) -> PairBuilder:
    """Return the builder with the tokenizer.json of servers at ``where``.

    Raises:
        ConfigError: It cannot be used; names the servers.
    """
    try:
        return read_pair_builder(settings.checkpoint.row, tokenizer, policy=settings.media)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
