"""Decide which row a checkpoint belongs to, by its architecture and by what its other files say of it.

Several models share an architecture. The files of sentence-transformers, and keys left from another training, tell
some of them apart. Where they do not, the row is assumed and a warning says so, or the caller has to name it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from . import values
from .advice import how_to_describe
from .description import Model
from .files import Location, optional_json
from .layout import Layout
from .sentence_files import WRONG, read_modes, read_modules, read_prompts

MODES = {"vision_span_mean": "mean", "first_token": "cls", "last_token": "lasttoken", "mean": "mean"}
"""By the row's pooling, its name in sentence-transformers' 1_Pooling/config.json."""


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
    """

    name: str
    location: Location
    config: Mapping[str, Any]
    kinds: Sequence[str] = ()
    pooling_file: str = ""
    modes: Collection[str] = ()
    prompts: Mapping[str, str] | None = None
    has_settings: bool = False

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
        kinds, pooling_file = read_modules(name, location) if modules else ((), "")
        has_settings, prompts = read_prompts(name, location) if modules else (False, None)
        return cls(
            name=name,
            location=location,
            config=kept,
            kinds=kinds,
            pooling_file=pooling_file,
            modes=read_modes(name, location, pooling_file) if modules else (),
            prompts=prompts,
            has_settings=has_settings,
        )

    def names(self, row: Model) -> int:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The row of a checkpoint.

    Attributes:
        row: The row.
        layout: The layout of the row that the files have.
        assumed: The words of a warning; empty where the files or the checkpoint's name say which row it is.
    """

    row: Model
    layout: Layout
    assumed: str = ""


def decide(
    name: str, location: Location, config: Mapping[str, Any], rows: Collection[Model], *, is_named: bool = False
) -> Decision:
    """Return the only one of ``rows`` that the checkpoint's files agree with.

    If several do, the checkpoint's name decides. What is assumed without a sign is so only where nothing else fits.

    Args:
        name: The checkpoint, as the user passed it.
        location: Its folder or repository.
        config: The content of its config.json.
        rows: The rows to choose from.
        is_named: Whether the caller named the row: then the files need not say that it is one of its.

    Raises:
        ConfigError: No row has this architecture, each differs, none is told by the files, or several are left. The
            message says what to do.
    """
    architecture = _architecture(name, config, rows)
    found = [(row, layout) for row in rows for layout in row.layouts if layout.architecture == architecture]
    found = [(row, layout) for row, layout in found if _has_its_adapters(layout, location)] or found
    evidence = Evidence.of(name, location, config, modules=any(layout.modules for _, layout in found))
    apart = [(row, layout, tuple(differences(row, layout, evidence))) for row, layout in found]
    fits = [(row, layout) for row, layout, different in apart if not different]
    if not fits:
        raise ConfigError(_difference(name, architecture, apart))
    named = {row.name for row, _ in found if evidence.names(row)}
    taken = [
        (row, layout) for row, layout in fits if is_named or _may_be_taken(row, layout, evidence, named - {row.name})
    ]
    if not taken:
        differing = [each for each in apart if each[2] and evidence.names(each[0])]
        raise ConfigError(
            _difference(name, architecture, differing) if differing else _no_sign(name, architecture, apart)
        )
    row, layout = _one_of(evidence, taken, architecture)
    return Decision(row=row, layout=layout, assumed="" if _is_sure(row, layout, evidence) else layout.assumed)


def _is_sure(row: Model, layout: Layout, evidence: Evidence) -> bool:
    """Tell whether the checkpoint's name, or its pooling and its prompts, say that it is one of ``row``'s."""
    prompts, own = evidence.prompts, {*layout.prompts.values()} - {""}
    if layout.pooling_decides and prompts is not None and not own <= {*prompts.values()}:
        return False  # it says that there are none, whatever its name
    says = evidence.has_settings if not own else prompts is not None
    return evidence.names(row) > 0 or (layout.pooling_decides and bool(evidence.modes) and says)


def _may_be_taken(row: Model, layout: Layout, evidence: Evidence, others: Collection[str]) -> bool:
    """Tell whether the files say that the checkpoint is one of ``row``'s, or it may be assumed.

    Args:
        row: The row.
        layout: Its layout.
        evidence: What the files say.
        others: Other rows that the checkpoint's name is one of: then this one is not assumed.
    """
    is_assumed = bool(layout.assumed) and not others
    return is_assumed or not layout.pooling_decides or _is_sure(row, layout, evidence)


def _no_sign(name: str, architecture: str, apart: Sequence[tuple[Model, Layout, Sequence[str]]]) -> str:
    """Return the message for a checkpoint whose files contradict not every row, and name none."""
    rows = list(dict.fromkeys(row for row, _, different in apart if not different))
    others = _clauses([each for each in apart if each[0] not in rows])
    return (
        f"model={name!r}: {architecture} is the architecture of other models too, such as chat models, and its "
        f"files or name do not say that it is one of {' or '.join(row.label for row in rows)}. "
        f"{f'It would be read {others}. ' if others else ''}{WRONG} Copy the files "
        "1_Pooling/config.json and config_sentence_transformers.json of the model, or, if it is one, pass "
        f"{' or '.join(f'row={row.name!r}' for row in rows)}."
    )


def differences(row: Model, layout: Layout, evidence: Evidence) -> Iterator[str]:
    """Yield what a checkpoint's files say otherwise than a layout of ``row``: what they have, and what is expected."""
    config = evidence.config
    for key, value in layout.config.items():
        if key in config and config[key] != value:
            yield f"config.json has {key}={values.short(config[key])}; expected {values.short(value)}"
    if missing := [key for key in layout.present if config.get(key) is None]:
        yield f"config.json has no {', '.join(missing)}; expected {'one' if len(missing) == 1 else 'them'}"
    if signs := [f"{key}={values.short(config[key])}" for key in layout.absent if config.get(key) is not None]:
        yield f"config.json has {', '.join(signs)}, as a classifier or a model of late interaction has; expected none"
    yield from _adapters_apart(layout, evidence.location)
    if not layout.modules:
        return
    if others := [kind for kind in evidence.kinds if kind not in layout.modules]:
        yield f"modules.json has {', '.join(others)}, which is not computed here; expected {', '.join(layout.modules)}"
    mode = "none" if row.pooling is None else MODES[row.pooling]
    if evidence.modes and set(evidence.modes) != {mode}:
        yield f"{evidence.pooling_file} has the pooling {', '.join(sorted(evidence.modes))}; expected {mode}"
    if other := {key: text for key, text in (evidence.prompts or {}).items() if text != _expected(layout, key)}:
        expected = values.short({**layout.prompts, **layout.other_prompts}) if layout.prompts else "none"
        yield f"config_sentence_transformers.json has the prompts {values.short(other)}; expected {expected}"


def _expected(layout: Layout, key: str) -> str:
    """Return the prompt of this name, or of its last word, such as ``retrieval.query``; empty where there is none."""
    known = {**layout.prompts, **layout.other_prompts}
    return known.get(key, layout.prompts.get("".join(words(key)[-1:]), ""))


def _has_its_adapters(layout: Layout, location: Location) -> bool:
    return layout.adapters in ("named", "ignored", "merged") or location.has_adapters == (layout.adapters == "folder")


def _adapters_apart(layout: Layout, location: Location) -> Iterator[str]:
    """Yield what a checkpoint's adapters are otherwise than in a layout."""
    if not _has_its_adapters(layout, location):
        has, expected = ("a", "none") if location.has_adapters else ("no", "one")
        yield f"it has {has} folder 'adapters'; expected {expected}"
    if layout.adapters == "merged" and optional_json(location, "adapter_config.json") is not None:
        yield "adapter_config.json says that its weights are an adapter; expected it merged (peft: merge_and_unload)"


def _architecture(name: str, config: Mapping[str, Any], rows: Collection[Model]) -> str:
    """Return the architecture of ``config``, which one of ``rows`` has.

    Raises:
        ConfigError: No row has it, or there is not exactly one.
    """
    expected = f"expected {' or '.join(f'{row.label} ({_architectures(row)})' for row in rows)}"
    architectures = config.get("architectures")
    if not architectures:
        raise ConfigError(
            f"model={name!r}: config.json of type {values.short(config.get('model_type'))} names no architectures, "
            f"so the model of the weights is unknown; {expected}. Copy the config.json that belongs to the weights."
        )
    message = f"model={name!r}: got architectures={values.short(architectures)}; {expected}. {WRONG}"
    only = architectures[0] if isinstance(architectures, list) and len(architectures) == 1 else None
    if not isinstance(only, str):
        raise ConfigError(f"{message} Expected a list of one name: copy the config.json that belongs to the weights.")
    if any(layout.architecture == only for row in rows for layout in row.layouts):
        return only
    raise ConfigError(message + how_to_describe(name, only))


def _architectures(row: Model) -> str:
    return ", ".join(dict.fromkeys(layout.architecture for layout in row.layouts))


def _difference(name: str, architecture: str, apart: Sequence[tuple[Model, Layout, Sequence[str]]]) -> str:
    """Return the message for a checkpoint that differs from each row."""
    return (
        f"model={name!r}: {architecture} would be read {_clauses(apart)}. {WRONG} "
        "Pass row= with a description of this model (vllm_jina_embed.Model). If the files are wrong, or your texts "
        "have the prompts already, pass a copy of the row with other layouts: its vectors and its digest are the same."
    )


def _clauses(apart: Sequence[tuple[Model, Layout, Sequence[str]]]) -> str:
    """Return for each row how a checkpoint differs from it, by the layout that is nearest."""
    nearest: dict[str, tuple[Model, Sequence[str]]] = {}
    for row, _, different in sorted(apart, key=lambda each: len(each[2])):
        nearest.setdefault(row.name, (row, different))
    return "; or ".join(f"as {row.label}, but {' and '.join(different)}" for row, different in nearest.values())


def _one_of(evidence: Evidence, fits: Sequence[tuple[Model, Layout]], architecture: str) -> tuple[Model, Layout]:
    """Return the only row that fits, or the only one that the checkpoint's name has; the longest such name decides.

    Raises:
        ConfigError: Neither is one row. One that is assumed is no better then than another that fits as well.
    """
    most = max(1, *(evidence.names(row) for row, _ in fits))
    named = [fit for fit in fits if evidence.names(fit[0]) == most]
    for some in (fits, named):
        if len({row.name for row, _ in some}) == 1:
            return some[0]
    names = list(dict.fromkeys(row.name for row, _ in fits))
    raise ConfigError(
        f"model={evidence.name!r}: {architecture} fits {len(names)} rows ({', '.join(names)}) and its files do not say "
        f"which one it is. Pass row={names[0]!r}, or another of them."
    )


def _are_default(labels: Mapping[str, Any]) -> bool:
    """Tell whether these are the two labels that transformers writes for every model."""
    return len(labels) != 1 and all(str(label) == f"LABEL_{key}" for key, label in labels.items())
