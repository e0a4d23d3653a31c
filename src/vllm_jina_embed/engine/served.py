"""One vLLM server as its clients see it: what it serves, and how it is asked.

Enters: prompts and a wish. Leaves: arrays. Knows the paths and bodies of vLLM's HTTP interface, but no sockets.
A server that ``vllm-jina-embed serve`` started tells its facts. A plain one does not: it gives token states, and what
its chat template and image processor make of a picture is compared with the trained prompt before anything is pooled.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import pooling
from ..checkpoints import XLM_ROBERTA, Checkpoint
from ..errors import ConfigError, EngineError, InputError
from ..pooling import Floats
from ..prompts import Prompt
from . import http, wire
from .base import PATIENT, URGENT, EngineConfig
from .facts import FACTS_PATH, TOKENIZER_PATH, ServerFacts
from .fleet import LostError, Member
from .http import Connection, Reply
from .wire import Wish

AT_ONCE = 32
"""Requests in one server at the same time; urgent ones come on top."""


class Server(Member):
    """One server: its connection, what it serves, and the requests that are in it."""

    def __init__(self, url: str, config: EngineConfig, connection: Connection) -> None:
        super().__init__(url)
        self.connection = connection
        self.facts: ServerFacts | None = None
        self.max_tokens = 0
        self._config = config
        self._width = 0  # numbers of one token's row, once it is known what it serves
        self._model: str | None = None
        self._template_checked = False
        self._meeting, self._slots = asyncio.Lock(), asyncio.Semaphore(AT_ONCE)

    @property
    def known(self) -> bool:
        """Whether it is known what it serves."""
        return self._width > 0

    def can(self, wish: Wish) -> bool:
        """Tell whether it gives what is wished for; it may give anything while it is unknown."""
        if self.facts is None:
            return True  # a plain one gives token states, of which everything can be made
        if wish.task not in self.facts.checkpoint.tasks:
            return False
        if self.facts.pooler_task == "embed":
            return wish.kind == "embed"
        return wish.kind == "multi" or not self.facts.projected

    async def meet(self) -> None:
        """Learn what it serves, once.

        Raises:
            LostError: It does not answer.
            ConfigError: It serves something else than was asked for.
        """
        async with self._meeting:
            if self.known:
                return
            reply = await self.connection.send("GET", FACTS_PATH, None)
            if reply.status == 404:
                await self._meet_plain()
                return
            facts = ServerFacts.from_json(self._read(reply, FACTS_PATH), self.url)
            if self._config.checkpoint is not None:
                _compare(self._config, self._config.checkpoint, facts.checkpoint, self.url)
            self.facts, self.max_tokens = facts, facts.max_tokens
            self._width = facts.checkpoint.token_dimensions if facts.projected else facts.checkpoint.hidden_size

    async def answer(self, wish: Wish, prompts: Sequence[Prompt], question: dict[str, Any]) -> list[Floats]:
        """Return an array per prompt: ``(dimensions,)``, or ``(n_tokens, width)`` of multi-vectors and states.

        Args:
            wish: What is asked for.
            prompts: Texts, or one item with pictures.
            question: Result of ``wire.question``; encoding pictures is not repeated when another server is asked.

        Raises:
            LostError: It can be asked again.
            InputError: It refuses the prompts.
            ConfigError: Its API key, template or pixel bounds are others.
        """
        await self.meet()
        if not self.can(wish):
            raise LostError("it does not serve this kind of vector, or this task")
        path, body = "/pooling", dict[str, Any](task="token_embed", use_activation=wish.kind == "multi")
        if self.facts is not None and self.facts.pooler_task == "embed":
            path, body = "/v1/embeddings", {"dimensions": wish.dimensions}
        model = self.facts.models.get(wish.task) if self.facts is not None else self._model
        body |= {**question, **wire.ENCODING, **({"model": model} if model else {})}
        if self.facts is not None and self.facts.priority:
            body["priority"] = URGENT if wish.urgent else PATIENT
        told = await self._ask("POST", path, body, urgent=wish.urgent)
        if path == "/v1/embeddings":
            return [_of_length(row, wish.dimensions) for row in wire.answers(told, "embedding", len(prompts))]
        flat = wire.answers(told, "data", len(prompts))
        rows = [await self._rows(prompt, one) for prompt, one in zip(prompts, flat, strict=True)]
        if wish.kind != "embed":
            return rows
        if self._config.family == XLM_ROBERTA:
            return [pooling.finish(one[0], wish.dimensions) for one in rows]
        return [_pooled(prompt, one, wish.dimensions) for prompt, one in zip(prompts, rows, strict=True)]

    async def tokenizer(self) -> bytes:
        """Return the tokenizer.json that it gives."""
        reply = await self.connection.send("GET", TOKENIZER_PATH, None)
        http.check(reply, f"{self.url}{TOKENIZER_PATH}")
        return reply.body

    async def _meet_plain(self) -> None:
        told = await self._ask("GET", "/v1/models")
        try:
            model = next(one for one in told["data"] if one.get("parent") is None)
            self._model, self.max_tokens = str(model["id"]), int(model["max_model_len"])
        except (KeyError, TypeError, ValueError, StopIteration):
            raise ConfigError(f"{self.url}/v1/models: expected a vLLM server's model; got {told!r:.200}.") from None
        body = {"model": self._model, "task": "token_embed", "use_activation": False, "input": [[0, 1]]}
        try:
            (flat,) = wire.answers(await self._ask("POST", "/pooling", body | wire.ENCODING), "data", 1)
        except (InputError, ConfigError) as error:
            raise ConfigError(
                f"{self.url}: this plain vLLM server gives no token states ({error}). Start it by 'vllm-jina-embed "
                'serve CHECKPOINT\', or with --runner pooling --pooler-config \'{"task":"token_embed"}\'.'
            ) from None
        checkpoint = self._config.checkpoint
        if checkpoint is None or checkpoint.has_adapters or len(flat) != 2 * checkpoint.hidden_size:
            wanted = "a merged checkpoint" if checkpoint is None else f"{checkpoint.name} ({checkpoint.hidden_size})"
            raise ConfigError(
                f"{self.url}: this plain vLLM server gives token states of {len(flat) // 2} numbers; expected those of "
                f"{wanted}. Pass the checkpoint that it serves as model=, or start it by 'vllm-jina-embed serve'."
            )
        self._width = len(flat) // 2

    async def _rows(self, prompt: Prompt, flat: Floats) -> Floats:
        """Return flat numbers as one row per token of the expanded prompt."""
        ids = wire.expanded(prompt, min_pixels=self._config.min_pixels, max_pixels=self._config.max_pixels)
        count, left = divmod(len(flat), self._width)
        if left or (count != len(ids) and not prompt.images):
            raise EngineError(f"{self.url}: got {len(flat)} numbers for {len(ids)} tokens of {self._width} each.")
        if count != len(ids):
            raise ConfigError(self._other_prompt(count, len(ids)))
        if prompt.images and self.facts is None and not self._template_checked:
            body = {"model": self._model, "messages": wire.messages(prompt.images), "add_generation_prompt": False}
            told = await self._ask("POST", "/tokenize", body)
            if list(told["tokens"]) != list(ids):
                raise ConfigError(self._other_prompt(count, len(ids)))
            self._template_checked = True
        return flat.reshape(count, self._width)

    def _other_prompt(self, got: int, expected: int) -> str:
        size = {"size": {"shortest_edge": self._config.min_pixels, "longest_edge": self._config.max_pixels}}
        return (
            f"{self.url}: the server's prompt of a picture has {got} tokens and is not the trained one of {expected}: "
            "it has another chat template or other pixel bounds. Start it by 'vllm-jina-embed serve', or with "
            f"--chat-template (vllm_jina_embed.prompts.chat_template()) and --mm-processor-kwargs '{json.dumps(size)}'."
        )

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None, *, urgent: bool = False) -> Any:
        content = None if body is None else json.dumps(body).encode()
        async with contextlib.nullcontext() if urgent else self._slots:
            if time.monotonic() < self.rests_until:
                raise LostError("it was lost a moment ago")
            return self._read(await self.connection.send(method, path, content), path)

    def _read(self, reply: Reply, path: str) -> Any:
        http.check(reply, f"{self.url}{path}")
        try:
            return json.loads(reply.body)
        except ValueError:
            raise EngineError(f"{self.url}{path}: the answer is no JSON ({reply.body[:100]!r}).") from None


def _compare(config: EngineConfig, wanted: Checkpoint, served: Checkpoint, url: str) -> None:
    """Check that a server serves the checkpoint and the pixel bounds that were asked for."""
    asked = {name: getattr(wanted, name) for name in ("family", "hidden_size", "token_dimensions")}
    asked |= {"min_pixels": config.min_pixels, "max_pixels": config.max_pixels}
    for name, value in asked.items():
        if value != (got := getattr(served, name)):
            raise ConfigError(
                f"{url}: the server has {name}={got!r} ({served.name}); expected {value!r} ({wanted.name}). Ask for "
                "what it serves, or start it otherwise."
            )


def _of_length(embedding: Floats, dimensions: int) -> Floats:
    if len(embedding) != dimensions:
        raise EngineError(f"the server gave {len(embedding)} numbers; expected {dimensions}.")
    return embedding


def _pooled(prompt: Prompt, states: Floats, dimensions: int) -> Floats:
    """Return the embedding ``(dimensions,)``: the mean of the vision spans, which stand side by side, or of a text."""
    before, after = prompt.around
    mask = np.zeros(len(states), dtype=bool)
    mask[before : len(states) - after] = True
    return pooling.finish(pooling.mean(states, mask), dimensions)
