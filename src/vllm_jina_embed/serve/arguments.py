"""What vLLM's OpenAI server is started with.

Enters: a ``LocalConfig`` and options of ``vllm serve``. Leaves: a command line: what ``arguments.py`` says for the
engine, what a server needs on top, then the user's own, which win; but not over what decides the vectors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..checkpoints.weights.lora import Adapters
from ..engine.config import LocalConfig
from ..engine.local.arguments import engine_arguments
from ..engine.plugin_contract import DEFAULT_TASK_KEY, TOKENIZER_MODE
from ..errors import ConfigError
from ..prompts.chat_template import chat_template

MIDDLEWARE = "vllm_jina_embed.serve.middleware.ServerMiddleware"
"""What a server runs before vLLM's own paths."""


MAX_BODY_BYTES = 512 * 1024**2
"""Largest body of a request: the PNG of the largest image that the embedder takes, which has 400 MB as a data URI."""
MAX_BODIES_BYTES = 1024**3
"""What the bodies of all requests that are being received or answered may hold together."""

FIXED = {
    "--model", "--tokenizer", "--runner", "--convert", "--hf-overrides", "--pooler-config", "--chat-template",
    "--chat-template-content-format", "--enable-prefix-caching", "--mm-processor-kwargs", "--trust-request-mm-kwargs",
    "--trust-request-chat-template", "--served-model-name", "--tokenizer-mode", "--grpc",
    "--revision", "--tokenizer-revision", "--hf-config-path", "--mm-processor-cache-gb", "--scheduling-policy",
}  # fmt: skip
"""Options of ``vllm serve`` that decide which vectors come out, what clients are told, or that nobody is checked."""


def serve_arguments(
    config: LocalConfig,
    *,
    name: str,
    task: str,
    cpu: bool,
    multi_vector: bool,
    passed: Sequence[str] = (),
    adapters: Adapters | None = None,
) -> list[str]:
    """Return the command line.

    Args:
        config: What to serve.
        name: What clients call the model.
        task: What it gives where a request names none.
        cpu: Whether it runs on the CPU.
        multi_vector: Whether it gives one vector per token rather than one per item.
        passed: Options of ``vllm serve``.
        adapters: Those of a checkpoint that has one per task; clients ask for a task by its name as the model's.

    Raises:
        ConfigError: ``passed`` holds an option that decides which vectors come out, or names a file of options.
    """
    if any(_is_one_of(option, {"--config"}) for option in passed):
        raise ConfigError(
            "--config: 'serve' checks each option of vLLM's, and takes none from a file. Write those of the file "
            "after '--', as --name value."
        )
    if clash := sorted(option for option in passed if _is_one_of(option, FIXED)):
        raise ConfigError(f"{', '.join(clash)}: 'serve' sets this by itself, so that the vectors are right.")
    arguments = engine_arguments(config, cpu=cpu, adapters=adapters) | {
        "served_model_name": name,
        "middleware": MIDDLEWARE,
        "tokenizer_mode": TOKENIZER_MODE,
        "disable_uvicorn_access_log": True,
        "uvicorn_log_level": "warning",
    }
    kind = "token_embed" if multi_vector else "embed"
    arguments["pooler_config"] = {**arguments["pooler_config"], "task": kind}
    if config.family.images is not None:  # a text model has no messages
        arguments |= {"chat_template": chat_template(config.family.images), "chat_template_content_format": "openai"}
    flags: list[str] = []
    if adapters is not None:
        arguments["hf_overrides"] = {**arguments["hf_overrides"], DEFAULT_TASK_KEY: task}
        modules = [{"name": one, "path": str(folder)} for one, folder in adapters.folders.items()]
        flags += ["--lora-modules", *map(json.dumps, modules)]
    for key, value in arguments.items():
        flags += _flag(key, value)
    return [*flags, *passed]


def cores_per_rank(cores: str, ranks: int) -> str | None:
    """Return a list of CPU cores as the CPU build wants it for several ranks; None where there are too few.

    Args:
        cores: Core numbers with commas between them.
        ranks: Parts and copies of the model on this machine.
    """
    numbers = cores.split(",")
    if len(numbers) < ranks:
        return None
    share = len(numbers) // ranks
    return "|".join(",".join(numbers[rank * share : (rank + 1) * share]) for rank in range(ranks))


def _flag(key: str, value: Any) -> list[str]:
    """Return an argument of the engine as its option on the command line."""
    name = key.replace("_", "-")
    if value is None:
        return []
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", json.dumps(value) if isinstance(value, Mapping) else str(value)]


def _is_one_of(option: str, names: Collection[str]) -> bool:
    """Tell whether an option is one of ``names``: switched off, shortened, or with a key after a dot, too."""
    if not option.startswith("--"):
        return False
    name = re.split(r"[=.]", option[2:].replace("_", "-"), maxsplit=1)[0].removeprefix("no-")
    return any(one.startswith(f"--{name}") for one in names)
