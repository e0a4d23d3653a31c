"""What is told of an embedder's calls: their kind, their model, and how many items of which modality they have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .._instruments import CALL, DIMENSIONS, MODALITY, is_on
from .._telemetry import Call, address, common, current, told
from ..engine.config import EngineConfig, RemoteConfig
from ..inputs.items import BadItem, BothItem, Checked, ImageItem, TextItem
from ..settings import Settings
from .outcomes import Outcome

MODALITIES: dict[type, str] = {TextItem: "text", ImageItem: "image", BothItem: "both", BadItem: ""}


@contextmanager
def observed(settings: Settings, items: Sequence[Checked], overrides: dict[str, Any]) -> Iterator[None]:
    """Tell of a call of an embedder when the block ends; inside the block of the same call, do nothing.

    Args:
        settings: The embedder's.
        items: Those of the call.
        overrides: The call's fields of ``Request``, and others.
    """
    if not is_on() or current() is not None:
        yield
        return
    kind, own = kind_of(overrides), dict(address_of(settings.engine))
    if kind in ("embed", "late_chunks", "both_kinds"):
        own[DIMENSIONS] = overrides.get("dimensions") or settings.dimensions
    call = counted(common("embeddings", settings.checkpoint.name, **{CALL: kind}), items, own)
    with told(call):
        yield


@contextmanager
def observed_ranking(model: str, engine: EngineConfig, items: Sequence[Checked]) -> Iterator[None]:
    """Tell of a call of a reranker when the block ends; its items are the documents."""
    if not is_on():
        yield
        return
    with told(counted(common("rerank", model, **{CALL: "rerank"}), items, address_of(engine))):
        yield


def counted(attributes: dict[str, Any], items: Sequence[Checked], own: dict[str, Any]) -> Call:
    """Return a call with its items counted; ``attributes`` are all that is told of it, ``own`` of its span alone."""
    modalities = Counter(MODALITIES[type(item)] for item in items)
    images = sum(len(item.images) for item in items if isinstance(item, ImageItem | BothItem))
    known = sorted(modality for modality in modalities if modality)
    kind = {MODALITY: known[0] if len(known) == 1 else "mixed"} if known else {}
    return Call(common=attributes, kind=kind, own=own, items=modalities, images=images)


def add_failed(items: Sequence[Checked], outcome: Outcome) -> None:
    """Count the items of a call that have no result."""
    if (call := current()) is None:
        return
    errors = {place: type(error).__name__ for error in outcome.errors for place in error.positions}
    call.failed = Counter((MODALITIES[type(item)], errors[item.position]) for item in items if item.position in errors)


def kind_of(overrides: dict[str, Any]) -> str:
    """Return what a call of an embedder computes."""
    if overrides.get("weights"):
        return "sparse"
    if overrides.get("ends") is not None:
        return "late_chunks"
    if overrides.get("both"):
        return "both_kinds"
    return "multi_vector" if overrides.get("multi_vector") else "embed"


def address_of(engine: EngineConfig) -> dict[str, Any]:
    """Return the attributes of the one server that answers, if there is one."""
    return address(engine.servers) if isinstance(engine, RemoteConfig) else {}
