"""Decide which row a checkpoint belongs to, by its architecture and by what its other files say of it.

Several models share an architecture. A row whose layout differs from the files is never taken. Of the others, each is
decided by the first of these that holds:

| the caller named the row | taken |
| its layout is not of a kind that ``pooling_decides`` | taken; with a warning if it is ``assumed`` and has no sign |
| a sign: the checkpoint's name, or its pooling with the prompts of the row; never beside other prompts | taken |
| ``assumed``, and the checkpoint's name is not another row's | taken, with a warning |
| none of these | not taken |

If several are taken, the one with the longest name that the checkpoint has decides; else the caller has to name it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..errors import ConfigError
from . import values
from .advice import how_to_describe
from .evidence import Evidence, differences, has_its_adapters
from .files import Location
from .layout import Layout
from .row import Row

R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Generic[R]):
    """The row of a checkpoint.

    Attributes:
        row: The row.
        layout: The layout of the row that the files have.
        assumed: The words of a warning; empty where the files or the checkpoint's name say which row it is.
    """

    row: R
    layout: Layout
    assumed: str = ""


def decide(
    name: str,
    location: Location,
    config: Mapping[str, Any],
    rows: Collection[R],
    *,
    is_named: bool = False,
    advice: Callable[[str, str], str] = how_to_describe,
) -> Decision[R]:
    """Return the only one of ``rows`` that the checkpoint's files agree with.

    If several do, the checkpoint's name decides. What is assumed without a sign is so only where nothing else fits.

    Args:
        name: The checkpoint, as the user passed it.
        location: Its folder or repository.
        config: The content of its config.json.
        rows: The rows to choose from.
        is_named: Whether the caller named the row: then the files need not say that it is one of its.
        advice: Returns what to do where no row has the architecture, of the checkpoint's name and that.

    Raises:
        ConfigError: No row has this architecture, each differs, none is told by the files, or several are left. The
            message says what to do.
    """
    architecture = _architecture(name, config, rows, advice)
    found = [(row, layout) for row in rows for layout in row.layouts if layout.architecture == architecture]
    found = [(row, layout) for row, layout in found if has_its_adapters(layout, location)] or found
    evidence = Evidence.of(name, location, config, modules=any(layout.modules for _, layout in found))
    named = {row.name for row, _ in found if evidence.names(row)}
    apart = [
        (row, layout, tuple(differences(row, layout, evidence, known=is_named or row.name in named)))
        for row, layout in found
    ]
    fits = [(row, layout) for row, layout, different in apart if not different]
    if not fits:
        raise ConfigError(_difference(name, architecture, apart))
    taken = [
        (row, layout) for row, layout in fits if is_named or _may_be_taken(row, layout, evidence, named - {row.name})
    ]
    if not taken:
        differing = [each for each in apart if each[2] and evidence.names(each[0])]
        raise ConfigError(
            _difference(name, architecture, differing) if differing else _no_sign(name, architecture, apart)
        )
    row, layout = _one_of(evidence, taken, architecture)
    return Decision(row=row, layout=layout, assumed="" if _has_sign(row, layout, evidence) else layout.assumed)


def _has_sign(row: Row, layout: Layout, evidence: Evidence) -> bool:
    """Tell whether the checkpoint's name, or its pooling and its prompts, say that it is one of ``row``'s."""
    if layout.any_prompts:
        return evidence.names(row) > 0
    prompts, own = ({*(texts or {}).values()} - {""} for texts in (evidence.prompts, layout.prompts))
    says_prompts = bool(prompts) or (evidence.prompts is not None and not layout.prompts_unpublished)
    if layout.pooling_decides and says_prompts and not own <= prompts:
        return False  # others, whatever its name
    says = own <= prompts if own else evidence.has_settings
    return evidence.names(row) > 0 or (layout.pooling_decides and bool(evidence.modes) and says)


def _may_be_taken(row: Row, layout: Layout, evidence: Evidence, others: Collection[str]) -> bool:
    """Tell whether the files say that the checkpoint is one of ``row``'s, or it may be assumed.

    Args:
        row: The row.
        layout: Its layout.
        evidence: What the files say.
        others: Other rows that the checkpoint's name is one of: then this one is not assumed.
    """
    is_assumed = bool(layout.assumed) and not others
    return is_assumed or not layout.pooling_decides or _has_sign(row, layout, evidence)


def _no_sign(name: str, architecture: str, apart: Sequence[tuple[Row, Layout, Sequence[str]]]) -> str:
    """Return the message for a checkpoint whose files contradict not every row, and name none."""
    rows = list(dict.fromkeys(row for row, _, different in apart if not different))
    is_chat = "For" in architecture or any(row.attention != "both" for row, _, _ in apart)
    kind = "chat models" if is_chat else "embedding models with other prompts"
    others = _clauses([each for each in apart if each[0] not in rows])
    by_name = all(layout.any_prompts or not layout.modules for row in rows for layout in row.layouts)
    files = (
        "Copy the files 1_Pooling/config.json and config_sentence_transformers.json of the model, or, if it is one, "
    )
    return (
        f"model={name!r}: {architecture} is the architecture of other models too, such as {kind}, and its "
        f"files or name do not say that it is one of {' or '.join(row.label for row in rows)}. "
        f"{f'It would be read {others}. ' if others else ''}"
        f"{f'{_wrong(rows)} ' if any(layout.modules for _, layout, _ in apart) else ''}"
        f"{'If it is one, ' if by_name else files}pass {' or '.join(f'row={row.name!r}' for row in rows)}."
    )


def _architecture(
    name: str, config: Mapping[str, Any], rows: Collection[Row], advice: Callable[[str, str], str]
) -> str:
    """Return the architecture of ``config``, which one of ``rows`` has, or that of a layout with none in config.json.

    ``advice`` is what to do where none has.

    Raises:
        ConfigError: No row has it, or there is not exactly one.
    """
    expected = f"expected {' or '.join(f'{row.label} ({_architectures(row)})' for row in rows)}"
    architectures = config.get("architectures")
    if not architectures:
        unnamed = (layout for row in rows for layout in row.layouts if layout.unnamed)
        for layout in unnamed:
            if layout.unnamed == config.get("model_type"):
                return layout.architecture
        raise ConfigError(
            f"model={name!r}: config.json of type {values.short(config.get('model_type'))} names no architectures, "
            f"so the model of the weights is unknown; {expected}. Copy the config.json that belongs to the weights."
        )
    message = f"model={name!r}: got architectures={values.short(architectures)}; {expected}. {_wrong(rows)}"
    only = architectures[0] if isinstance(architectures, list) and len(architectures) == 1 else None
    if not isinstance(only, str):
        raise ConfigError(f"{message} Expected a list of one name: copy the config.json that belongs to the weights.")
    if any(layout.architecture == only for row in rows for layout in row.layouts):
        return only
    raise ConfigError(message + advice(name, only))


def _architectures(row: Row) -> str:
    return ", ".join(dict.fromkeys(layout.architecture for layout in row.layouts))


def _difference(name: str, architecture: str, apart: Sequence[tuple[Row, Layout, Sequence[str]]]) -> str:
    """Return the message for a checkpoint that differs from each row."""
    rows = [row for row, _, _ in apart]
    return (
        f"model={name!r}: {architecture} would be read {_clauses(apart)}. {_wrong(rows)} Pass row= with a description "
        f"of this model (vllm_jina_embed.{type(rows[0]).__name__}). If the files are wrong, or your texts have the "
        f"prompts already, pass a copy of the row with other layouts: its {rows[0].kind_of_result} and its digest are "
        "the same."
    )


def _wrong(rows: Collection[Row]) -> str:
    """Return why a checkpoint that is not of one of ``rows``, which are of one kind, must not be read as one."""
    row = next(iter(rows))
    return (
        f"Other models have other prompts and another {row.kind_of_head}: their {row.kind_of_result} would be wrong "
        "here."
    )


def _clauses(apart: Sequence[tuple[Row, Layout, Sequence[str]]]) -> str:
    """Return for each row how a checkpoint differs from it, by the layout that is nearest."""
    nearest: dict[str, tuple[Row, Sequence[str]]] = {}
    for row, _, different in sorted(apart, key=lambda each: len(each[2])):
        nearest.setdefault(row.name, (row, different))
    return "; or ".join(f"as {row.label}, but {' and '.join(different)}" for row, different in nearest.values())


def _one_of(evidence: Evidence, fits: Sequence[tuple[R, Layout]], architecture: str) -> tuple[R, Layout]:
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
