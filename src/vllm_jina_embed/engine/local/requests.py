"""What vLLM gets for one prompt, and what its errors mean."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from ...errors import EngineError, InputError
from ...prompts.base import Prompt
from ..plugin_contract import EMBEDDING_KEY, TASK_KEY
from .image_threads import ImageThreads


async def rendered(llm: Any, prompt: Prompt, threads: ImageThreads) -> dict[str, Any]:
    """Return a prompt as inputs of vLLM's engine, which takes them as they are.

    Args:
        llm: A started ``AsyncLLM``.
        prompt: Token ids, and RGB images where there are any.
        threads: They prepare the images.
    """
    request: dict[str, Any] = {"prompt_token_ids": list(prompt.token_ids)}
    if not prompt.images:
        return request | {"type": "token"}
    request["multi_modal_data"] = {"image": list(prompt.images)}
    (engine_input,) = await threads.run(prompt.images, llm.renderer.render_cmpl, [request])
    return dict(engine_input)


@cache
def vllm_params(
    kind: str,
    *,
    dimensions: int | None = None,
    use_activation: bool | None = None,
    projected_for: str | None = None,
    embedding: tuple[int, bool] | None = None,
) -> Any:
    """Return vLLM's parameters for a prompt, one object for all equal ones.

    Args:
        kind: ``embed`` or ``token_embed``.
        dimensions: Length of an embedding; None for the full one.
        use_activation: Whether an embedding, or each token's vector, is normalised; None takes the default: it is.
        projected_for: The task whose projector makes the multi-vectors.
        embedding: With multi-vectors, the length of the embedding that comes before them, and whether it is normalised.
    """
    told: dict[str, Any] = {} if projected_for is None else {TASK_KEY: projected_for}
    if embedding is not None:
        told[EMBEDDING_KEY] = {"dimensions": embedding[0], "normalize": embedding[1]}
    return _params_class()(
        task=kind,
        dimensions=dimensions,
        use_activation=use_activation,
        skip_reading_prefix_cache=True,
        extra_kwargs=told or None,
    )


@cache
def _params_class() -> Any:
    """Return a class of vLLM's parameters whose copy, one for each prompt, is shallow: the deep one takes 30 us."""
    from vllm import PoolingParams

    class Params(PoolingParams):  # type: ignore[misc]
        def clone(self) -> PoolingParams:
            return copy.copy(self)

    return Params


def is_death(error: Exception) -> bool:
    """Return whether vLLM's process has ended."""
    from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

    return isinstance(error, VllmDeadError)


def translated(error: Exception) -> Exception:
    """Return the error of this package for an error of vLLM."""
    from vllm.exceptions import VLLMClientError
    from vllm.v1.engine.exceptions import EngineGenerateError

    cause = error.__cause__ if isinstance(error, EngineGenerateError) else error
    if isinstance(cause, VLLMClientError | ValueError | OSError):
        return InputError(f"the engine refuses this item: {cause}")
    return EngineError(f"vLLM failed: {type(cause).__name__}: {cause}")
