"""What vLLM gets for one prompt, and what its errors mean.

vLLM resizes and normalises images on one thread, which feeds about 37 pages a second to a GPU (docs/performance.md).
Here several threads call the same function; the numbers do not depend on how many.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from ..._forks import fork_safe_lock
from ...errors import EngineError, InputError
from ...prompts.base import Prompt
from ..plugin_contract import TASK_KEY

THREADS = 8
"""Most threads that prepare images; one for each core of smaller machines."""


class Renderer:
    """Turns prompts into inputs of vLLM's engine, images on threads of its own."""

    def __init__(self, threads: int | None = None) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = min(THREADS, cores) if threads is None else threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="vllm-jina-embed-images")
        self._lock = fork_safe_lock(self)
        self._at_work = 0
        self._torch_threads = 0

    async def render(self, llm: Any, prompt: Prompt) -> dict[str, Any]:
        """Return what ``llm.encode`` takes without a look at it.

        Args:
            llm: A started ``AsyncLLM``.
            prompt: Token ids, and RGB images where there are any.
        """
        request: dict[str, Any] = {"prompt_token_ids": list(prompt.token_ids)}
        if not prompt.images:
            return request | {"type": "token"}
        request["multi_modal_data"] = {"image": list(prompt.images)}
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._rendered, llm, request)

    def _rendered(self, llm: Any, request: dict[str, Any]) -> dict[str, Any]:
        """Prepare the images of one request, and leave torch as many threads as it had.

        vLLM sets torch's number of threads to 1 meanwhile, for the whole process, and then to what it was: of several
        calls at once, the last would leave the 1 of another.
        """
        import torch

        with self._lock:
            if not self._at_work:
                self._torch_threads = torch.get_num_threads()
            self._at_work += 1
        try:
            (rendered,) = llm.renderer.render_cmpl([request])
        finally:
            with self._lock:
                self._at_work -= 1
                if not self._at_work:
                    torch.set_num_threads(self._torch_threads)
        answer: dict[str, Any] = rendered
        return answer

    def close(self) -> None:
        """End the threads; what they do is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


@cache
def vllm_params(
    kind: str, *, dimensions: int | None = None, use_activation: bool | None = None, projected_for: str | None = None
) -> Any:
    """Return vLLM's parameters for a prompt, one object for all equal ones: vLLM copies it for each prompt.

    Args:
        kind: ``embed`` or ``token_embed``.
        dimensions: Length of an embedding; None for the full one.
        use_activation: Whether each token's vector is normalised.
        projected_for: The task whose projector makes the multi-vectors.
    """
    from vllm import PoolingParams

    return PoolingParams(
        task=kind,
        dimensions=dimensions,
        use_activation=use_activation,
        skip_reading_prefix_cache=True,
        extra_kwargs=None if projected_for is None else {TASK_KEY: projected_for},
    )


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
