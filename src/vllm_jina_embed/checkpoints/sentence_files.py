"""Read what sentence-transformers writes beside a checkpoint: its modules, its pooling and its prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from . import values
from .files import TOKENIZER, Location, optional_json

WRONG = "Other models have other prompts and another pooling: their vectors would be wrong here."

SETTINGS = "config_sentence_transformers.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
TRANSFORMER = ("sentence_bert_config.json", "sentence_roberta_config.json", "sentence_xlm-roberta_config.json")
"""Names of the file of the first module. Source: sentence-transformers, models/Transformer.py, load."""


def read_modules(name: str, location: Location) -> tuple[tuple[str, ...], str]:
    """Return the kinds of the modules in modules.json, and the file that names the pooling."""
    where = f"model={name!r}: modules.json"
    modules = values.as_mappings(f"{where} is ", optional_json(location, "modules.json"))
    kinds = tuple(values.text(where, module, "type").rpartition(".")[2] for module in modules)
    if any(kind == "Transformer" and one.get("path") for one, kind in zip(modules, kinds, strict=True)):
        raise ConfigError(f"{where} has the weights in another folder. Copy config.json and the weights from there.")
    paths = [values.text(where, one, "path") for one, kind in zip(modules, kinds, strict=True) if kind == "Pooling"]
    if len(paths) > 1:
        raise ConfigError(f"{where} has {len(paths)} modules Pooling; expected one. {WRONG}")
    return kinds, f"{''.join(paths) or '1_Pooling'}/config.json"


def read_modes(name: str, location: Location, file: str) -> tuple[set[str], bool]:
    """Return the names of the poolings in sentence-transformers' configuration, old and new, and ``include_prompt``."""
    where = f"model={name!r}: {file}"
    settings = values.as_mapping(f"{where} is ", optional_json(location, file))
    on = [key for key in settings if key.startswith("pooling_mode_") and values.switch(where, settings, key)]
    modes = {key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for key in on}
    includes_prompt = settings.get("include_prompt") is None or values.switch(where, settings, "include_prompt")
    return modes | values.names(where, settings, "pooling_mode"), includes_prompt


def read_settings(name: str, location: Location) -> tuple[bool, dict[str, str] | None, str]:
    """Return whether there is a config_sentence_transformers.json, its prompts, and how vectors are compared.

    The prompts are None, and the other an empty text, if it has no such key.
    """
    where = f"model={name!r}: {SETTINGS}"
    said = optional_json(location, SETTINGS)
    settings = values.as_mapping(f"{where} is ", said)
    prompts = values.mapping(where, settings, "prompts")
    texts = {role: values.text(where, prompts, role) for role in prompts}
    similarity = values.text(where, settings, "similarity_fn_name")
    return said is not None, texts if settings.get("prompts") is not None else None, similarity


def read_transformer(name: str, location: Location) -> tuple[str, int | None, bool]:
    """Return the file of the first module, most tokens of a text and whether it is lowered; empty if it says nothing.

    Raises:
        ConfigError: A value has another type than in every checkpoint, or the file cannot be read.
    """
    for file in TRANSFORMER:
        where = f"model={name!r}: {file}"
        settings = values.as_mapping(f"{where} is ", optional_json(location, file))
        if settings:
            has_length = settings.get("max_seq_length") is not None
            length = values.whole(where, settings, "max_seq_length", most=values.MOST_TOKENS) if has_length else None
            return file, length, values.switch(where, settings, "do_lower_case")
    return TRANSFORMER[0], None, False


def longest_text(name: str, location: Location, *, has_table: bool) -> int | None:
    """Return the most tokens that a text was cut to, beside the positions in config.json; None if no file says so.

    vLLM starts with no longer prompts, and sentence-transformers cuts there.
    Source: vLLM 0.32, config/model.py, get_and_verify_max_len, which reads tokenizer_config.json where positions have
    a table alone.

    Raises:
        ConfigError: A value has another type than in every checkpoint, or a file cannot be read.
    """
    _, length, _ = read_transformer(name, location)
    if length is not None or not has_table:
        return length
    told = values.as_mapping(f"model={name!r}: {TOKENIZER_CONFIG} is ", optional_json(location, TOKENIZER_CONFIG))
    own = told.get("model_max_length")  # 10**30, or a float, for no limit
    return own if type(own) is int and 0 < own <= values.MOST_TOKENS else None


def lowers(location: Location) -> bool:
    """Tell whether tokenizer.json itself makes texts lower case."""
    told = optional_json(location, TOKENIZER)
    return any(
        one.get("type") == "Lowercase" or one.get("lowercase") is True
        for one in _normalizers(told.get("normalizer") if isinstance(told, Mapping) else None)
    )


def _normalizers(told: Any) -> list[Mapping[str, Any]]:
    """Return a normalizer of a tokenizer.json, and those that it is a sequence of."""
    if not isinstance(told, Mapping):
        return []
    within = told.get("normalizers")
    return [told, *(one for each in (within if isinstance(within, list) else ()) for one in _normalizers(each))]
