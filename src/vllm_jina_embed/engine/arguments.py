"""What vLLM is started with.

Enters: an ``EngineConfig``. Leaves: keyword arguments for vLLM's engine and variables for its environment.
Every default gives way to the user's ``engine_kwargs`` and to variables that are already set.
"""

from __future__ import annotations

from typing import Any

from ..plugin import ARCHITECTURE
from .base import EngineConfig

ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Set before vLLM is imported, where the user has not set them: quiet, and nothing is sent anywhere."""

CPU_CACHE_BYTES = 2 * 1024**3
"""Room for keys and values on the CPU: 32768 tokens of the published checkpoints take 1.2 GB in bfloat16."""


def engine_arguments(config: EngineConfig, *, cpu: bool) -> dict[str, Any]:
    """Return the arguments of ``AsyncEngineArgs``: ours, overridden by the user's options."""
    pixels = {"shortest_edge": config.min_pixels, "longest_edge": config.max_pixels}
    defaults: dict[str, Any] = {
        "revision": config.revision,
        "runner": "pooling",
        "max_model_len": config.max_tokens,
        "pooler_config": {"task": "embed"},
        "scheduling_policy": "priority",
        "limit_mm_per_prompt": {"video": 0},
        "mm_processor_kwargs": {"size": pixels},
        # Off: after a failed request vLLM 0.32 answers the next one with the same picture with an empty tensor.
        "mm_processor_cache_gb": 0,
        # Off: a prompt's first tokens must be seen to be averaged.
        "enable_prefix_caching": False,
        "enable_log_requests": False,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if cpu:
        defaults |= {
            "enforce_eager": True,
            "kv_cache_memory_bytes": CPU_CACHE_BYTES,
            "distributed_executor_backend": "mp",
        }
    overrides = {"architectures": [ARCHITECTURE], "is_matryoshka": True}
    fixed = {"model": config.location, "tokenizer": config.location, "hf_overrides": overrides}
    return defaults | dict(config.options) | fixed
