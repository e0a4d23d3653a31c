"""What a server of ours tells clients of its checkpoint, read from vLLM's application state."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from .. import __version__
from ..checkpoints import resolve
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.files import Location, locate
from ..checkpoints.ranking import RankingModel
from ..checkpoints.registry import row_named
from ..checkpoints.resolve_ranker import resolve_ranker
from ..checkpoints.weights.token_layers import layer_files
from ..engine.plugin_contract import DEFAULT_TASK_KEY, ROW_KEY
from ..engine.remote.ranking_facts import RankingFacts
from ..engine.remote.server_facts import ServerFacts
from ..inputs.decoder import decoder


def facts_of(state: Any) -> ServerFacts:
    """Return what the server with this application state serves."""
    config = state.vllm_config
    model = config.model_config
    checkpoint = resolve.resolve(str(model.model), model.revision, row_named(*getattr(model.hf_config, ROW_KEY)))
    default = getattr(model.hf_config, DEFAULT_TASK_KEY, None)
    projected = default is not None and model.pooler_config.task == "token_embed"
    tasks = (str(default),) if projected and checkpoint.has_adapters else checkpoint.tasks
    location = location_of(model)
    size = model.multimodal_config.mm_processor_kwargs["size"] if checkpoint.has_pixel_bounds else {}
    return ServerFacts(
        checkpoint=Checkpoint(
            name=state.args.served_model_name[0],
            location=state.args.served_model_name[0],
            tasks=tasks,
            hidden_size=checkpoint.hidden_size,
            matryoshka_sizes=checkpoint.matryoshka_sizes,
            token_dimensions=checkpoint.token_dimensions,
            has_adapters=checkpoint.has_adapters,
            min_pixels=size.get("shortest_edge", checkpoint.min_pixels),
            max_pixels=size.get("longest_edge", checkpoint.max_pixels),
            max_length=checkpoint.max_length,
            row=checkpoint.row,
        ),
        revision=_commit(str(location.file("config.json"))) or model.revision,
        files=location.state(layer_files(checkpoint.row)),
        dtype=str(model.dtype).removeprefix("torch."),
        pooler_task=model.pooler_config.task,
        projected=projected,
        max_tokens=model.max_model_len,
        priority=config.scheduler_config.policy == "priority",
        models={task: task for task in tasks} if checkpoint.has_adapters else {},
        version=__version__,
        decoder=decoder(),
    )


def ranking_facts_of(state: Any, row: RankingModel) -> RankingFacts:
    """Return what the server of a reranker with this application state serves."""
    config = state.vllm_config
    model = config.model_config
    checkpoint, location = resolve_ranker(str(model.model), model.revision, row), location_of(model)
    size = model.multimodal_config.mm_processor_kwargs["size"] if checkpoint.has_pixel_bounds else {}
    name = state.args.served_model_name[0]
    return RankingFacts(
        checkpoint=replace(
            checkpoint,
            name=name,
            location=name,
            min_pixels=size.get("shortest_edge", checkpoint.min_pixels),
            max_pixels=size.get("longest_edge", checkpoint.max_pixels),
        ),
        revision=_commit(str(location.file("config.json"))) or model.revision,
        files=location.state(),
        dtype=str(model.dtype).removeprefix("torch."),
        pooler_task=model.pooler_config.task,
        max_tokens=model.max_model_len,
        priority=config.scheduler_config.policy == "priority",
        version=__version__,
        decoder=decoder(),
    )


def location_of(model: Any) -> Location:
    """Return where the checkpoint of vLLM's ``ModelConfig`` is."""
    return locate(str(model.model), model.revision)


def _commit(path: str) -> str | None:
    """Return the commit that a file of the hub's cache belongs to."""
    found = re.search(r"/snapshots/([0-9a-f]{40})/", path)
    return found[1] if found else None
