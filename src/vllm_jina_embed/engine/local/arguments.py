"""The arguments and environment variables that vLLM is started with.

The user's ``engine_kwargs``, and variables that are already set, replace every default.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ...checkpoints.description import Model
from ...checkpoints.files import Folder, Location, locate, optional_json
from ...checkpoints.values import MOST_TOKENS
from ...checkpoints.weights.lora import Adapters
from ...errors import ConfigError
from ..config import LocalConfig
from ..plugin_contract import (
    ADAPTERS_KEY,
    ALLOCATOR,
    LAYER_NORM_KEY,
    LINE_KEY,
    POOLED_PREFIX,
    POOLING_KEY,
    PROJECTOR_KEY,
    RETURN_MEMORY,
    REVERSED_KEY,
    TASKS_KEY,
    WEIGHTS_KEY,
)
from .vllm_versions import image_arguments

logger = logging.getLogger(__name__)

SMALL_MACHINE = 4
"""Most cores of a machine where vLLM gets all of them; its default keeps one free, half of a machine of two."""

COMPILE_FROM_BYTES = 32 * 1024**2
"""Smallest weights that are compiled on the CPU: smaller ones are for tests, where 20 s more at the start matter."""

CPU_CACHE_BYTES = 2 * 1024**3
"""Memory for keys and values on the CPU: 32768 tokens of the published checkpoints take 1.2 GB in bfloat16."""
SMALL_CACHE_BYTES = 256 * 1024**2
"""The same for small checkpoints: less to clear when an engine starts."""

CPU_STEP_TOKENS = 4096
"""Tokens of a full step on the CPU: with texts a tenth faster than 2048, the default of vLLM's servers."""

TOKENIZERS = {"TOKENIZERS_PARALLELISM": "false"}
"""Set while an engine runs: with images vLLM's tokenizer would start threads in the application, and warn in each of
its forks."""

LENGTHS: Mapping[str, Any] = {"is_matryoshka": True, "matryoshka_dimensions": None}
"""What vLLM is told of lengths: that a request may ask for any, which ``settings.check_dimensions`` checks.

Symptom without it: where config.json lists the shorter ones alone, vLLM refuses the full one, and no server starts.
"""

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values of vLLM's ``max_lora_rank``."""


def engine_arguments(config: LocalConfig, *, cpu: bool, adapters: Adapters | None = None) -> dict[str, Any]:
    """Return the arguments of ``AsyncEngineArgs``: ours, overridden by the row's, and by the user's options.

    Args:
        config: The engine to start.
        cpu: Whether vLLM runs on the CPU.
        adapters: The adapters of a checkpoint that has one per task.

    Raises:
        ConfigError: The adapters' rank is higher than vLLM can serve, or the options switch adapters off.
    """
    defaults: dict[str, Any] = {
        "revision": config.revision,
        "runner": "pooling",
        "max_model_len": config.max_tokens,
        "pooler_config": _pooler_config(config.row),
        "scheduling_policy": "priority",
        # Off: cached first tokens would be missing from the average.
        "enable_prefix_caching": False,
        "enable_log_requests": False,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    row, architecture = config.row, config.architecture or config.row.layouts[0].architecture
    overrides: dict[str, Any] = {**LENGTHS, **_assumed(row, architecture), **_renamed(config), **row.overrides}
    if row.takes_images:
        defaults |= _images(config)
    if row.splits_prompts:  # small steps cut prompts; uncut long texts would have to wait
        defaults["scheduler_cls"] = "vllm_jina_embed.plugin.scheduler.QuestionsFirst"
    if row.architecture is not None:
        overrides["architectures"] = [row.architecture]
    else:
        overrides |= _pooled(row, row.vllm_architecture or architecture)
    if cpu:
        location = locate(config.location, config.revision)
        defaults |= {"kv_cache_memory_bytes": _cache_bytes(config, location), "distributed_executor_backend": "mp"}
        if row.splits_prompts:  # with whole texts vLLM sizes the step by their length
            defaults["max_num_batched_tokens"] = CPU_STEP_TOKENS
        if "enforce_eager" not in config.options:
            defaults["enforce_eager"] = not _compiles(location)
    if adapters is not None:
        if not config.options.get("enable_lora", True):
            raise ConfigError(f"enable_lora=False: {config.location!r} serves each task by an adapter; leave it on.")
        defaults |= {"enable_lora": True, "max_loras": len(adapters.folders), "max_lora_rank": _lora_rank(adapters)}
        if adapters.has_projector:
            overrides |= {"architectures": [row.adapter_architecture], ADAPTERS_KEY: str(adapters.source)}
            overrides[TASKS_KEY] = list(adapters.folders)
    fixed = {"model": config.location, "tokenizer": config.location, "hf_overrides": overrides}
    return defaults | dict(row.arguments) | dict(config.options) | fixed


def check_remote_code(config: LocalConfig) -> None:
    """Check that a checkpoint's own code may run where it cannot be loaded without; no row ever allows it.

    Raises:
        ConfigError: The user's options do not allow it.
    """
    if config.row.remote_code and not config.options.get("trust_remote_code"):
        raise ConfigError(
            f"model={config.location!r} cannot be loaded without code of its repository: {config.row.remote_code}. "
            "Read that code, and if you trust it, allow it by engine_kwargs={'trust_remote_code': True} (serve: "
            "-- --trust-remote-code)."
        )


def environment() -> dict[str, str]:
    """Return variables to set before vLLM is imported, where the user has not: quiet, private, on every core."""
    values = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", **TOKENIZERS}
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if 0 < len(cores) <= SMALL_MACHINE:
        values["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, cores))  # read by the CPU build only
    return values


def memory_kept(*, cpu: bool) -> AbstractContextManager[None]:
    """Let processes that start in this block keep memory once a model has loaded, on the CPU; not if it is set."""
    return variables({ALLOCATOR: RETURN_MEMORY} if cpu else {})


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that are not set, and unset them afterwards."""
    unset = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(unset)
    try:
        yield
    finally:
        for name, value in unset.items():
            if os.environ.get(name) == value:
                del os.environ[name]


def _images(config: LocalConfig) -> dict[str, Any]:
    """Return the arguments for a checkpoint with images."""
    size = {"size": {"shortest_edge": config.min_pixels, "longest_edge": config.max_pixels}}
    return {
        "limit_mm_per_prompt": {"video": 0},
        "mm_processor_kwargs": {} if config.row.fixed_size else size,
        # Off: after a failed request vLLM 0.32 answers the next one with the same image with an empty tensor.
        "mm_processor_cache_gb": 0,
        **image_arguments(),
    }


def _assumed(row: Model, architecture: str) -> dict[str, Any]:
    """Return what config.json says where it says anything: vLLM fails on a key that transformers 5 did not write."""
    return {
        key: value
        for layout in row.layouts
        if layout.architecture == architecture
        for key, value in layout.config.items()
    }


def _renamed(config: LocalConfig) -> dict[str, Any]:
    """Return settings under the names that vLLM needs, where config.json has other names for them."""
    names = config.row.config_names
    own = optional_json(locate(config.location, config.revision), "config.json") if names else None
    renamed = {name: own[key] for name, key in names.items() if isinstance(own, Mapping) and key in own}
    # Without it vLLM allows no vector to be longer than a state.
    return renamed if config.embedding_size is None else {**renamed, "embedding_size": config.embedding_size}


def _pooled(row: Model, architecture: str) -> dict[str, Any]:
    """Return the overrides for vLLM's own ``architecture`` with the pooling of ``row``."""
    in_line = row.image_positions == "line"
    marks = {LAYER_NORM_KEY: row.layer_norm, LINE_KEY: in_line, REVERSED_KEY: row.reversed_states}
    given: dict[str, Any] = {key: True for key, is_set in marks.items() if is_set}
    layers = {PROJECTOR_KEY: row.projector, WEIGHTS_KEY: row.token_weights}
    given |= {key: layer.plain for key, layer in layers.items() if layer is not None}
    if row.pooling is not None:
        given[POOLING_KEY] = row.pooling
    return {"architectures": [f"{POOLED_PREFIX}{architecture}"], **given}


def _pooler_config(row: Model) -> dict[str, Any]:
    """Return vLLM's pooling settings, whatever modules.json says: vectors are normalised, and prompts may be cut.

    Our pooler adds up over cuts; vLLM's means could not, so it would switch cuts off for any other type than LAST.
    """
    uncut = {"seq_pooling_type": "LAST"} if row.splits_prompts else {}
    return {"task": "token_embed" if row.pooling is None else "embed", "use_activation": True, **uncut}


def _cache_bytes(config: LocalConfig, location: Location) -> int:
    """Return the memory for keys and values on the CPU: at least the default, and what the longest text takes.

    Where config.json does not say it, the default stays, and vLLM's own check speaks.
    """
    least = SMALL_CACHE_BYTES if _is_small(location) else CPU_CACHE_BYTES
    if config.row.attention == "both":  # an encoder keeps none
        return least
    own = optional_json(location, "config.json")
    own = own if isinstance(own, Mapping) else {}
    text = own.get("text_config")
    sizes = text if isinstance(text, Mapping) else own
    heads = _largest(sizes.get("num_attention_heads"), 1)
    per_head = _largest(sizes.get("head_dim"), _largest(sizes.get("hidden_size"), heads) // heads)
    kept = _largest(sizes.get("num_key_value_heads"), heads) * per_head
    options = {**config.row.arguments, **config.options}
    bits = 32 if str(options.get("dtype")).removeprefix("torch.") in ("float32", "float") else 16
    tokens = _largest(options.get("max_model_len"), config.max_tokens)
    longest = tokens * 2 * _largest(sizes.get("num_hidden_layers"), 0) * kept * bits // 8
    # A sixteenth more: vLLM keeps blocks of tokens, one of them empty.
    return max(least, longest + longest // 16)


def _largest(value: Any, default: int) -> int:
    """Return a size out of config.json, of a list for each layer the largest; ``default`` for anything else."""
    sizes = value if isinstance(value, list) else [value]
    return max((one for one in sizes if type(one) is int and 0 < one <= MOST_TOKENS), default=default)


def _lora_rank(adapters: Adapters) -> int:
    """Return the smallest ``max_lora_rank`` that fits these adapters."""
    for rank in LORA_RANKS:
        if adapters.rank <= rank:
            return rank
    raise ConfigError(f"{str(adapters.source)!r}: got adapters of rank {adapters.rank}; vLLM serves {LORA_RANKS[-1]}.")


def _is_small(location: Location) -> bool:
    """Return whether the weights are small enough to be for tests."""
    return isinstance(location, Folder) and location.weights_bytes < COMPILE_FROM_BYTES


def _compiles(location: Location) -> bool:
    """Return whether compiling is worth it for these weights, and possible on this CPU machine."""
    if _is_small(location):
        return False
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        logger.warning("No C++ compiler (g++) found: vLLM runs uncompiled, at about half the speed on a CPU.")
        return False
    return True
