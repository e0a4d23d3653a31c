"""ASGI middleware of a server: checks the engine at start, API keys and the size of bodies.

It answers ``/jina/...``, ``/v2/embed`` and ``/health``.

Everything else is passed on to vLLM. Selected by ``--middleware``.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

from vllm import envs

from ..checkpoints.files import TOKENIZER
from ..engine.plugin_contract import DEFAULT_TASK_KEY
from ..engine.remote.server_facts import FACTS_PATH, FINGERPRINT_HEADER, TOKENIZER_PATH
from .bodies import App, Bodies, Message, Receive, Send, reply
from .embed_path import EMBED_PATH, EmbedPath
from .handlers import obey_input_types
from .pair_prompts import served_ranker
from .request_checks import check_requests
from .scoring import obey_row
from .sdk import set_up
from .served_facts import facts_of, location_of, ranking_facts_of
from .startup_check import prove
from .telemetry import observed

HEALTH = {"/health", "/ready"}
"""Paths that tell whether the engine lives; vLLM's own ``/health`` says the same without a word."""
OPEN = {*HEALTH, "/ping", "/version"}
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
                await reply(send, 200, location_of(state.vllm_config.model_config).file(TOKENIZER).read_bytes())
                return
        if path in HEALTH and scope["method"] in ("GET", "HEAD"):
            await reply(send, *await health(state.engine_client))
            return
        app = state.jina_paths.get((path, scope["method"]), self._app)
        with observed(state, scope, path) as noting:
            await self._bodies.pass_on(app, scope, receive, noting(send))


async def health(client: Any) -> tuple[int, bytes]:
    """Return the HTTP status and the JSON that tell whether the engine of vLLM's ``client`` lives."""
    try:
        await client.check_health()
    except Exception as error:
        reason = f"vLLM's engine does not work any more ({type(error).__name__})"
        return 503, json.dumps({"status": "broken", "reason": reason}).encode()
    return 200, json.dumps({"status": "ready"}).encode()


def _proving(state: Any, send: Send) -> Send:
    """Return ``send`` that lets the server start only after its engine has pooled a text and an image rightly."""

    async def proved(message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            try:
                await prove(state)
                _prepare(state)
                set_up()
            except Exception as error:
                message = {"type": "lifespan.startup.failed", "message": f"vllm-jina-embed: {error}"}
        await send(message)

    return proved


def _prepare(state: Any) -> None:
    """Tell what is served, now: files that are replaced later are not what was loaded. Then add what vLLM lacks.

    Raises:
        ConfigError: What is served cannot be told.
    """
    state.jina_paths = {}
    if (ranker := served_ranker(state.vllm_config.model_config.hf_config)) is not None:
        state.jina_facts = ranking_facts_of(state, ranker)
        check_requests(state.engine_client, None)
        obey_row(state)
        return
    _name_default(state)
    facts = state.jina_facts = facts_of(state)
    check_requests(state.engine_client, facts.checkpoint)
    obey_input_types(state, facts.checkpoint)
    state.jina_paths[EMBED_PATH, "POST"] = EmbedPath(state, facts)


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
