"""The table of rerankers: rows and published checkpoints by name; ``registry`` has those of models that embed items.

Modules of ``table/`` with rerankers have ``RANKING_ROWS`` and ``RANKING_CHECKPOINTS``.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from ..errors import ConfigError
from . import registry, table, values
from .description import Model
from .heads import Layers, YesNo
from .prompt_pieces import Slot, TokenId
from .ranking import RankingCheckpoint, RankingModel
from .row_rules import Rule, check_fields, is_tuple_of, of_row
from .templates import is_special, is_text

RANKERS: dict[str, RankingModel] = {}
"""Rows by name: those of the table, then registered ones."""
MODALITIES = (("text",), ("text", "image"), ("text", "image", "both"))
"""What a reranker may take."""
TEMPLATE = "a tuple of texts, Special, TokenId, Slot.QUERY, Slot.DOCUMENT, and perhaps Slot.INSTRUCTION, each slot once"
HEAD = "YesNo(yes=..., no=...) with two tokens, or Layers(names=..., activation='tanh' or 'relu')"


def checked(row: Any) -> RankingModel:
    """Return ``row`` itself, whose fields mean something.

    Raises:
        ConfigError: It is not a ``RankingModel``, or names the field, its value and what is allowed.
    """
    if not isinstance(row, RankingModel):
        advice = " It describes a model that embeds items: use JinaEmbedder." if isinstance(row, Model) else ""
        raise ConfigError(
            f"row={values.short(row)} is a {type(row).__name__}; expected a vllm_jina_embed.RankingModel.{advice}"
        )
    has_modalities = row.modalities in MODALITIES
    own = of_row(row, takes_images=has_modalities and row.takes_images) | _of_pairs(row, has_modalities)
    check_fields(row, own)
    return row


def _of_pairs(row: RankingModel, has_modalities: bool) -> dict[str, Rule]:
    """Return the rules of the fields that only rerankers have, and of the token whose state is judged."""
    takes_instruction = _is_template(row.template) and row.takes_instruction
    return {
        "pooling": (row.pooling in ("first_token", "last_token"), "first_token or last_token"),
        "template": (_is_template(row.template), TEMPLATE),
        "instruction": (
            is_text(row.instruction) and bool(row.instruction) == takes_instruction,
            "a text where the template has Slot.INSTRUCTION, else an empty one",
        ),
        "modalities": (has_modalities, "('text',), ('text', 'image') or ('text', 'image', 'both')"),
        "head": (_is_head(row.head), HEAD),
        "images_reversed": (isinstance(row.images_reversed, bool), "True or False"),
    }


def _is_template(value: Any) -> bool:
    if not isinstance(value, tuple) or not all(map(_is_piece, value)):
        return False
    slots = [piece for piece in value if isinstance(piece, Slot) and piece is not Slot.INSTRUCTION]
    return sorted(slots, key=str) == [Slot.DOCUMENT, Slot.QUERY] and value.count(Slot.INSTRUCTION) <= 1


def _is_piece(value: Any) -> bool:
    if isinstance(value, TokenId):
        return type(value.token_id) is int and value.token_id >= 0
    return is_text(value) or is_special(value) or isinstance(value, Slot)


def _is_head(value: Any) -> bool:
    if isinstance(value, YesNo):
        return all(is_text(token) and bool(token) for token in (value.yes, value.no)) and value.yes != value.no
    if not isinstance(value, Layers):
        return False
    names = is_tuple_of(value.names, str) and len(value.names) == 2 and all(value.names)
    return names and value.activation in ("tanh", "relu") and isinstance(value.minus, float)


def register(row: Model | RankingModel) -> None:
    """Add a row of either kind: its folders are recognised from then on. It takes the place of an equal one.

    Raises:
        ConfigError: Another row has this name, or a field has a value that means nothing.
    """
    if not isinstance(row, RankingModel):
        registry.register(row)
        return
    registry.check_same(RANKERS.setdefault(checked(row).name, row), row)
    RANKERS[row.name] = row


def ranker_given(row: RankingModel | str | None) -> RankingModel | None:
    """Return the row that a caller passed, or named; None where there is none.

    Args:
        row: The row, its name, or ``name@digest``.

    Raises:
        ConfigError: It is unknown, a field has a value that means nothing, or another row has its name.
    """
    if row is None:
        return None
    if not isinstance(row, str):
        registry.check_same(RANKERS.get(checked(row).name, row), row)
        return row
    name, _, digest = row.partition("@")
    if name not in RANKERS:
        advice = " It embeds items: use JinaEmbedder." if name in registry.ROWS else ""
        raise ConfigError(
            f"row={row!r} is not a reranker's; choose one of {', '.join(sorted(RANKERS))}, or call "
            f"vllm_jina_embed.register(row).{advice}"
        )
    registry.check_digest(RANKERS[name], digest)
    return RANKERS[name]


def row_at(place: str) -> Model | RankingModel:
    """Return a row of either kind by name, or register and return the one at ``package.module:NAME``.

    Raises:
        ConfigError: There is no such row, or the module cannot be imported.
    """
    module, colon, name = place.partition(":")
    if not colon:
        return RANKERS[place] if place in RANKERS else registry.row_named(place)
    try:
        row = getattr(importlib.import_module(module), name)
    except Exception as error:  # a user's module may raise anything
        raise ConfigError(
            f"row={place!r} cannot be imported ({type(error).__name__}: {error}). Pass package.module:NAME of an "
            "installed module, or one on PYTHONPATH."
        ) from error
    register(row)
    return RANKERS[row.name] if isinstance(row, RankingModel) else registry.row_named(row.name)


def _of_table(name: str) -> Sequence[Any]:
    """Return what the modules of the table have under ``name``, one after the other."""
    return [one for module in registry.modules_of(table) for one in getattr(module, name, ())]


for _row in _of_table("RANKING_ROWS"):
    register(_row)
PUBLISHED_RANKERS: dict[str, RankingCheckpoint] = {one.name: one for one in _of_table("RANKING_CHECKPOINTS")}
