"""Adapters of which each task has a PEFT folder of its own below ``adapters``; vLLM loads them from where they are.

Source: modeling_jina_embeddings_v5.py of jinaai/jina-embeddings-v5-text-nano, from_pretrained: one folder for each of
task_names; the names of tensors: vLLM 0.32, jina.py, _build_lora_pairs.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import ConfigError
from ..files import Location, read_json
from ..row import Row
from .lora import (
    CONFIG,
    FOLDER,
    PROJECTIONS,
    WEIGHTS,
    Adapters,
    Part,
    check_complete,
    layer_count,
    listed,
    rank_and_alpha,
    split_adapters,
)
from .safetensors import Tensor, read_table

_KEY = re.compile(
    rf"base_model\.model\.(?:model\.)?layers\.(?P<layer>\d+)\.(?P<module>{'|'.join(map(re.escape, PROJECTIONS))})"
    r"\.lora_(?P<side>[AB])\.weight"
)


def adapters_of(location: Location, row: Row, tasks: tuple[str, ...]) -> Adapters:
    """Return the adapters of a checkpoint that has one per task, in a PEFT folder each.

    Args:
        location: Its folder or repository.
        row: Its row, which says whether there is one file for all tasks.
        tasks: Tasks that it must have adapters for.

    Raises:
        ConfigError: Files are missing or broken, or are not a plain LoRA of every projection in every layer.
    """
    if not row.has_task_adapters:
        return split_adapters(location, tasks)
    layers = layer_count(location)
    folders, ranks = {}, []
    for task in tasks:
        file = location.file(f"{FOLDER}/{task}/{WEIGHTS}")
        settings = location.file(f"{FOLDER}/{task}/{CONFIG}")
        rank, _ = rank_and_alpha(settings, read_json(settings))
        check_complete(file, task, _parts(file), layers, rank)
        folders[task] = file.parent
        ranks.append(rank)
    source = next(iter(folders.values())).parent
    return Adapters(source=source, rank=max(ranks), folders=folders, has_projector=False)


def _parts(file: Path) -> dict[Part, Tensor]:
    """Return the tensors of one task by their place in the model.

    Raises:
        ConfigError: Some belong to another module: vLLM would ignore them silently.
    """
    parts, unknown = {}, []
    for name, tensor in read_table(file).items():
        if match := _KEY.fullmatch(name):
            parts[match["layer"], match["module"], match["side"]] = tensor
        else:
            unknown.append(name)
    if unknown:
        raise ConfigError(
            f"{str(file)!r} holds {len(unknown)} tensors that are not adapters of a projection: {listed(unknown)}. "
            "Expected names like base_model.model.layers.0.mlp.up_proj.lora_A.weight."
        )
    return parts
