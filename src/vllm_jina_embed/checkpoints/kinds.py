"""Tell a reranker from a model that embeds items, before one is taken for the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..errors import ConfigError
from .evidence import Evidence
from .files import Location
from .row import Row

EMBEDS = "embeds items one by one. Use vllm_jina_embed.JinaEmbedder"
RANKS = "is a reranker: it gives a query and a document together one score. Use vllm_jina_embed.JinaReranker"


def check_published(name: str, others: Collection[str], what: str) -> None:
    """Check that a name is not one of the published models of the other kind.

    Args:
        name: The checkpoint, as the user passed it.
        others: Names of that kind.
        what: ``EMBEDS`` or ``RANKS``, what that kind does.

    Raises:
        ConfigError: It is.
    """
    if name in others:
        raise ConfigError(f"model={name!r} {what}.")


def check_kind(
    name: str, location: Location, config: Mapping[str, Any], own: Collection[Row], others: Collection[Row], what: str
) -> None:
    """Check that a checkpoint is not of the other kind: by its architecture, and by its name where that tells nothing.

    Args:
        name: The checkpoint, as the user passed it.
        location: Its folder or repository.
        config: The content of its config.json.
        own: Rows of the kind that was asked for.
        others: Rows of the other kind.
        what: ``EMBEDS`` or ``RANKS``, what the other kind does.

    Raises:
        ConfigError: It is.
    """
    if found := of_other_kind(name, location, config, own, others):
        kind = ", ".join(map(str, config["architectures"]))
        raise ConfigError(
            f"model={name!r} looks like {' or '.join(row.label for row in found)} ({kind}), which {what}. If it is "
            "another model, pass row=."
        )


def of_other_kind(
    name: str, location: Location, config: Mapping[str, Any], own: Collection[Row], others: Collection[Row]
) -> list[Row]:
    """Return which of the other kind's rows a checkpoint looks like, as ``check_kind`` tells; none if it may be own."""
    architectures = config.get("architectures")
    if not isinstance(architectures, list):
        return []
    here, there = (
        [row for row in rows if any(layout.architecture in architectures for layout in row.layouts)]
        for rows in (own, others)
    )
    evidence = Evidence.of(name, location, config, modules=False)
    if not there or any(map(evidence.names, here)):
        return []
    named = [row for row in there if evidence.names(row)]
    return named or ([] if here else there)
