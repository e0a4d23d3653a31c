"""What a local engine is checked for when it has started: what its row says."""

from __future__ import annotations

from typing import Any

from ...checkpoints.description import Model
from ...checkpoints.files import Location
from ...checkpoints.ranking import RankingModel
from ...checkpoints.weights.lora import Adapters
from ...checkpoints.weights.projector import projections
from ...checkpoints.weights.token_layers import token_layers
from ...inputs.policy import MediaPolicy
from ...prompts.build import row_builder
from ..both_check import check_both
from ..config import LocalConfig
from ..protocol import Engine
from ..ranking_check import check_ranker
from ..self_check import check_engine, check_multi_vector, together


async def check(
    engine: Engine,
    config: LocalConfig,
    location: Location,
    *,
    hf_config: Any,
    adapters: Adapters | None,
    dimensions: int,
) -> None:
    """Run the self-checks of a row.

    Args:
        engine: The engine.
        config: What it should do.
        location: Where its checkpoint is.
        hf_config: The checkpoint's configuration, as vLLM has read it.
        adapters: The adapters of a checkpoint that has one per task.
        dimensions: The full length of an embedding.

    Raises:
        EngineError: The engine does something else.
    """
    row = config.row
    if isinstance(row, RankingModel):
        await check_ranker(engine, row, location, max_tokens=engine.max_tokens)
        return
    assert isinstance(row, Model)
    layers = token_layers(location, row)
    builder = row_builder(row, location, policy=MediaPolicy(), length=config.max_tokens)
    options: dict[str, Any] = {"row": row, "max_tokens": engine.max_tokens, "layers": layers}
    tasks = config.tasks or row.checked_tasks
    checks = [check_engine(engine, builder, hf_config, task=task, **options) for task in tasks]
    if row.pooling is not None and row.token_vectors:
        of_row: dict[str, Any] = {"row": row, "max_tokens": engine.max_tokens, "full": dimensions}
        checks += [check_both(engine, builder, task=task, **of_row) for task in tasks]
    if adapters is not None and adapters.has_projector:
        checks += [
            check_multi_vector(engine, hf_config, task=task, expected=projection.multi_vector)
            for task, projection in projections(location, adapters.source, config.tasks).items()
        ]
    await together(checks)
