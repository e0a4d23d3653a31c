"""ASGI middleware of a server: checks the engine at start, API keys and the size of bodies.

It answers ``/jina/...`` and ``/v2/embed``.

Everything else is passed on to vLLM. Selected by ``--middleware``.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from typing import Any

from vllm import envs

from .. import __version__
from ..checkpoints import resolve
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.files import TOKENIZER, Location, locate
from ..checkpoints.registry import row_named
from ..checkpoints.weights.token_layers import layer_files
from ..engine.plugin_contract import DEFAULT_TASK_KEY, ROW_KEY
from ..engine.remote.server_facts import FACTS_PATH, FINGERPRINT_HEADER, TOKENIZER_PATH, ServerFacts
from ..inputs.decoder import decoder
from .bodies import App, Bodies, Message, Receive, Send, reply
from .embed_path import EMBED_PATH, EmbedPath
from .handlers import obey_input_types
from .request_checks import check_requests
from .startup_check import prove

OPEN = {"/health", "/ping", "/version"}
"""Paths that need no API key: whoever watches over a server has none."""


class ServerMiddleware:
    """ASGI middleware over vLLM's server.

    With an API key it guards every path but ``OPEN``: vLLM 0.32 guards ``/v1`` and the like alone, and leaves
    ``/pooling`` and ``/invocations``, which compute the same, to everybody.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._bodies = Bodies()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, _proving(scope["app"].state, send))
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:  # a websocket, and vLLM serves none for vectors
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        state = scope["app"].state
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path not in OPEN and scope["method"] != "OPTIONS":
            if not _has_key(scope, [key for key in (state.args.api_key or [envs.VLLM_API_KEY]) if key]):
                await reply(send, 401, json.dumps({"error": "Unauthorized"}).encode())
                return
            send = _stamped(send, state.jina_facts.fingerprint)
            if path == FACTS_PATH:
                await reply(send, 200, json.dumps(state.jina_facts.to_json()).encode())
                return
            if path == TOKENIZER_PATH:
                await reply(send, 200, _location(state.vllm_config.model_config).file(TOKENIZER).read_bytes())
                return
        app = state.jina_embed_path if (path, scope["method"]) == (EMBED_PATH, "POST") else self._app
        await self._bodies.pass_on(app, scope, receive, send)


def facts_of(state: Any) -> ServerFacts:
    """Return what the server with this application state serves."""
    config = state.vllm_config
    model = config.model_config
    checkpoint = resolve.resolve(str(model.model), model.revision, row_named(*getattr(model.hf_config, ROW_KEY)))
    default = getattr(model.hf_config, DEFAULT_TASK_KEY, None)
    projected = default is not None and model.pooler_config.task == "token_embed"
    tasks = (str(default),) if projected and checkpoint.has_adapters else checkpoint.tasks
    location = _location(model)
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


def _proving(state: Any, send: Send) -> Send:
    """Return ``send`` that lets the server start only after its engine has pooled a text and an image rightly."""

    async def proved(message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            try:
                await prove(state)
                _name_default(state)
                state.jina_facts = facts_of(state)  # now: files that are replaced later are not what was loaded
                check_requests(state.engine_client, state.jina_facts.checkpoint)
                obey_input_types(state, state.jina_facts.checkpoint)
                state.jina_embed_path = EmbedPath(state, state.jina_facts)
            except Exception as error:
                message = {"type": "lifespan.startup.failed", "message": f"vllm-jina-embed: {error}"}
        await send(message)

    return proved


def _stamped(send: Send, fingerprint: str) -> Send:
    """Return ``send`` that lets the answer say whose it is."""

    async def stamped(message: Message) -> None:
        if message["type"] == "http.response.start":
            header = (FINGERPRINT_HEADER.encode(), fingerprint.encode())
            message = {**message, "headers": [*message.get("headers", ()), header]}
        await send(message)

    return stamped


def _name_default(state: Any) -> None:
    """Let requests that name the checkpoint, or no model, have the default task's adapter; vLLM would use none."""
    adapters = state.openai_serving_models.lora_requests
    default = getattr(state.vllm_config.model_config.hf_config, DEFAULT_TASK_KEY, None)
    if default is not None and adapters:
        for name in (*state.args.served_model_name, None):
            adapters[name] = adapters[default]


def _has_key(scope: Message, keys: list[str]) -> bool:
    if not keys:
        return True
    shown = next((value for name, value in scope["headers"] if name.lower() == b"authorization"), b"")
    scheme, _, key = shown.partition(b" ")
    digest = hashlib.sha256(key).digest()
    return scheme.lower() == b"bearer" and any(
        secrets.compare_digest(digest, hashlib.sha256(one.encode()).digest()) for one in keys
    )


def _location(model: Any) -> Location:
    return locate(str(model.model), model.revision)


def _commit(path: str) -> str | None:
    """Return the commit that a file of the hub's cache belongs to."""
    found = re.search(r"/snapshots/([0-9a-f]{40})/", path)
    return found[1] if found else None
