"""Sends requests to one vLLM server and reads its answers; ``server_checks.py`` checks that it is the right server.

A server that ``vllm-jina-embed serve`` started says what it serves. A plain one does not: it gives token states, and
the prompt that its chat template and image processor make of an image is compared with the trained one before pooling.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from typing import Any

from ..._arrays import Floats
from ...errors import ConfigError, EngineError, InputError
from ...inputs.decoder import decoder
from ...prompts.base import Prompt
from ...prompts.chat_template import image_template
from ..config import RemoteConfig
from ..plugin_contract import PATIENT, URGENT
from . import http, messages
from .balancer import LostError, Member
from .http import AnswerTooLargeError, Connection, Reply
from .messages import Question, VectorRequest
from .plain import pooled
from .server_checks import PROBES, check_plain, compare_checkpoint, compare_peers, compare_starts, started_anew
from .server_facts import FACTS_PATH, FINGERPRINT_HEADER, TOKENIZER_PATH, ServerFacts

AT_ONCE = 32
"""Requests in one server at the same time; urgent ones come on top."""
TOKENIZER = 100_000_000
"""Bytes of a tokenizer.json, at most; Gemma's has 33 million."""


class Server(Member):
    """One server: its connection, what it serves, and the requests that are in it."""

    def __init__(self, url: str, config: RemoteConfig, connection: Connection) -> None:
        super().__init__(url)
        self.connection = connection
        self.peers: Sequence[Server] = ()
        self.facts: ServerFacts | None = None
        self.max_tokens = 0
        self._config = config
        self._width = 0  # numbers of one token's row, once it is known what it serves
        self._skipped = 0  # tokens of a prompt that have no row
        self._model: str | None = None
        self._fingerprint: str | None = None
        self._sure = False  # whether it was not lost since it told what it serves
        self._template_checked = False
        self._meeting, self._slots = asyncio.Lock(), asyncio.Semaphore(AT_ONCE)

    @property
    def known(self) -> bool:
        """Whether it is known what it serves."""
        return self._width > 0

    def can(self, request: VectorRequest) -> bool:
        """Tell whether it gives what is requested; it may give anything while it is unknown."""
        if self.facts is None:
            return True  # a plain one gives token states, of which everything can be made
        if request.task not in self.facts.checkpoint.tasks:
            return False
        if self.facts.pooler_task == "embed":
            return request.kind == "embed"
        return request.kind == "multi" or not self.facts.projected

    def failed(self, error: LostError) -> None:
        """See ``Member.failed``; what comes back may be another server."""
        super().failed(error)
        self._sure = False

    async def meet(self) -> None:
        """Learn what it serves: once, and again after it was lost.

        Raises:
            LostError: It does not answer.
            ConfigError: It serves something else than was asked for, than before, or than the other servers.
        """
        async with self._meeting:
            if self._sure:
                return
            reply = await self.connection.send("GET", FACTS_PATH, None, most=http.SMALL)
            if reply.status != 404:
                self._learn(ServerFacts.from_json(self._read(reply, FACTS_PATH), self.url, self._config.row))
                self._fingerprint = reply.headers.get(FINGERPRINT_HEADER)
            elif self.facts is None:
                await self._meet_plain()
            else:
                raise ConfigError(f"{self.url}: it served {self.facts.checkpoint.name}, and tells nothing any more.")
            self._sure = True

    def _learn(self, facts: ServerFacts) -> None:
        """Take what it told, if that agrees with all that is known."""
        if self._config.checkpoint is not None:
            compare_checkpoint(self._config, self._config.checkpoint, facts.checkpoint, self.url)
        if self.facts is not None:
            compare_starts(self.facts, facts, self.url)
        for peer in self.peers:
            if peer is not self and peer.facts is not None:
                compare_peers(facts, self.url, peer.facts, peer.url)
        self.facts, self.max_tokens = facts, facts.max_tokens
        self._width = facts.checkpoint.token_dimensions if facts.projected else facts.checkpoint.hidden_size
        projector = facts.checkpoint.row.projector
        self._skipped = int(facts.projected and projector is not None and projector.skips_first)

    async def answer(self, request: VectorRequest, prompts: Sequence[Prompt], question: Question) -> list[Floats]:
        """Return an array per prompt: ``(dimensions,)``, or ``(n_tokens, width)`` of multi-vectors and states.

        Args:
            request: What is asked for.
            prompts: Texts, or one item with images.
            question: Of these prompts; encoding images is not repeated when another server is asked.

        Raises:
            LostError: It can be asked again.
            InputError: It refuses the prompts.
            ConfigError: Its API key, template or pixel bounds are others.
        """
        await self.meet()
        if not self.can(request):
            raise LostError("it does not serve this kind of vector, or this task")
        if self.facts is None and any(prompt.is_both for prompt in prompts):
            raise InputError(
                f"{self.url}: got a text and an image together, of which a plain vLLM server does not make the trained "
                "prompt. Start it by 'vllm-jina-embed serve'."
            )
        path, body = "/pooling", dict[str, Any](task="token_embed", use_activation=request.kind == "multi")
        if self.facts is not None and self.facts.pooler_task == "embed":
            path, body = "/v1/embeddings", request.options
        model = self.facts.models.get(request.task) if self.facts is not None else self._model
        as_files = self.facts is not None and self.facts.decoder == decoder()
        made = await question.body(as_files=as_files)
        body |= {**made, **messages.ENCODING, **({"model": model} if model else {})}
        if self.facts is not None and self.facts.priority:
            body["priority"] = URGENT if request.urgent else PATIENT
        where = f"{self.url}{path}"
        if path == "/v1/embeddings":
            told = await self._ask(
                "POST", path, body, most=_bytes(len(prompts) * request.dimensions), urgent=request.urgent
            )
            flat = messages.answers(told, "embedding", len(prompts), where=where)
            return [request.checked(_of_length(row, request.dimensions, where), where) for row in flat]
        rows = await self._states(prompts, path, body, urgent=request.urgent)
        if request.kind == "states":
            return rows
        if request.kind == "multi":
            return [messages.unit(one, where) for one in rows]
        return [
            request.checked(pooled(self._config.row, prompt, one, request), where)
            for prompt, one in zip(prompts, rows, strict=True)
        ]

    async def tokenizer(self) -> bytes:
        """Return the tokenizer.json that it gives.

        Raises:
            LostError: It can be asked again.
        """
        reply = await self.connection.send("GET", TOKENIZER_PATH, None, most=TOKENIZER)
        self._check(reply, TOKENIZER_PATH)
        return reply.body

    async def _meet_plain(self) -> None:
        models, before = "/v1/models", self._model
        model, self.max_tokens = messages.model_of(await self._ask("GET", models), f"{self.url}{models}")
        if before not in (None, model):
            raise started_anew(self.url, [f"model {before!r}, now {model!r}"])
        self._model, self._template_checked = model, False
        checkpoint, inputs = self._config.checkpoint, [list(ids) for ids in PROBES]
        most = _bytes(sum(map(len, inputs)) * (0 if checkpoint is None else checkpoint.hidden_size))
        body = {"model": model, "task": "token_embed", "use_activation": False, "input": inputs}
        try:
            told = await self._ask("POST", "/pooling", body | messages.ENCODING, most=most)
            flats = messages.answers(told, "data", len(PROBES), where=f"{self.url}/pooling")
        except (InputError, ConfigError) as error:
            raise ConfigError(
                f"{self.url}: this plain vLLM server gives no token states ({error}). Start it by 'vllm-jina-embed "
                'serve CHECKPOINT\', or with --runner pooling --pooler-config \'{"task":"token_embed"}\'.'
            ) from None
        if checkpoint is not None and checkpoint.supports_images:
            image_template(checkpoint.row)  # a plain server makes the prompts of images by it alone
        self._width = check_plain(checkpoint, flats, self.url)

    async def _states(
        self, prompts: Sequence[Prompt], path: str, body: dict[str, Any], *, urgent: bool
    ) -> list[Floats]:
        """Return one row per token of each expanded prompt."""
        if prompts[0].images and self.facts is not None:  # only its processor knows how many tokens an image has
            told = await self._ask("POST", path, body, most=_bytes(self.max_tokens * self._width), urgent=urgent)
            (flat,) = messages.answers(told, "data", 1, where=f"{self.url}{path}")
            return [self._rows_of_images(flat, prompts[0])]
        ids = [messages.expanded(prompt, **self._config.image_sizes) for prompt in prompts]
        most = _bytes(sum(map(len, ids)) * self._width)
        try:
            told = await self._ask("POST", path, body, most=most, urgent=urgent)
        except AnswerTooLargeError:
            if not prompts[0].images:
                raise
            raise ConfigError(self._other_prompt("many more", len(ids[0]))) from None
        flats = messages.answers(told, "data", len(prompts), where=f"{self.url}{path}")
        return [await self._rows(*each) for each in zip(prompts, ids, flats, strict=True)]

    def _rows_of_images(self, flat: Floats, prompt: Prompt) -> Floats:
        """Return flat numbers as one row per token of a prompt with images, of a server that was sent its ids."""
        count, left = divmod(len(flat), self._width)
        if left or count < len(prompt.token_ids):
            raise EngineError(
                f"{self.url}: got {len(flat)} numbers for a prompt of images of at least {len(prompt.token_ids)} "
                f"tokens of {self._width} each."
            )
        return flat.reshape(count, self._width)

    async def _rows(self, prompt: Prompt, ids: Sequence[int], flat: Floats) -> Floats:
        """Return flat numbers as one row per token of the expanded prompt ``ids``, but for those without one."""
        count, left = divmod(len(flat) + self._skipped * self._width, self._width)
        if left or (count != len(ids) and not prompt.images):
            raise EngineError(f"{self.url}: got {len(flat)} numbers for {len(ids)} tokens of {self._width} each.")
        if count != len(ids):
            raise ConfigError(self._other_prompt(count, len(ids)))
        if prompt.images and not self._template_checked:
            body = {"model": self._model, "messages": messages.messages(prompt.images), "add_generation_prompt": False}
            told = await self._ask("POST", "/tokenize", body, most=http.SMALL + 32 * len(ids))
            if not isinstance(told, dict) or told.get("tokens") != list(ids):
                raise ConfigError(self._other_prompt(count, len(ids)))
            self._template_checked = True
        return flat.reshape(-1, self._width)

    def _other_prompt(self, got: int | str, expected: int) -> str:
        size = {"size": {"shortest_edge": self._config.min_pixels, "longest_edge": self._config.max_pixels}}
        return (
            f"{self.url}: the server's prompt of an image has {got} tokens and is not the trained one of {expected}: "
            "it has another chat template or other pixel bounds. Start it by 'vllm-jina-embed serve', or with "
            f"--chat-template (vllm_jina_embed.prompts.chat_template) and --mm-processor-kwargs '{json.dumps(size)}'."
        )

    async def _ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        most: int = http.SMALL,
        urgent: bool = False,
    ) -> Any:
        content = None if body is None else json.dumps(body).encode()
        async with contextlib.nullcontext() if urgent else self._slots:
            if time.monotonic() < self.rests_until:
                raise LostError("it was lost a moment ago")
            reply = await self.connection.send(method, path, content, most=most)
        if reply.status < 300 and reply.headers.get(FINGERPRINT_HEADER) != self._fingerprint:
            raise LostError("another server answers there than the one that told what it serves")
        return self._read(reply, path)

    def _read(self, reply: Reply, path: str) -> Any:
        self._check(reply, path)
        try:
            return http.decoded(reply.body)
        except ValueError:
            begin = self.connection.hide(reply.body[:10_000].decode(errors="replace"))[:100]
            raise EngineError(f"{self.url}{path}: the answer is no JSON ({begin!r}).") from None

    def _check(self, reply: Reply, path: str) -> None:
        """See ``http.check``; an answer that repeats the request shows no key."""
        http.check(reply, f"{self.url}{path}", self.connection.hide)


def _bytes(numbers: int) -> int:
    return http.SMALL + http.PER_NUMBER * numbers


def _of_length(embedding: Floats, dimensions: int, where: str) -> Floats:
    if len(embedding) != dimensions:
        raise EngineError(f"{where}: the server gave {len(embedding)} numbers; expected {dimensions}.")
    return embedding
