"""Split the adapter file of jina-embeddings-v4, which holds every task, into one plain PEFT folder per task.

The folders are for vLLM's LoRA and lie in the user's cache. The projector's adapters are left out, since vLLM's LoRA
does not support them; ``projector`` and the plugin read them from the original file.
Source: adapters/ of jinaai/jina-embeddings-v4 (1518 tensors: 36 layers, 7 projections, 3 tasks, A and B; 6 of the
projector); custom_lora_module.py, y = W x + b + (x A^T) B^T * alpha / r.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from .. import values
from ..files import Location, read_json
from .safetensors import Tensor, read_table, write_tensors

FOLDER, WEIGHTS, CONFIG = "adapters", "adapter_model.safetensors", "adapter_config.json"
PROJECTIONS = (*(f"self_attn.{name}_proj" for name in "qkvo"), *(f"mlp.{name}_proj" for name in ("gate", "up", "down")))
"""Modules that have an adapter in every layer."""
PROJECTOR = "multi_vector_projector"

_FORMAT = "1"  # of the folders in the cache
_KEY = re.compile(
    r"base_model\.model\.(?:model\.language_model\.layers\.(?P<layer>\d+)\.)?"
    r"(?P<module>[\w.]+)\.lora_(?P<side>[AB])\.(?P<task>[\w-]+)\.weight"
)
_DEAD = "single_vector_projector"  # in the checkpoint's configuration, but unused
_SHOWN = 5

Part = tuple[str, str, str]
"""Layer (empty for the projector), module and side of one tensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """The adapters of one checkpoint, a folder for each task.

    Attributes:
        source: Folder of the original files.
        rank: Number of rows of each A; the largest where tasks differ.
        folders: A plain PEFT folder per task.
        has_projector: Whether a projector of multi-vectors has adapters too.
    """

    source: Path
    rank: int
    folders: Mapping[str, Path]
    has_projector: bool


def split_adapters(location: Location, tasks: tuple[str, ...]) -> Adapters:
    """Return one PEFT folder per task; they are written once and reused by every process.

    Args:
        location: Folder or repository of a native checkpoint.
        tasks: Tasks that the file must hold.

    Raises:
        ConfigError: The files are missing or broken, or are not a plain LoRA of every projection in every layer.
    """
    source = location.file(f"{FOLDER}/{WEIGHTS}").parent
    settings = read_json(location.file(f"{FOLDER}/{CONFIG}"))
    rank, alpha = rank_and_alpha(source / CONFIG, settings)
    layers = layer_count(location)
    parts = adapter_parts(source / WEIGHTS, tasks)
    for task in tasks:
        check_complete(source / WEIGHTS, task, parts[task], layers, rank, beyond=[("", PROJECTOR)])
    config = {**settings, "r": rank, "lora_alpha": alpha, "peft_type": "LORA"}
    config["target_modules"] = [name.rpartition(".")[2] for name in PROJECTIONS]
    target = _cache() / _key(source, settings, tasks)
    if not target.is_dir():
        _write(target, {task: _renamed(parts[task]) for task in tasks}, config)
    folders = {task: target / task for task in tasks}
    return Adapters(source=source, rank=rank, folders=folders, has_projector=True)


def adapter_parts(file: Path, tasks: tuple[str, ...]) -> dict[str, dict[Part, Tensor]]:
    """Return the tensors of each task by their place in the model.

    Raises:
        ConfigError: Some belong to another module, such as the vision tower: vLLM would ignore them silently.
    """
    parts: dict[str, dict[Part, Tensor]] = {task: {} for task in tasks}
    unknown = []
    for name, tensor in read_table(file).items():
        match = _KEY.fullmatch(name)
        place = None if match is None else (match["layer"] or "", match["module"], match["side"])
        if match is None or place is None or not _is_known(place) or match["task"] not in parts:
            unknown.append(name)
        elif place[1] != _DEAD:
            parts[match["task"]][place] = tensor
    if unknown:
        raise ConfigError(
            f"{str(file)!r} holds {len(unknown)} tensors that are not adapters of {', '.join(tasks)} in the language "
            f"model: {listed(unknown)}. Expected names like "
            f"base_model.model.model.language_model.layers.0.mlp.up_proj.lora_A.{tasks[0]}.weight."
        )
    return parts


def scaling(folder: Path) -> float:
    """Return the factor of ``B @ A``, read from the adapters' folder."""
    rank, alpha = rank_and_alpha(folder / CONFIG, read_json(folder / CONFIG))
    return alpha / rank


def layer_count(location: Location) -> int:
    """Return the number of layers of the language model."""
    config = read_json(location.file("config.json"))
    where = f"{str(location)!r}: config.json"
    return values.whole(where, values.mapping(where, config, "text_config") or config, "num_hidden_layers", most=10_000)


def _is_known(place: Part) -> bool:
    layer, module, _ = place
    return module in PROJECTIONS if layer else module in (PROJECTOR, _DEAD)


def rank_and_alpha(file: Path, settings: Mapping[str, Any]) -> tuple[int, float]:
    """Return r and alpha of a plain LoRA.

    Raises:
        ConfigError: It is not a plain LoRA, or a number is missing or out of range.
    """
    special = ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save", "layer_replication")
    if odd := [name for name in special if settings.get(name)]:
        raise ConfigError(f"{str(file)!r} sets {', '.join(odd)}; expected a plain LoRA.")
    rank: Any = settings.get("r")
    alpha: Any = settings.get("lora_alpha")
    numbers = type(rank) is int and type(alpha) in (int, float)
    if not numbers or not 0 < rank <= values.LARGEST_SIZE or not 0 < alpha <= values.MOST_TOKENS:
        raise ConfigError(
            f"{str(file)!r}: got r={values.short(rank)} and lora_alpha={values.short(alpha)}; expected two numbers "
            "over 0."
        )
    return rank, alpha


def check_complete(
    file: Path,
    task: str,
    parts: Mapping[Part, Tensor],
    layers: int,
    rank: int,
    *,
    beyond: Sequence[tuple[str, str]] = (),
) -> None:
    """Check that ``task`` has A and B of every projection in every layer, and of what is ``beyond``, all of ``rank``.

    Raises:
        ConfigError: Tensors are missing, superfluous, or of another rank; names them.
    """
    places = [(str(layer), module) for layer in range(layers) for module in PROJECTIONS] + [*beyond]
    expected = {(*place, side) for place in places for side in "AB"}
    for problem, names in (("lacks", expected - parts.keys()), ("has, beyond its layers,", parts.keys() - expected)):
        if names:
            shown = listed(sorted(".".join(filter(None, (part[0], part[1], f"lora_{part[2]}"))) for part in names))
            raise ConfigError(
                f"{str(file)!r}: task {task!r} {problem} {len(names)} of {len(expected)} tensors: {shown}."
            )
    for (layer, module, side), tensor in parts.items():
        if len(tensor.shape) != 2 or tensor.shape[0 if side == "A" else 1] != rank:
            name = ".".join(filter(None, (layer, module, f"lora_{side}", task)))
            raise ConfigError(f"{str(file)!r}: {name} has shape {tensor.shape}; its configuration has r={rank}.")


def _renamed(parts: Mapping[Part, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the layers under PEFT's names, without the task."""
    layers = "base_model.model.model.language_model.layers"
    return {
        f"{layers}.{layer}.{module}.lora_{side}.weight": tensor
        for (layer, module, side), tensor in parts.items()
        if layer
    }


def _key(source: Path, settings: Mapping[str, Any], tasks: tuple[str, ...]) -> str:
    """Return a hash of the file's path, size and modification time, the settings and the tasks."""
    file = (source / WEIGHTS).resolve()
    stat = file.stat()
    facts = [_FORMAT, str(file), stat.st_size, stat.st_mtime_ns, settings, tasks]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "vllm-jina-embed" / FOLDER


def _write(target: Path, tasks: Mapping[str, Mapping[str, Tensor]], config: Mapping[str, Any]) -> None:
    """Write all folders beside ``target`` and move them there in one step, unless another process was first.

    Raises:
        ConfigError: The cache cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
        try:
            for task, tensors in tasks.items():
                (new / task).mkdir()
                write_tensors(new / task / WEIGHTS, tensors)
                (new / task / CONFIG).write_text(json.dumps(config), encoding="utf-8")
            new.rename(target)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        if target.is_dir():  # another process was first, with the same content
            return
        raise ConfigError(
            f"the adapters cannot be written to {str(target.parent)!r} ({error}); set XDG_CACHE_HOME to a folder with "
            "as much free space as the adapter file takes."
        ) from None


def listed(names: Sequence[str]) -> str:
    """Return the first few names, for a message."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
