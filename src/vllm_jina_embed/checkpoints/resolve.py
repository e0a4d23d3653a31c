"""Turn a model's name (``demo``, a folder, a hub repository) into its ``Checkpoint``; no engine starts.

Configuration files are read, weights are not. Nothing is downloaded for the published names.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..errors import ConfigError
from . import values
from .checkpoint import Checkpoint
from .description import DEMO, DEMO_FOLDER, Model
from .files import Folder, Location, locate, read_json
from .kinds import RANKS, check_kind, check_published
from .rankers import PUBLISHED_RANKERS, RANKERS
from .recognition import Decision, R, decide
from .registry import DEFAULT_ROW, PUBLISHED, ROWS, UNSERVED
from .row import Row
from .sentence_files import longest_text
from .token_layer import TokenLayer

logger = logging.getLogger(__name__)
KNOWN = f"Known names: {DEMO}, {', '.join(sorted(PUBLISHED))}"


def resolve(model: str, revision: str | None = None, row: Model | None = None, *, warns: bool = False) -> Checkpoint:
    """Return the description of ``model``.

    Args:
        model: ``demo``, a published repository, or a folder or repository with a checkpoint of a known row.
        revision: Commit or tag of a hub repository; ignored for folders.
        row: The row of the checkpoint; None decides by its files.
        warns: Whether to log a warning, once per checkpoint, where its row is assumed.

    Returns:
        The checkpoint; nothing is downloaded for published names.

    Raises:
        ConfigError: The name is neither known nor a folder, or the files say that it is another model.
    """
    if model in PUBLISHED and row in (None, PUBLISHED[model].row):
        return PUBLISHED[model]
    if row is None:
        check_published(model, PUBLISHED_RANKERS, RANKS)
    location, config = opened(model, revision, KNOWN)
    if isinstance(location, Folder) and location.path == DEMO_FOLDER.resolve():
        row = row or DEFAULT_ROW
    # The demo is tiny, so it can use the reference's exact arithmetic.
    options = {"dtype": "float32"} if model == DEMO else {}
    if row is None:
        _check_served(model, config)
        check_kind(model, location, config, tuple(ROWS.values()), tuple(RANKERS.values()), RANKS)
    rows = tuple(one for one in ROWS.values() if not one.only_named) if row is None else [row]
    decision = decide(model, location, config, rows, is_named=row is not None)
    if warns and row is None and decision.assumed:
        _warn_once(model, decision.layout.architecture, decision.assumed)
    return _sized(model, location, config, decision, options)


def _check_served(name: str, config: Mapping[str, Any]) -> None:
    architectures = config.get("architectures")
    for architecture in architectures if isinstance(architectures, list) else ():
        if isinstance(architecture, str) and architecture in UNSERVED:
            raise ConfigError(f"model={name!r}: {architecture} cannot be served: {UNSERVED[architecture]}")


def opened(model: str, revision: str | None, known: str) -> tuple[Location, dict[str, Any]]:
    """Return where a checkpoint is, and its config.json.

    Args:
        model: A folder or a hub repository, or the demo.
        revision: Commit or tag of a hub repository.
        known: The names that are known, for errors.

    Raises:
        ConfigError: There is no such folder or repository, or its config.json cannot be read.
    """
    location = _located(model, revision, known)
    if isinstance(location, Folder):
        location = Folder(location.path.resolve())
        return location, read_json(location.path / "config.json")
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise ConfigError(f"model={model!r}: no such folder. {known}.")
    return location, _hub_config(location, known)


def _located(model: str, revision: str | None, known: str) -> Location:
    try:
        return locate(str(DEMO_FOLDER) if model == DEMO else os.path.expanduser(model), revision)  # noqa: PTH111
    except ConfigError as error:
        raise ConfigError(f"{error} {known}.") from None


@lru_cache(maxsize=256)
def _warn_once(name: str, architecture: str, assumed: str) -> None:
    logger.warning("model=%r is a %s checkpoint, served as %s.", name, architecture, assumed)


def _sized(
    name: str, location: Location, config: Mapping[str, Any], decision: Decision[Model], options: Mapping[str, Any]
) -> Checkpoint:
    """Return the checkpoint with the sizes and tasks that its config.json says, and else those of its row.

    Raises:
        ConfigError: A value has another type, or is out of its range.
    """
    row, has_adapters = decision.row, decision.layout.holds_adapters
    where, most = f"model={name!r}: config.json", values.LARGEST_SIZE
    text_config = {**decision.layout.defaults, **_of_text(where, config)}
    hidden_size = _size(where, config, text_config, decision)
    tasks, sizes, token_dimensions = row.tasks, [*row.matryoshka_sizes], hidden_size
    if len(tasks) > 1:
        tasks = values.choices(where, config, "task_names", tasks, allowed=tasks)
    if sizes:
        for key in ("matryoshka_dimensions", "matryoshka_dims"):  # vLLM's name, and Jina's
            sizes = values.wholes(where, config, key, sizes, most=most)
    if row.token_dimensions is not None:
        own = values.whole(where, config, "multi_vector_projector_dim", row.token_dimensions, most=most)
        token_dimensions = own if has_adapters else hidden_size
    if row.projector is not None:
        token_dimensions = _row_length(where, {**text_config, **config}, row.projector, hidden_size)
    if row.pooling is None:
        hidden_size = token_dimensions
    return Checkpoint(
        name=name,
        location=str(location),
        row=row,
        tasks=tasks,
        hidden_size=hidden_size,
        matryoshka_sizes=tuple(sorted({size for size in sizes if 0 < size < hidden_size} | {hidden_size})),
        token_dimensions=token_dimensions,
        has_adapters=has_adapters,
        min_pixels=row.min_pixels,
        max_pixels=row.max_pixels,
        max_length=longest(name, location, text_config, decision),
        architecture=decision.layout.architecture,
        options=options,
    )


def _of_text(where: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of the text's model, which stand alone, or in one of these keys."""
    parts = (values.mapping(where, config, key) for key in ("text_config", "llm_config"))
    return next(filter(None, parts), config)


def _size(where: str, config: Mapping[str, Any], text_config: Mapping[str, Any], decision: Decision[Model]) -> int:
    """Return the length of a full embedding.

    Raises:
        ConfigError: It is no length, or config.json was written by a class with other names.
    """
    row, most = decision.row, values.LARGEST_SIZE
    name = row.config_names.get("hidden_size", "hidden_size")
    if name not in text_config and "hidden_size" in text_config:
        raise ConfigError(
            f"{where} has hidden_size, and the published one of {row.label} has {name}: it was written by another "
            "class, under whose names its settings are not read. Copy the config.json of the model."
        )
    own = values.whole(where, text_config, name, most=most)
    *within, key = row.size_key.split(".")
    place = text_config if within else {**decision.layout.defaults, **config}
    return own if place.get(key) is None else values.whole(where, place, key, most=most)


def _row_length(where: str, config: Mapping[str, Any], layer: TokenLayer, hidden_size: int) -> int:
    """Return the length of what a layer gives."""
    if not layer.size_key:
        return layer.size or hidden_size
    return values.whole(where, config, layer.size_key, layer.size, most=values.LARGEST_SIZE)


def longest(name: str, location: Location, config: Mapping[str, Any], decision: Decision[R]) -> int:
    """Return the row's ``max_length``, or how many tokens the files allow where those are fewer.

    Args:
        name: The checkpoint, as the user passed it.
        location: Its folder or repository.
        config: The settings of its text's model.
        decision: Its row and layout.

    Raises:
        ConfigError: A value has another type, or is out of its range.
    """
    row, config = decision.row, {**decision.layout.config, **config}
    length = _positions(f"model={name!r}: config.json", config, row)
    if row.max_length is not None:
        length = min(row.max_length, length)
    if isinstance(row, Model) and row.padding is not None:
        return length  # a model with padding was trained with all of its positions
    own = longest_text(name, location, has_table=config.get("position_embedding_type") == "absolute")
    return length if own is None else min(own, length)


def _positions(where: str, config: Mapping[str, Any], row: Row) -> int:
    """Return how many tokens the model has positions for."""
    if row.positions == "all":
        return values.whole(where, config, "max_position_embeddings", row.max_length, most=values.MOST_TOKENS)
    padding = values.whole(where, config, "pad_token_id", 1, least=0, most=values.MOST_TOKENS)  # XLMRobertaConfig's
    least = padding + 1 + 3  # for both special tokens and one token of text
    positions = values.whole(where, config, "max_position_embeddings", least=least, most=2 * values.MOST_TOKENS)
    return positions - padding - 1


def _hub_config(location: Location, known: str) -> dict[str, Any]:
    try:
        return read_json(location.file("config.json"))
    except ConfigError as error:
        raise ConfigError(f"model={error} {known}; or give the path of a checkpoint folder.") from None
