"""Check inside vLLM's server, before it serves, that its engine gives the right vectors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from vllm import PoolingParams

from .._arrays import Floats
from ..checkpoints import resolve
from ..checkpoints.files import locate
from ..checkpoints.ranking import RankingModel
from ..checkpoints.registry import row_named
from ..checkpoints.weights.projector import projections
from ..checkpoints.weights.token_layers import TokenLayers, token_layers
from ..engine.local.image_threads import ImageThreads
from ..engine.local.requests import rendered
from ..engine.plugin_contract import ADAPTERS_KEY, DEFAULT_TASK_KEY, ROW_KEY, TASK_KEY, TASKS_KEY
from ..engine.protocol import TokenStates
from ..engine.ranking_check import check_prompts, check_ranker
from ..engine.self_check import LIMIT, check_engine, check_multi_vector, together
from ..errors import EngineError
from ..inputs.policy import MediaPolicy
from ..prompts.base import Prompt
from ..prompts.build import row_builder
from ..prompts.pairs import pair_builder
from .pair_prompts import served_ranker


class ClientEngine:
    """vLLM's engine client inside the server as a ``VectorSource``, without HTTP; it gives both kinds of vectors."""

    def __init__(self, client: Any, adapters: Mapping[str, Any], threads: ImageThreads | None = None) -> None:
        """Keep vLLM's client, its adapters by task, and the threads that prepare images; None for one of its own."""
        self._client, self._adapters, self._threads = client, adapters, threads or ImageThreads(1)
        self._numbers = itertools.count()

    async def embed(
        self, prompt: Prompt, *, dimensions: int, task: str, urgent: bool = False, normalize: bool = True
    ) -> Floats:
        """See ``VectorSource.embed``."""
        params = {"task": "embed", "dimensions": dimensions, "use_activation": normalize}
        output = await self._checked(prompt, task, params)
        embedding: Floats = output.outputs.data.numpy()
        return embedding

    async def multi_vector(self, prompt: Prompt, *, task: str, urgent: bool = False) -> Floats:
        """See ``VectorSource.multi_vector``."""
        output = await self._checked(prompt, task, {"task": "token_embed", "use_activation": True})
        rows: Floats = output.outputs.data.float().numpy()
        return rows

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        """See ``VectorSource.token_states``."""
        # Raw states, although the server may have a default task.
        params: dict[str, Any] = {"task": "token_embed", "use_activation": False, "extra_kwargs": {TASK_KEY: None}}
        output = await self._checked(prompt, task, params)
        return TokenStates(token_ids=tuple(output.prompt_token_ids), states=output.outputs.data.float().numpy())

    async def logit(self, prompt: Prompt, *, urgent: bool = False) -> float:
        """See ``ScoreSource.logit``."""
        return await self._judged(prompt, use_activation=False)

    async def score(self, prompt: Prompt) -> float:
        """Return the score of a pair, as vLLM's own paths give it."""
        return await self._judged(prompt, use_activation=True)

    async def _judged(self, prompt: Prompt, *, use_activation: bool) -> float:
        output = await self._checked(prompt, "", {"task": "classify", "use_activation": use_activation})
        return float(output.outputs.data.float().numpy().reshape(-1)[0])

    def close(self) -> None:
        """End the threads; the server closes its engine."""
        self._threads.close()

    async def answer(self, prompt: Prompt, task: str, params: Any, *, number: str, priority: int = 0) -> Any:
        """Return vLLM's finished output for one prompt.

        Args:
            prompt: The prompt.
            task: The task, whose adapter computes it if there are some.
            params: vLLM's ``PoolingParams``.
            number: A name that no other request has.
            priority: Lower ones first.
        """
        request = await rendered(self._client, prompt, self._threads)
        options = {"lora_request": self._adapters.get(task), "priority": priority}
        return [output async for output in self._client.encode(request, params, number, **options)][-1]

    async def _checked(self, prompt: Prompt, task: str, params: dict[str, Any]) -> Any:
        pooling = PoolingParams(skip_reading_prefix_cache=True, **params)
        return await self.answer(prompt, task, pooling, number=f"jina-proof-{next(self._numbers)}")


async def prove(state: Any) -> None:
    """Check the vectors of the server with this application state, with each adapter if there are any; or its scores.

    Raises:
        EngineError: A vector, or a score, is wrong.
    """
    model = state.vllm_config.model_config
    config = model.hf_config
    if (ranker := served_ranker(config)) is not None:
        await _prove_ranker(state, ranker)
        return
    adapters = dict(state.openai_serving_models.lora_requests)
    location, longest = locate(str(model.model), model.revision), model.max_model_len
    checkpoint = resolve.resolve(str(model.model), model.revision, row_named(*getattr(config, ROW_KEY)))
    row = checkpoint.row
    builder = row_builder(row, location, policy=MediaPolicy(), length=checkpoint.max_length)
    layers = TokenLayers(projector=token_layers(location, row).projector)  # no server gives token weights
    options: dict[str, Any] = {"row": row, "max_tokens": longest, "layers": layers}
    with closing(ClientEngine(state.engine_client, adapters)) as engine:
        await together(
            check_engine(engine, builder, config, task=task, **options) for task in adapters or row.checked_tasks
        )
        task = getattr(config, DEFAULT_TASK_KEY, None)
        if adapters and task is not None and model.pooler_config.task == "token_embed":
            source, tasks = Path(getattr(config, ADAPTERS_KEY)), tuple(getattr(config, TASKS_KEY))
            task_projections = projections(location, source, tasks)
            await check_multi_vector(engine, config, task=task, expected=task_projections[task].multi_vector)


async def _prove_ranker(state: Any, row: RankingModel) -> None:
    """Check the scores of a server: the numbers of its head, and that vLLM's own paths give their sigmoid.

    Raises:
        EngineError: They are others.
    """
    model = state.vllm_config.model_config
    location, longest = locate(str(model.model), model.revision), model.max_model_len
    with closing(ClientEngine(state.engine_client, {})) as engine:
        await check_ranker(engine, row, location, max_tokens=longest)
        (prompt, *_) = check_prompts(pair_builder(row, location, policy=MediaPolicy()), row, longest)
        got, right = await engine.score(prompt), 0.5 * (1 + math.tanh(0.5 * await engine.logit(prompt)))
        if not abs(got - right) <= LIMIT:
            raise EngineError(
                f"vLLM gives a pair the score {got:.3f}; expected {right:.3f}, the sigmoid of its own number. Remove "
                "activation functions from the checkpoint's config.json, or try another version of vLLM."
            )
