"""The command line of vLLM's OpenAI server.

It joins the engine's arguments (``engine/local/arguments.py``), those of a server, and the user's own, which win,
except over options that decide the vectors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..checkpoints.description import Model
from ..checkpoints.row import Row
from ..checkpoints.weights.lora import Adapters
from ..engine.config import LocalConfig
from ..engine.local.arguments import check_remote_code, engine_arguments
from ..engine.plugin_contract import DEFAULT_TASK_KEY, RANKER_KEY, ROW_KEY, ROWS_TASK, SERVED_TASK_KEY, TOKENIZER_MODE
from ..errors import ConfigError

MIDDLEWARE = "vllm_jina_embed.serve.middleware.ServerMiddleware"
"""Middleware that a server runs before vLLM's own paths."""

MESSAGE_TEMPLATE = (
    "{%- if messages | length != 1 or messages[0]['role'] != 'user' -%}"
    "{{- raise_exception('send one user message: a text, images, or both') -}}{%- endif -%}"
    "{%- for message in messages -%}{%- for part in message['content'] -%}"  # vLLM looks for this form
    "{%- if part['type'] == 'text' -%}{{- part['text'] -}}{%- endif -%}"
    "{%- endfor -%}{%- endfor -%}"
)
"""The chat template of every row: the text of one message. ``renderer.py`` makes the prompt of it and of the images."""

MAX_BODY_BYTES = 512 * 1024**2
"""Largest body of a request: the largest image that the embedder takes is 400 MB as a data URI of PNG."""
MAX_BODIES_BYTES = 1024**3
"""Largest sum of the bodies of all requests that are being received or answered."""

FIXED = {
    "--model", "--tokenizer", "--runner", "--convert", "--hf-overrides", "--pooler-config", "--chat-template",
    "--chat-template-content-format", "--enable-prefix-caching", "--mm-processor-kwargs", "--trust-request-mm-kwargs",
    "--trust-request-chat-template", "--served-model-name", "--tokenizer-mode", "--grpc",
    "--revision", "--tokenizer-revision", "--hf-config-path", "--mm-processor-cache-gb", "--scheduling-policy",
}  # fmt: skip
"""Options of ``vllm serve`` that would change the vectors, misinform clients or skip our checks."""


def serve_arguments(
    config: LocalConfig,
    *,
    name: str,
    task: str,
    cpu: bool,
    multi_vector: bool,
    passed: Sequence[str] = (),
    adapters: Adapters | None = None,
    metrics: bool = False,
) -> list[str]:
    """Return the command line.

    Args:
        config: The engine to serve.
        name: The model's name for clients.
        task: The task of requests that name none; empty for a reranker.
        cpu: Whether vLLM runs on the CPU.
        multi_vector: Whether to serve one vector per token rather than one per item.
        passed: Options of ``vllm serve``.
        adapters: The adapters of a checkpoint that has one per task; clients send the task as the model's name.
        metrics: Whether ``/metrics`` tells of vLLM's engine.

    Raises:
        ConfigError: ``passed`` holds one of the ``FIXED`` options, or a file of options; or a server would make other
            vectors of its clients' strings; or the checkpoint has no vectors of this kind.
    """
    row = config.row
    check_kind(row, name, multi_vector=multi_vector)
    if any(_is_one_of(option, {"--config"}) for option in passed):
        raise ConfigError(
            "--config: 'serve' checks each option of vLLM and reads no file of options. Write the options of the file "
            "after '--', as --name value."
        )
    if clash := sorted(option for option in passed if _is_one_of(option, FIXED)):
        raise ConfigError(f"{', '.join(clash)}: 'serve' sets this itself, so that the vectors are right; leave it out.")
    check_remote_code(replace(config, options={"trust_remote_code": "--trust-remote-code" in passed}))
    arguments = engine_arguments(config, cpu=cpu, adapters=adapters) | {
        "served_model_name": name,
        "middleware": MIDDLEWARE,
        "tokenizer_mode": TOKENIZER_MODE,
        "disable_uvicorn_access_log": True,
        "uvicorn_log_level": "warning",
        "disable_log_stats": None if metrics else True,  # this option has no "no-"
    }
    arguments |= {"chat_template": MESSAGE_TEMPLATE, "chat_template_content_format": "openai"}
    flags: list[str] = []
    if isinstance(row, Model):
        told = {ROW_KEY: [row.name, row.digest], SERVED_TASK_KEY: task}
        kind = "token_embed" if multi_vector else "embed"
        arguments["pooler_config"] = {**arguments["pooler_config"], "task": kind}
    else:
        told = {RANKER_KEY: [row.name, row.digest]}
    arguments["hf_overrides"] = {**arguments["hf_overrides"], **told}
    projects = isinstance(row, Model) and row.projector is not None
    if projects or (adapters is not None and adapters.has_projector):
        default = ROWS_TASK if adapters is None else task
        arguments["hf_overrides"] = {**arguments["hf_overrides"], DEFAULT_TASK_KEY: default}
    if adapters is not None:
        modules = [{"name": adapter, "path": str(folder)} for adapter, folder in adapters.folders.items()]
        flags += ["--lora-modules", *map(json.dumps, modules)]
    for key, value in arguments.items():
        flags += _flag(key, value)
    return [*flags, *passed]


def check_kind(row: Row, name: str, *, multi_vector: bool) -> None:
    """Check that a row has the vectors that are to be served.

    Raises:
        ConfigError: It has those of the other kind alone, or none.
    """
    if not isinstance(row, Model):
        if multi_vector:
            raise ConfigError(f"--multi-vector: {name} is a reranker and has no vectors. Leave it out.")
        return
    if row.pooling is None and not multi_vector:
        raise ConfigError(f"{name} has a vector of each token and none of a whole item: add --multi-vector.")
    if not row.token_vectors and multi_vector:
        raise ConfigError(
            f"--multi-vector: {name} was trained for one vector of an item; it has no multi-vectors. Leave it out."
        )


def cores_per_rank(cores: str, ranks: int) -> str | None:
    """Return the list of CPU cores, divided among ranks as the CPU build expects; None where there are too few.

    Args:
        cores: Core numbers with commas between them.
        ranks: Number of vLLM's ranks on this machine.
    """
    numbers = cores.split(",")
    if len(numbers) < ranks:
        return None
    share = len(numbers) // ranks
    return "|".join(",".join(numbers[rank * share : (rank + 1) * share]) for rank in range(ranks))


def _flag(key: str, value: Any) -> list[str]:
    """Return an engine argument as an option of the command line."""
    name = key.replace("_", "-")
    if value is None:
        return []
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, list | tuple):
        return [f"--{name}", *map(str, value)]
    return [f"--{name}", json.dumps(value) if isinstance(value, Mapping) else str(value)]


def _is_one_of(option: str, names: Collection[str]) -> bool:
    """Return whether an option is one of ``names``, even if negated, shortened, or with a key after a dot."""
    if not option.startswith("--"):
        return False
    name = re.split(r"[=.]", option[2:].replace("_", "-"), maxsplit=1)[0].removeprefix("no-")
    return any(full.startswith(f"--{name}") for full in names)
