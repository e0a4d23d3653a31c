"""Sends requests to one vLLM server and reads its answers; ``server_checks.py`` checks that it is the right server.

A server that ``vllm-jina-embed serve`` started says what it serves. A plain one does not: it gives token states, and
the prompt that its chat template and image processor make of an image is compared with the trained one before pooling.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..._arrays import Floats
from ..._telemetry import add_tokens
from ...checkpoints.checkpoint import Checkpoint
from ...checkpoints.description import Model
from ...checkpoints.ranking import RankingCheckpoint
from ...errors import ConfigError, EngineError, InputError
from ...inputs.decoder import decoder
from ...prompts.base import Prompt
from ...prompts.chat_template import image_template
from ..config import RemoteConfig
from ..plugin_contract import PATIENT, URGENT
from . import http, messages
from .any_server import AnyServer, bytes_of
from .balancer import LostError
from .http import AnswerTooLargeError, Connection
from .messages import Question, VectorRequest
from .plain import pooled
from .server_checks import PROBES, check_plain, compare_checkpoint, compare_peers, compare_starts, started_anew
from .server_facts import ServerFacts


class Server(AnyServer):
    """One server: its connection, what it serves, and the requests that are in it."""

    def __init__(self, url: str, config: RemoteConfig, connection: Connection) -> None:
        super().__init__(url, config, connection)
        self.peers: Sequence[Server] = ()
        self.facts: ServerFacts | None = None
        self._width = 0  # numbers of one token's row, once it is known what it serves
        self._skipped = 0  # tokens of a prompt that have no row
        self._model: str | None = None
        self._template_checked = False

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

    @property
    def _row(self) -> Model:
        """The row that it should serve."""
        assert isinstance(self._config.row, Model)
        return self._config.row

    @property
    def _checkpoint(self) -> Checkpoint | None:
        """What it should serve; None where nobody said it."""
        assert not isinstance(self._config.checkpoint, RankingCheckpoint)
        return self._config.checkpoint

    def _learn(self, told: Any) -> None:
        """Take what it told, if that agrees with all that is known."""
        facts = ServerFacts.from_json(told, self.url, self._row)
        if self._checkpoint is not None:
            compare_checkpoint(self._config, self._checkpoint, facts.checkpoint, self.url)
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
                "POST", path, body, most=bytes_of(len(prompts) * request.dimensions), urgent=request.urgent
            )
            flat = messages.answers(told, "embedding", len(prompts), where=where)
            add_tokens(messages.image_prompt_tokens(told, prompts))
            return [request.checked(_of_length(row, request.dimensions, where), where) for row in flat]
        rows = await self._states(prompts, path, body, urgent=request.urgent)
        if request.kind == "states":
            return rows
        if request.kind == "multi":
            return [messages.unit(one, where) for one in rows]
        return [
            request.checked(pooled(self._row, prompt, one, request), where)
            for prompt, one in zip(prompts, rows, strict=True)
        ]

    async def _meet_untold(self) -> None:
        if self.facts is not None:
            raise ConfigError(f"{self.url}: it served {self.facts.checkpoint.name}, and tells nothing any more.")
        models, before = "/v1/models", self._model
        model, self.max_tokens = messages.model_of(await self._ask("GET", models), f"{self.url}{models}")
        if before not in (None, model):
            raise started_anew(self.url, [f"model {before!r}, now {model!r}"])
        self._model, self._template_checked = model, False
        checkpoint, inputs = self._checkpoint, [list(ids) for ids in PROBES]
        most = bytes_of(sum(map(len, inputs)) * (0 if checkpoint is None else checkpoint.hidden_size))
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
            told = await self._ask("POST", path, body, most=bytes_of(self.max_tokens * self._width), urgent=urgent)
            (flat,) = messages.answers(told, "data", 1, where=f"{self.url}{path}")
            add_tokens(messages.image_prompt_tokens(told, prompts))
            return [self._rows_of_images(flat, prompts[0])]
        ids = [messages.expanded(prompt, **self._config.image_sizes) for prompt in prompts]
        most = bytes_of(sum(map(len, ids)) * self._width)
        try:
            told = await self._ask("POST", path, body, most=most, urgent=urgent)
        except AnswerTooLargeError:
            if not prompts[0].images:
                raise
            raise ConfigError(self._other_prompt("many more", len(ids[0]))) from None
        flats = messages.answers(told, "data", len(prompts), where=f"{self.url}{path}")
        add_tokens(messages.image_prompt_tokens(told, prompts))
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


def _of_length(embedding: Floats, dimensions: int, where: str) -> Floats:
    if len(embedding) != dimensions:
        raise EngineError(f"{where}: the server gave {len(embedding)} numbers; expected {dimensions}.")
    return embedding
