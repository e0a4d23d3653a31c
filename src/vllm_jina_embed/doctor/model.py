"""Check that a model that somebody means to use can be found, and that its row is known; nothing starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.description import DEMO
from ..checkpoints.files import Folder, Hub, Repository, locate
from ..checkpoints.ranking import RankingCheckpoint
from ..checkpoints.resolve import resolve
from ..checkpoints.resolve_ranker import is_ranker, resolve_ranker
from ..errors import ConfigError
from .finding import Finding, Surroundings
from .network import HubAnswer

CONFIG = "config.json"


def needs_hub(model: str, hub: Hub) -> bool:
    """Return whether only the hub has a model: it is neither the demo nor a folder, and not whole in the cache."""
    expanded = os.path.expanduser(model)  # noqa: PTH111 - a name of the hub is not a path
    if model == DEMO or model.count("/") != 1 or model.startswith((".", "/", "~")) or Path(expanded).is_dir():
        return False
    return not hub.holds(model)


def check_model(around: Surroundings, model: str, answer: HubAnswer) -> Finding:
    """Check that a model is a folder, in the hub's cache or on the hub, and that a row describes it.

    Args:
        around: What to look at.
        model: As for ``JinaEmbedder`` or ``JinaReranker``.
        answer: What the hub answered.
    """
    on_hub = needs_hub(model, answer.hub)
    if on_hub and answer.is_silent:
        summary = f"{model} is neither a folder nor whole in the hub's cache, and the hub is silent: see hub."
        return Finding(check="model", status="absent", summary=summary)
    try:
        checkpoint, place = _described(model), _place(model, on_hub=on_hub)
    except ConfigError as error:
        return _unusable(model, str(error), answer, on_hub=on_hub)
    row = checkpoint.row
    details: dict[str, Any] = {"model": model, "row": row.name, "place": place}
    kind = "a reranker for JinaReranker" if isinstance(checkpoint, RankingCheckpoint) else "a model for JinaEmbedder"
    return Finding(
        check="model", status="ok", summary=f"{model}: {row.label} (row {row.name}), {kind}; {place}.", details=details
    )


def _described(model: str) -> Checkpoint | RankingCheckpoint:
    return resolve_ranker(model) if is_ranker(model) else resolve(model)


def _place(model: str, *, on_hub: bool) -> str:
    """Return where a model is.

    Raises:
        ConfigError: Its folder has no weights, or the hub has no such model for this user.
    """
    if model == DEMO:
        return "part of this package"
    location = locate(os.path.expanduser(model))  # noqa: PTH111
    if isinstance(location, Folder):
        if not location.weights_bytes:
            raise ConfigError(f"{str(location)!r} has no weights (*.safetensors, *.bin).")
        return f"in {location}"
    if on_hub:
        Repository(model, None).file(CONFIG)  # the facts of a published model need no file, and the hub may not have it
        return "on the hub, and downloaded by the first start"
    return "whole in the hub's cache"


def _unusable(model: str, error: str, answer: HubAnswer, *, on_hub: bool) -> Finding:
    """Return the finding of a model that is not there, or that no row describes."""
    details = {"model": model}
    if on_hub:
        mend = "Check the name; where the model asks for a licence, accept it and set HF_TOKEN."
        command = f"curl -sSIL --max-time 10 {answer.endpoint}/{model}/resolve/main/{CONFIG}"
        return Finding(check="model", status="problem", summary=error, mend=mend, command=command, details=details)
    mend = "Pass the name of a model of docs/models.md, or the path of a folder with all files of a checkpoint."
    return Finding(check="model", status="problem", summary=error, mend=mend, details=details)
