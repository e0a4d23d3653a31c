"""vLLM in this process: one ``AsyncLLM`` on its own loop, shared by every thread and every loop.

The only file outside ``plugin/`` that imports vllm, and only when an engine starts.
A bare ``vllm.LLM`` may never be shared by threads; ``AsyncLLM`` merges its callers by itself.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import os
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from .. import pooling
from ..checkpoints import JINA_V4_MAX_LENGTH
from ..errors import EngineDeadError, EngineError, InputError, MissingExtraError
from ..pooling import Floats
from ..prompts import Prompt
from .base import EngineConfig, LoopThread

Result = TypeVar("Result")

ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Set before vLLM is imported, where the user has not set them: quiet, and nothing is sent anywhere."""


class LocalEngine:
    """A vLLM pooling engine. Start-up blocks for as long as vLLM needs."""

    def __init__(self, config: EngineConfig) -> None:
        self._thread = LoopThread("vllm-jina-embed")
        self._numbers = itertools.count()
        self._llm: Any = None
        try:
            self._thread.run(self._start(config)).result()
        except BaseException:
            self._thread.close()
            raise

    def run(self, job: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        """See ``Engine.run``."""
        return self._thread.run(job)

    async def embed(self, prompt: Prompt, *, dimensions: int) -> Floats:
        """See ``Engine.embed``."""
        token_ids, states = await self._token_states(prompt)
        mask = pooling.vision_mask(token_ids, vision_start=self._vision_start, vision_end=self._vision_end)
        return pooling.finish(pooling.mean(states, mask), dimensions)

    def close(self) -> None:
        """See ``Engine.close``."""
        if self._llm is not None:
            llm, self._llm = self._llm, None
            self._thread.run(_shutdown(llm)).result()
        self._thread.close()

    async def _start(self, config: EngineConfig) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            from vllm import PoolingParams
            from vllm.config import PoolerConfig
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.platforms import current_platform
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            if error.name != "vllm":
                raise EngineError(f"vLLM is installed but cannot be imported: {error}") from error
            raise MissingExtraError("vllm", "vllm") from None
        arguments = _arguments(config, cpu=current_platform.is_cpu())
        try:
            self._llm = AsyncLLM.from_engine_args(
                AsyncEngineArgs(**arguments, pooler_config=PoolerConfig(task="token_embed"))
            )
        except Exception as error:
            raise EngineError(
                f"vLLM could not start on {config.location!r}: {type(error).__name__}: {error} "
                "(set VLLM_LOGGING_LEVEL=INFO to see its log)"
            ) from error
        settings = self._llm.vllm_config
        self.max_tokens = int(settings.model_config.max_model_len)
        self._vision_start = int(settings.model_config.hf_config.vision_start_token_id)
        self._vision_end = int(settings.model_config.hf_config.vision_end_token_id)
        self._slots = asyncio.Semaphore(2 * settings.scheduler_config.max_num_seqs)
        # Raw states: vLLM would otherwise normalise every token before we average (2e-3 away from the reference).
        self._params = PoolingParams(task="token_embed", use_activation=False)

    async def _token_states(self, prompt: Prompt) -> tuple[list[int], Any]:
        """Return the expanded token ids and their states, float32 ``(n_tokens, hidden_size)``."""
        async with self._slots:
            output = await self._encode(prompt)
            if getattr(output, "error", None) is not None or output.outputs.data.ndim != 2:
                output = await self._encode(prompt)  # a lost entry of the multimodal cache; the second try refills it
        error, states = getattr(output, "error", None), output.outputs.data
        if error is not None or states.ndim != 2:
            raise EngineError(f"vLLM returned no token states ({error or tuple(states.shape)}).")
        return list(output.prompt_token_ids), states.float().numpy()

    async def _encode(self, prompt: Prompt) -> Any:
        request: dict[str, Any] = {"prompt_token_ids": list(prompt.token_ids)}
        if prompt.images:
            request["multi_modal_data"] = {"image": list(prompt.images)}
        try:
            outputs = [
                output
                async for output in self._llm.encode(request, self._params.clone(), f"jina-{next(self._numbers)}")
            ]
        except Exception as error:
            raise _translated(error) from error
        return outputs[-1]


def _arguments(config: EngineConfig, *, cpu: bool) -> dict[str, Any]:
    """Return vLLM's engine arguments: ours, overridden by the user's options."""
    defaults: dict[str, Any] = {
        "revision": config.revision,
        "runner": "pooling",
        "max_model_len": _max_model_len(config),
        "limit_mm_per_prompt": {"video": 0},
        "mm_processor_kwargs": {"size": {"shortest_edge": config.min_pixels, "longest_edge": config.max_pixels}},
        "use_tqdm_on_load": False,
        # Off: after a failed request vLLM 0.32 answers the next one with the same picture with an empty tensor.
        "mm_processor_cache_gb": 0,
        "enable_prefix_caching": False,
        "enable_log_requests": False,
        "disable_log_stats": True,
    }
    if cpu:
        defaults |= {"enforce_eager": True, "kv_cache_memory_bytes": 2 * 1024**3, "distributed_executor_backend": "mp"}
    options: Mapping[str, Any] = config.options
    return defaults | dict(options) | {"model": config.location, "tokenizer": config.location}


def _max_model_len(config: EngineConfig) -> int:
    from transformers import AutoConfig

    limits = AutoConfig.from_pretrained(config.location, revision=config.revision).get_text_config()
    return min(JINA_V4_MAX_LENGTH, int(limits.max_position_embeddings))


def _translated(error: Exception) -> Exception:
    """Return our error for one of vLLM's."""
    from vllm.exceptions import VLLMClientError
    from vllm.v1.engine.exceptions import EngineDeadError as Dead
    from vllm.v1.engine.exceptions import EngineGenerateError

    if isinstance(error, Dead):
        return EngineDeadError("vLLM's engine process ended; create a new embedder.")
    cause = error.__cause__ if isinstance(error, EngineGenerateError) else error
    if isinstance(cause, VLLMClientError | ValueError | OSError):
        return InputError(f"the engine refuses this item: {cause}")
    return EngineError(f"vLLM failed: {type(cause).__name__}: {cause}")


async def _shutdown(llm: Any) -> None:
    llm.shutdown()
