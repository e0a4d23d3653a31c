"""The path ``/v2/embed`` of a server, in the form of Cohere's API: the embedder's vectors for texts, images and both.

It takes the place of vLLM's own, which puts a prompt of sentence-transformers' files in front of texts, makes all
prompts of images by one template, and has neither int8 nor uint8.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from vllm import PoolingParams
from vllm.exceptions import VLLMValidationError

from .._arrays import Floats
from ..engine.local.image_threads import MOST
from ..engine.local.requests import is_death, translated
from ..engine.remote.server_facts import ServerFacts
from ..errors import ConfigError, InputError
from ..inputs.items import Item
from ..pooling.quantization import PACKED
from ..prompts.base import Prompt
from ..prompts.input_types import role_and_task
from ..settings import check_dimensions
from .bodies import Message, Receive, Send, error_body, reply
from .cohere import EmbedRequest, Input, read
from .embedding_types import converted
from .given_ids import Choice
from .media_connector import OwnImages
from .row_prompts import RowPrompts
from .startup_check import ClientEngine

EMBED_PATH = "/v2/embed"


class UnknownModelError(Exception):
    """The request names a model that is not served."""


class EmbedPath:
    """ASGI application that answers ``POST /v2/embed``."""

    def __init__(self, state: Any, facts: ServerFacts) -> None:
        """Keep what computes: ``state`` is vLLM's application state."""
        model, renderer = state.vllm_config.model_config, state.engine_client.renderer
        self._checkpoint, self._renderer, self._longest = facts.checkpoint, renderer, model.max_model_len
        self._has_embeddings = facts.pooler_task == "embed"
        self._adapters = state.openai_serving_models.lora_requests
        self._names = {*state.args.served_model_name, *self._adapters} - {None}
        self._engine = ClientEngine(state.engine_client, self._adapters, renderer.image_threads)
        self._connector = OwnImages(
            allowed_local_media_path=model.allowed_local_media_path, allowed_media_domains=model.allowed_media_domains
        )
        self._opened = asyncio.Semaphore(2 * MOST)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request; of a client that left nothing more is computed."""
        kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
        if kind.split(b";")[0].strip().lower() != b"application/json":
            await _refuse(send, 400, "expected the content type application/json.")
            return
        if not self._has_embeddings:
            await _refuse(send, 400, "this server gives one vector per token, at /pooling; no embeddings.")
            return
        answer = asyncio.ensure_future(self._answer(await _whole(receive)))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({answer, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                await reply(send, 200, answer.result())
        except UnknownModelError as error:
            await _refuse(send, 404, str(error))
        except (InputError, ConfigError) as error:
            await _refuse(send, 400, str(error))
        finally:
            answer.cancel()
            leaving.cancel()

    async def _answer(self, body: bytes) -> bytes:
        """Return the JSON of an answer.

        Raises:
            ConfigError: A field of the body cannot be honoured.
            InputError: An item has no embedding; names it.
            UnknownModelError: The body names a model that is not served.
        """
        request = await asyncio.to_thread(read, body)
        choice, length = self._choice(request), self._length(request)
        number = f"embd-{uuid.uuid4().hex}"
        work = [
            asyncio.ensure_future(self._embedded(request, one, choice, length, f"{number}-{place}"))
            for place, one in enumerate(request.inputs)
        ]
        try:
            rows = await asyncio.gather(*work)
        finally:
            for one in work:
                one.cancel()
        return await asyncio.to_thread(_told, request, number, rows)

    def _choice(self, request: EmbedRequest) -> Choice:
        """Return the role and the task of a request, whose model may be the name of a task.

        Raises:
            UnknownModelError: It names a model that is not served.
            ConfigError: The checkpoint has no such input type, or the model is another task.
        """
        if request.model is not None and request.model not in self._names:
            raise UnknownModelError(f"The model `{request.model[:100]}` does not exist.")
        has_task = self._checkpoint.has_adapters and request.model in self._checkpoint.tasks
        named = request.model if has_task else None
        if request.input_type is None:
            return Choice(task=named)
        role, task = role_and_task(self._checkpoint, None, request.input_type, named)
        return Choice(role=role, task=task)

    def _length(self, request: EmbedRequest) -> int:
        """Return the length of the embeddings.

        Raises:
            ConfigError: The model was not trained for it, or it is no whole number of bytes in a type of bits.
        """
        length = self._checkpoint.hidden_size
        if request.output_dimension is not None:
            try:
                length = check_dimensions(self._checkpoint, request.output_dimension)
            except ConfigError as error:
                raise ConfigError(f"output_dimension: {error}") from None
        if length % 8 and {*PACKED} & {*request.embedding_types}:
            raise ConfigError(
                f"embedding_types: binary and ubinary hold 8 numbers in a byte, and {length} is no multiple of 8."
            )
        return length

    async def _embedded(
        self, request: EmbedRequest, one: Input, choice: Choice, length: int, number: str
    ) -> tuple[Floats, int]:
        """Return the embedding ``(length,)`` of an item, and how many tokens its prompt has.

        Raises:
            InputError: It has none; names it.
        """
        if not one.urls:
            return await self._computed(request, one, await self._prompt(request, one, choice), choice, length, number)
        async with self._opened:  # so many items hold their pixels at the same time
            prompt = await self._prompt(request, one, choice)
            return await self._computed(request, one, prompt, choice, length, number)

    async def _prompt(self, request: EmbedRequest, one: Input, choice: Choice) -> Prompt:
        images = []
        for place, url in enumerate(one.urls):
            try:
                images.append(await self._connector.fetch_image_async(url))
            except VLLMValidationError as error:
                image = place if len(one.urls) > 1 else None
                raise InputError(error.args[0], where=one.where, image=image) from None
        most = min(self._longest, self._checkpoint.max_length)
        longest = most if request.max_tokens is None else min(most, request.max_tokens)

        def make() -> Prompt:
            rows: RowPrompts = self._renderer.rows
            if not images and choice.role is None and rows.strings_are_prompts:
                return rows.of_string(one.text, max_length=longest, truncate=request.truncate, where=one.where)
            item: Item = rows.item(one.text, images, one.where)
            return rows.of_item(item, choice, max_length=longest, truncate=request.truncate)

        try:
            return await asyncio.to_thread(make)
        except ConfigError as error:
            raise ConfigError(str(error).replace("max_length=", "max_tokens=")) from None

    async def _computed(
        self, request: EmbedRequest, one: Input, prompt: Prompt, choice: Choice, length: int, number: str
    ) -> tuple[Floats, int]:
        shorter = length if length < self._checkpoint.hidden_size else None
        params = PoolingParams(task="embed", dimensions=shorter, skip_reading_prefix_cache=True)
        task = choice.task or self._renderer.rows.task
        try:
            output = await self._engine.answer(prompt, task, params, number=number, priority=request.priority)
        except Exception as error:
            if is_death(error):
                raise
            failure = translated(error)
            if not isinstance(failure, InputError):
                raise failure from error
            raise InputError(failure.reason, where=one.where, kind=failure.kind) from error
        vector: Floats = output.outputs.data.float().numpy()
        return vector, len(output.prompt_token_ids)


def _told(request: EmbedRequest, number: str, rows: Sequence[tuple[Floats, int]]) -> bytes:
    """Return an answer as Cohere's API and vLLM's have it."""
    vectors = np.stack([vector for vector, _ in rows])
    tokens = {False: 0, True: 0}
    for one, (_, count) in zip(request.inputs, rows, strict=True):
        tokens[bool(one.urls)] += count
    answer: dict[str, Any] = {
        "id": number,
        "embeddings": {kind: converted(vectors, kind) for kind in request.embedding_types},
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"input_tokens": tokens[False], "image_tokens": tokens[True]},
        },
        "response_type": "embeddings_by_type",
    }
    if request.texts is not None:
        answer["texts"] = request.texts
    return json.dumps(answer).encode()


async def _refuse(send: Send, status: int, message: str) -> None:
    """Send an error as vLLM has it, with the ``message`` at the top where Cohere's clients look for it."""
    await reply(send, status, json.dumps({"message": message, **json.loads(error_body(status, message))}).encode())


async def _whole(receive: Receive) -> bytes:
    """Return the body of a request; what of it arrived where the client left."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _left(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
