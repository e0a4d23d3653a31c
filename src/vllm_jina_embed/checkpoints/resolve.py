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
from . import recognition, values
from .description import DEMO, DEMO_FOLDER, TASKS, Checkpoint
from .files import Folder, Location, locate, read_json
from .registry import PUBLISHED
from .table import jina_v4
from .table.bge import BGE_M3, XLM_ROBERTA
from .table.jina_v4 import JINA_V4, NATIVE, NATIVE_ARCHITECTURE

logger = logging.getLogger(__name__)
KNOWN = f"Known names: {DEMO}, {', '.join(sorted(PUBLISHED))}"


def resolve(model: str, revision: str | None = None) -> Checkpoint:
    """Return the description of ``model``.

    Args:
        model: ``demo``, a published repository, or the path of a folder with a Qwen2.5-VL or XLM-RoBERTa checkpoint.
        revision: Commit or tag of a hub repository; ignored for folders.

    Returns:
        The checkpoint; nothing is downloaded for published names.

    Raises:
        ConfigError: The name is neither known nor a folder, or the folder holds another architecture.
    """
    if model in PUBLISHED:
        return PUBLISHED[model]
    location = _located(model, revision)
    if isinstance(location, Folder):
        location = Folder(location.path.resolve())
        # The demo is tiny, so it can use the reference's exact arithmetic.
        options = {"dtype": "float32"} if model == DEMO else {}
        return _from_config(model, location, read_json(location.path / "config.json"), options)
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise ConfigError(f"model={model!r}: no such folder. {KNOWN}.")
    return _from_config(model, location, _hub_config(location), {})


def _located(model: str, revision: str | None) -> Location:
    try:
        return locate(str(DEMO_FOLDER) if model == DEMO else os.path.expanduser(model), revision)  # noqa: PTH111
    except ConfigError as error:
        raise ConfigError(f"{error} {KNOWN}.") from None


def warn_if_assumed(checkpoint: Checkpoint) -> None:
    """Warn once per checkpoint that a plain Qwen2.5-VL checkpoint is served as jina-embeddings-v4.

    Its files do not say which it is; a folder or repository named after jina-embeddings-v4 gives no warning.
    """
    assumed = checkpoint.row == JINA_V4 and not checkpoint.has_adapters
    ours = checkpoint.name == DEMO or checkpoint.location == str(DEMO_FOLDER.resolve())
    if assumed and not ours and NATIVE.partition("/")[2] not in checkpoint.location.lower():
        _warn_once(checkpoint.name)


@lru_cache(maxsize=256)
def _warn_once(name: str) -> None:
    logger.warning(
        "model=%r is a %s checkpoint, served as jina-embeddings-v4 merged for vLLM; the vectors of any other "
        "Qwen2.5-VL model are wrong.",
        name,
        recognition.MERGED_ARCHITECTURE,
    )


def _from_config(name: str, location: Location, config: Mapping[str, Any], options: Mapping[str, Any]) -> Checkpoint:
    if config.get("model_type") == XLM_ROBERTA.model_type:
        return _from_xlm_roberta(name, location, config)
    if config.get("model_type") != JINA_V4.model_type:
        raise ConfigError(
            f"model={name!r}: got architectures={values.short(config.get('architectures') or [])}; "
            f"{recognition.EXPECTED}."
        )
    architecture = recognition.check_architecture(name, config, NATIVE_ARCHITECTURE, recognition.MERGED_ARCHITECTURE)
    has_adapters = architecture == NATIVE_ARCHITECTURE or location.has_adapters
    if not has_adapters:
        recognition.check_merged(name, location, config)
    where, most = f"model={name!r}: config.json", values.LARGEST_SIZE
    text_config = values.mapping(where, config, "text_config") or config
    hidden_size = values.whole(where, text_config, "hidden_size", most=most)
    positions = values.whole(where, text_config, "max_position_embeddings", JINA_V4.max_length, most=values.MOST_TOKENS)
    sizes = values.wholes(where, config, "matryoshka_dims", jina_v4.MATRYOSHKA_SIZES, most=most)
    tasks = values.choices(where, config, "task_names", TASKS, allowed=TASKS)
    token_dimensions = values.whole(where, config, "multi_vector_projector_dim", jina_v4.TOKEN_DIMENSIONS, most=most)
    matryoshka_sizes = tuple(sorted({size for size in sizes if 0 < size < hidden_size} | {hidden_size}))
    return Checkpoint(
        name=name,
        location=str(location),
        row=JINA_V4,
        tasks=tasks,
        hidden_size=hidden_size,
        matryoshka_sizes=matryoshka_sizes,
        token_dimensions=token_dimensions if has_adapters else hidden_size,
        has_adapters=has_adapters,
        min_pixels=JINA_V4.min_pixels,
        max_pixels=JINA_V4.max_pixels,
        max_length=min(JINA_V4.max_length, positions),
        options=options,
    )


def _from_xlm_roberta(name: str, location: Location, config: Mapping[str, Any]) -> Checkpoint:
    recognition.check_architecture(name, config, recognition.XLM_ROBERTA_ARCHITECTURE)
    if (kind := config.get("position_embedding_type", "absolute")) != "absolute":
        raise ConfigError(
            f"model={name!r}: got position_embedding_type={values.short(kind)}; expected absolute, as {BGE_M3} has."
        )
    recognition.check_text_model(name, location)
    where = f"model={name!r}: config.json"
    hidden_size = values.whole(where, config, "hidden_size", most=values.LARGEST_SIZE)
    padding = values.whole(where, config, "pad_token_id", 1, least=0, most=values.MOST_TOKENS)  # XLMRobertaConfig's
    least = padding + 1 + 3  # for both special tokens and one token of text
    positions = values.whole(where, config, "max_position_embeddings", least=least, most=2 * values.MOST_TOKENS)
    return Checkpoint(
        name=name,
        location=str(location),
        row=XLM_ROBERTA,
        tasks=("retrieval",),
        hidden_size=hidden_size,
        matryoshka_sizes=(hidden_size,),
        token_dimensions=hidden_size,
        min_pixels=XLM_ROBERTA.min_pixels,
        max_pixels=XLM_ROBERTA.max_pixels,
        # Positions start at the padding token's id + 1, so the table's first rows are never used.
        # Source: transformers, modeling_xlm_roberta.py, create_position_ids_from_input_ids.
        max_length=positions - padding - 1,
    )


def _hub_config(location: Location) -> dict[str, Any]:
    try:
        return read_json(location.file("config.json"))
    except ConfigError as error:
        raise ConfigError(f"model={error} {KNOWN}; or give the path of a checkpoint folder.") from None
