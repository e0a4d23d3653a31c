"""What a checkpoint's files say of it, and in what that differs from a layout of a row."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import values
from .files import Location, optional_json
from .layout import Layout
from .row import Row
from .sentence_files import SETTINGS, lowers, read_modes, read_modules, read_settings, read_transformer

MODES = {
    "vision_span_mean": "mean",
    "first_token": "cls",
    "last_token": "lasttoken",
    "mean": "mean",
    None: "none",
}
"""By the row's pooling, its name in sentence-transformers' 1_Pooling/config.json; no name there is ``none``."""
PROCESSOR = "processor_config.json"
ROLES = {"query": "query", "passage": "passage", "document": "passage"}
"""By its name in sentence-transformers' files, the role of a prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a checkpoint's files say of it.

    Attributes:
        name: The checkpoint, as the user passed it.
        location: Where its files are.
        config: config.json, without the labels that every model has.
        kinds: The modules in modules.json, by the last part of their types; empty if there is no such file.
        pooling_file: The file that names the pooling.
        modes: The poolings in that file, in the words of sentence-transformers.
        prompts: The prompts in config_sentence_transformers.json; None if there is no such file, or no such key.
        has_settings: Whether there is such a file.
        includes_prompt: Whether the tokens of a prompt are among those that are pooled.
        similarity: How that file says that vectors are compared; empty if it does not.
        lowering: The file that says that texts are made lower case, which the tokenizer does not do by itself; empty
            if none does.
    """

    name: str
    location: Location
    config: Mapping[str, Any]
    kinds: Sequence[str] = ()
    pooling_file: str = ""
    modes: Collection[str] = ()
    prompts: Mapping[str, str] | None = None
    has_settings: bool = False
    includes_prompt: bool = True
    similarity: str = ""
    lowering: str = ""

    @classmethod
    def of(cls, name: str, location: Location, config: Mapping[str, Any], *, modules: bool) -> Evidence:
        """Return what the files at ``location`` say.

        Args:
            name: The checkpoint, as the user passed it.
            location: Its folder or repository.
            config: The content of its config.json.
            modules: Whether to read the files of sentence-transformers too.

        Raises:
            ConfigError: A value has another type than in every checkpoint, or a file cannot be read.
        """
        labels = values.mapping(f"model={name!r}: config.json", config, "id2label")
        no_sign = {"id2label"} if _are_default(labels) else set()
        kept = {key: value for key, value in config.items() if key not in no_sign}
        if not modules:
            return cls(name=name, location=location, config=kept)
        kinds, pooling_file = read_modules(name, location)
        modes, includes_prompt = read_modes(name, location, pooling_file)
        has_settings, prompts, similarity = read_settings(name, location)
        file, _, says_lower = read_transformer(name, location)
        return cls(
            name=name,
            location=location,
            config=kept,
            kinds=kinds,
            pooling_file=pooling_file,
            modes=modes,
            prompts=prompts,
            has_settings=has_settings,
            includes_prompt=includes_prompt,
            similarity=similarity,
            lowering=file if says_lower and not lowers(location) else "",
        )

    def names(self, row: Row) -> int:
        """Return with how many words of ``row``'s the checkpoint's own name, or that of what it was made of, begins."""
        made_of = self.config.get("_name_or_path")
        own = [words(_repository(place)) for place in (str(self.location), made_of) if isinstance(place, str)]
        names = [words(name) for name in row.known_as or (row.name,)]
        return max((len(name) for place in own for name in names if place[: len(name)] == name), default=0)


def words(name: str) -> list[str]:
    """Return the words of the last part of a name: ``bge`` and ``m3`` of ``BAAI/bge-m3``."""
    return re.findall(r"[^\W_]+", name.lower().rstrip("/").rpartition("/")[2])


def _repository(place: str) -> str:
    """Return ``place`` itself; of a snapshot in the hub's cache, ``models--owner--name/snapshots/commit``, the name."""
    snapshot = re.search(r"/models--([^/]+)/snapshots/[^/]+/?$", place)
    return snapshot[1].replace("--", "/") if snapshot else place


def differences(row: Row, layout: Layout, evidence: Evidence, *, known: bool = False) -> Iterator[str]:
    """Yield what a checkpoint's files say otherwise than a layout of ``row``: what they have, and what is expected.

    Args:
        row: The row.
        layout: One of its layouts.
        evidence: What the files say.
        known: Whether the checkpoint's name or the caller says that it is one of the row's.
    """
    config = evidence.config
    yield from _values_apart("config.json", config, layout.config)
    yield from _values_apart("config.json: text_config", config.get("text_config"), layout.text)
    if layout.processor:
        yield from _values_apart(PROCESSOR, optional_json(evidence.location, PROCESSOR), layout.processor)
    if missing := [key for key in layout.present if config.get(key) is None]:
        yield f"config.json has no {', '.join(missing)}; expected {'one' if len(missing) == 1 else 'them'}"
    if signs := [f"{key}={values.short(config[key])}" for key in layout.absent if config.get(key) is not None]:
        yield f"config.json has {', '.join(signs)}, as a classifier or a model of late interaction has; expected none"
    yield from _adapters_apart(layout, evidence.location)
    if layout.modules:
        yield from _modules_apart(row, layout, evidence, known=known)


def _modules_apart(row: Row, layout: Layout, evidence: Evidence, *, known: bool) -> Iterator[str]:
    """Yield what the files of sentence-transformers say otherwise."""
    if others := [kind for kind in evidence.kinds if kind not in layout.modules]:
        yield f"modules.json has {', '.join(others)}, which is not computed here; expected {', '.join(layout.modules)}"
    mode = MODES[row.pooling]
    if evidence.modes and set(evidence.modes) != {mode}:
        yield f"{evidence.pooling_file} has the pooling {', '.join(sorted(evidence.modes))}; expected {mode}"
    if "mean" in mode and layout.prompts and not evidence.includes_prompt:
        yield f"{evidence.pooling_file} has include_prompt=false; expected the prompt's tokens in the mean"
    if other := _other_prompts(layout, evidence, known=known):
        expected = values.short({**layout.prompts, **layout.other_prompts}) if layout.prompts else "none"
        yield f"{SETTINGS} has the prompts {values.short(other)}; expected {expected}"
    if evidence.similarity not in ("", "cosine") and evidence.kinds and "Normalize" not in evidence.kinds:
        yield (
            f"{SETTINGS} has similarity_fn_name={values.short(evidence.similarity)} and modules.json no Normalize; "
            "expected cosine, or vectors of norm 1"
        )
    if evidence.lowering and row.normalization is None:
        yield f"{evidence.lowering} has do_lower_case=true, which tokenizer.json does not do; expected false"


def _values_apart(file: str, own: Any, expected: Mapping[str, Any]) -> Iterator[str]:
    """Yield which keys of a JSON file have other values than expected; a key or a file that is missing says nothing."""
    if expected and own is not None and not isinstance(own, Mapping):
        yield f"{file} has {values.short(own)}; expected an object"
        return
    for key, value in expected.items():
        if own is not None and key in own and own[key] != value:
            yield f"{file} has {key}={values.short(own[key])}; expected {values.short(value)}"


def _other_prompts(layout: Layout, evidence: Evidence, *, known: bool) -> dict[str, str]:
    """Return the prompts in the files that are not those of a layout, by their names.

    sentence-transformers (5.0 and newer) writes an empty ``query`` and ``document`` beside the prompts that a model
    has, or where it has none. Such a one says nothing if the role's prompt stands there under another name, or where
    the published files have none either and the model is known otherwise.
    """
    prompts = {} if layout.any_prompts else evidence.prompts or {}
    if known and layout.prompts_unpublished and not any(prompts.values()):
        return {}
    has = {_role(key) for key, text in prompts.items() if text and text == _expected(layout, key)}
    other = {key: text for key, text in prompts.items() if text != _expected(layout, key)}
    return {key: text for key, text in other.items() if text or key not in ROLES or _role(key) not in has}


def _expected(layout: Layout, key: str) -> str:
    """Return the prompt of this name, or of its last word, such as ``retrieval.query``; empty where there is none."""
    known = {**layout.prompts, **layout.other_prompts}
    if key in known:
        return known[key]
    return next((text for name, text in layout.prompts.items() if ROLES.get(name, name) == _role(key)), "")


def _role(key: str) -> str:
    """Return the last word of a prompt's name: ``query`` of ``retrieval.query``; a document is a passage."""
    last = "".join(words(key)[-1:])
    return ROLES.get(last, last)


def has_its_adapters(layout: Layout, location: Location) -> bool:
    """Tell whether a checkpoint has the folder of adapters that a layout has, or neither does."""
    if layout.adapters in ("named", "by_task", "ignored", "merged"):
        return True
    return location.has_adapters == (layout.adapters == "folder")


def _adapters_apart(layout: Layout, location: Location) -> Iterator[str]:
    """Yield what a checkpoint's adapters are otherwise than in a layout."""
    if not has_its_adapters(layout, location):
        has, expected = ("a", "none") if location.has_adapters else ("no", "one")
        yield f"it has {has} folder 'adapters'; expected {expected}"
    if not layout.holds_adapters and optional_json(location, "adapter_config.json") is not None:
        yield "adapter_config.json says that its weights are an adapter; expected it merged (peft: merge_and_unload)"


def _are_default(labels: Mapping[str, Any]) -> bool:
    """Tell whether these are the two labels that transformers writes for every model."""
    return len(labels) != 1 and all(str(label) == f"LABEL_{key}" for key, label in labels.items())
