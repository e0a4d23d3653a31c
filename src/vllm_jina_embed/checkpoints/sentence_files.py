"""Read what sentence-transformers writes beside a checkpoint: its modules, its pooling and its prompts."""

from __future__ import annotations

from ..errors import ConfigError
from . import values
from .files import Location, optional_json

WRONG = "Other models have other prompts and another pooling: their vectors would be wrong here."


def read_modules(name: str, location: Location) -> tuple[tuple[str, ...], str]:
    """Return the kinds of the modules in modules.json, and the file that names the pooling."""
    where = f"model={name!r}: modules.json"
    modules = values.as_mappings(f"{where} is ", optional_json(location, "modules.json"))
    kinds = tuple(values.text(where, module, "type").rpartition(".")[2] for module in modules)
    paths = [values.text(where, one, "path") for one, kind in zip(modules, kinds, strict=True) if kind == "Pooling"]
    if len(paths) > 1:
        raise ConfigError(f"{where} has {len(paths)} modules Pooling; expected one. {WRONG}")
    return kinds, f"{''.join(paths) or '1_Pooling'}/config.json"


def read_modes(name: str, location: Location, file: str) -> set[str]:
    """Return the names of the poolings in sentence-transformers' configuration, old and new."""
    where = f"model={name!r}: {file}"
    settings = values.as_mapping(f"{where} is ", optional_json(location, file))
    on = [key for key in settings if key.startswith("pooling_mode_") and values.switch(where, settings, key)]
    modes = {key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for key in on}
    return modes | values.names(where, settings, "pooling_mode")


def read_prompts(name: str, location: Location) -> tuple[bool, dict[str, str] | None]:
    """Return whether there is a config_sentence_transformers.json, and its prompts; None if it has no such key."""
    file = "config_sentence_transformers.json"
    where = f"model={name!r}: {file}"
    said = optional_json(location, file)
    settings = values.as_mapping(f"{where} is ", said)
    prompts = values.mapping(where, settings, "prompts")
    texts = {role: values.text(where, prompts, role) for role in prompts}
    return said is not None, texts if settings.get("prompts") is not None else None
