"""Check that a checkpoint is a model whose vectors this package computes correctly.

``config.json`` names an architecture, and several models share one. The files of sentence-transformers, and keys left
from another training, identify some of them. The others are served, and a warning says as which model.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..errors import ConfigError
from . import values
from .files import Location, optional_json
from .table.jina_v4 import NATIVE_ARCHITECTURE

logger = logging.getLogger(__name__)

MERGED_ARCHITECTURE = "Qwen2_5_VLForConditionalGeneration"
"""The architecture in config.json of merged checkpoints, and of every plain Qwen2.5-VL."""
XLM_ROBERTA_ARCHITECTURE = "XLMRobertaModel"

EXPECTED = (
    f"expected jina-embeddings-v4 ({NATIVE_ARCHITECTURE}), one of its merged checkpoints ({MERGED_ARCHITECTURE}), or "
    f"an embedding model such as BAAI/bge-m3 ({XLM_ROBERTA_ARCHITECTURE})"
)

_CLASSIFIER = ("problem_type", "classifier_from_token", "classifier_activation")
_LATE_INTERACTION = ("dim", "dims", "embedding_dim", "embed_dim", "projection_dim", "mask_non_image_embeddings")


def check_architecture(name: str, config: Mapping[str, Any], *known: str) -> str:
    """Return the architecture of ``config``.

    Raises:
        ConfigError: It is not one of ``known``, or there is not exactly one.
    """
    architectures = config.get("architectures")
    if isinstance(architectures, list) and len(architectures) == 1 and architectures[0] in known:
        return str(architectures[0])
    if not architectures:
        raise ConfigError(
            f"model={name!r}: config.json of type {values.short(config.get('model_type'))} names no architectures, "
            f"so the model of the weights is unknown; {EXPECTED}. Copy the config.json that belongs to "
            "the weights."
        )
    raise ConfigError(
        f"model={name!r}: got architectures={values.short(architectures)}; {EXPECTED}. Other models have other "
        "prompts and another pooling: their vectors would be wrong here."
    )


def check_merged(name: str, location: Location, config: Mapping[str, Any]) -> None:
    """Check that a plain Qwen2.5-VL checkpoint shows no sign of other training than jina-embeddings-v4's.

    Raises:
        ConfigError: It has a head of a classifier or of late interaction, or another pooling than the mean.
    """
    labels = values.mapping(f"model={name!r}: config.json", config, "id2label")
    own_labels = len(labels) == 1 or any(str(label) != f"LABEL_{key}" for key, label in labels.items())
    signs = [key for key in (*_CLASSIFIER, *_LATE_INTERACTION) if config.get(key) is not None]
    if own_labels or signs:
        keys = ", ".join([*signs, *(["id2label"] if own_labels else [])])
        raise ConfigError(
            f"model={name!r}: config.json has {keys}, as a classifier or a model of late interaction has; expected a "
            "merged checkpoint of jina-embeddings-v4, which has none."
        )
    _check_modules(name, location, pooling="mean", like="jina-embeddings-v4")


def check_text_model(name: str, location: Location) -> None:
    """Check that an XLM-RoBERTa checkpoint is pooled as BAAI/bge-m3 is: by its first token, without further layers.

    A model with prompts of its own is logged as a warning: the caller must add them.

    Raises:
        ConfigError: The files of sentence-transformers say otherwise.
    """
    _check_modules(name, location, pooling="cls", like="BAAI/bge-m3")
    file = "config_sentence_transformers.json"
    settings = values.as_mapping(f"model={name!r}: {file} is ", optional_json(location, file))
    prompts = values.mapping(f"model={name!r}: {file}", settings, "prompts")
    used = {role: text for role, text in prompts.items() if text}
    if used:
        _warn_of_prompts(name, values.short(used))


@lru_cache(maxsize=256)
def _warn_of_prompts(name: str, prompts: str) -> None:
    logger.warning(
        "model=%r was trained with prompts, which are not added here: write %s into the texts.", name, prompts
    )


def _check_modules(name: str, location: Location, *, pooling: str, like: str) -> None:
    """Compare the modules of sentence-transformers, if they are listed, with the computation here."""
    where = f"model={name!r}: modules.json"
    modules = values.as_mappings(f"{where} is ", optional_json(location, "modules.json"))
    kinds = [values.text(where, module, "type").rpartition(".")[2] for module in modules]
    if others := [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]:
        raise ConfigError(
            f"model={name!r}: modules.json has {', '.join(others)} after the model, which is not computed here; "
            f"expected a model such as {like}: Transformer, Pooling, Normalize."
        )
    folders = [
        values.text(where, module, "path") for module, kind in zip(modules, kinds, strict=True) if kind == "Pooling"
    ]
    file = f"{folders[0] if folders else '1_Pooling'}/config.json"
    settings = values.as_mapping(f"model={name!r}: {file} is ", optional_json(location, file))
    modes = _modes(f"model={name!r}: {file}", settings)
    if modes and modes != {pooling}:
        raise ConfigError(
            f"model={name!r}: its {file} has the pooling {', '.join(sorted(modes))}; expected "
            f"{pooling}, as {like} has. Its vectors would be wrong here."
        )


def _modes(where: str, settings: Mapping[str, Any]) -> set[str]:
    """Return the names of the poolings in sentence-transformers' configuration, old and new."""
    on = [key for key in settings if settings[key] is True and key.startswith("pooling_mode_")]
    modes = {key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for key in on}
    return modes | values.names(where, settings, "pooling_mode")
