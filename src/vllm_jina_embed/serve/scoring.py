"""The paths ``/score`` and ``/rerank`` of a server of a reranker: the scores of ``JinaReranker`` for any client.

vLLM's own make the prompt of a pair by ``--chat-template`` or by its tokenizer, parse special tokens in users' texts,
and cut a longer prompt at its end, where the model reads its verdict. Here the row's builder makes it, and the document
alone is cut. Everything else (forms of requests and answers, errors, top_n) stays vLLM's.
"""

from __future__ import annotations

import reprlib
import time
from collections.abc import Sequence
from typing import Any

from PIL.Image import Image
from vllm.entrypoints.pooling.scoring.io_processor import CrossEncoderIOProcessor
from vllm.entrypoints.pooling.typing import PoolingEngineInput
from vllm.exceptions import VLLMValidationError
from vllm.inputs import TokensPrompt

from ..errors import ConfigError, InputError
from ..inputs.items import Item
from ..prompts.base import Prompt
from .media_connector import OwnImages
from .pair_prompts import side_of
from .request_checks import refuse_padding
from .strings import first_tokens

PASSED_ON = ("mm_processor_kwargs", "cache_salt")
"""What a request says for the engine itself, as vLLM's own paths take it."""


class RowScoring(CrossEncoderIOProcessor):
    """Makes the engine's inputs of pairs."""

    def get_request_factory_online(self, ctx: Any) -> Sequence[Any]:
        """Return vLLM's requests, in each of which the query and the document have their places, for errors."""
        requests = super().get_request_factory_online(ctx)
        queries = getattr(ctx.request, "data_1", None)  # of /rerank there is one
        has_many = isinstance(queries, list) and len(queries) > 1
        return [
            {
                **one,
                "data_1": (f"queries[{place}]" if has_many else "query", one["data_1"]),
                "data_2": (f"documents[{place}]", one["data_2"]),
            }
            for place, one in enumerate(requests)
        ]

    def render(self, render_params: Any) -> PoolingEngineInput:
        """Return the engine's input of one pair.

        Raises:
            VLLMValidationError: It cannot be made; names the document or the query.
        """
        params = render_params["tok_params"]
        refuse_padding(params)
        try:
            prompt = self._prompt(render_params, params)
        except (InputError, ConfigError) as error:
            reason = str(error).replace("max_length", "the longest prompt")
            reason = reason.replace("truncate='end'", "truncate_prompt_tokens")
            raise VLLMValidationError(reason, parameter="documents") from None
        extras = render_params["prompt_extras"] or {}
        given: Any = {key: extras[key] for key in PASSED_ON if extras.get(key) is not None}
        inputs = TokensPrompt(prompt_token_ids=list(prompt.token_ids), **given)
        if prompt.images:
            inputs["multi_modal_data"] = {"image": list(prompt.images)}
        params.apply_post_tokenization(self.tokenizer, inputs)  # which cuts nothing any more
        return PoolingEngineInput(
            prompts=self.renderer.process_for_engine(inputs, time.time()),
            params=render_params["params"],
            lora_requests=render_params["lora_requests"],
            priorities=render_params["priorities"],
        )

    def _prompt(self, render_params: Any, params: Any) -> Prompt:
        """Return the prompt of a pair, as the request wants it cut.

        Raises:
            InputError: There is none.
            ConfigError: It leaves no room for a document.
        """
        given = dict((render_params["prompt_extras"] or {}).get("chat_template_kwargs") or {})
        instruction = given.pop("instruction", None)
        if given:
            raise InputError(f"chat_template_kwargs: got {reprlib.repr([*given])}; expected an instruction alone.")
        most, keep = self.model_config.max_model_len, params.truncate_prompt_tokens
        if keep is not None and keep < 0:
            keep = params.max_truncation_tokens or most
        side = params.truncation_side or self.tokenizer.truncation_side
        truncate: Any = "start" if side == "left" else "end"
        query, document = render_params["data_1"], render_params["data_2"]
        prompt: Prompt = self.renderer.rows.of_pair(
            self._side(query, render_params["max_tokens_per_query"]),
            self._side(document, render_params["max_tokens_per_doc"]),
            instruction=instruction,
            max_length=most if keep is None else min(keep, most),
            truncate="error" if keep is None else truncate,
        )
        return prompt

    def _side(self, placed: tuple[str, Any], most: int) -> Item:
        """Return a query or a document, and at most this many tokens of its text.

        Args:
            placed: Its place, for errors, and a string or vLLM's parts of one.
            most: 0 keeps all tokens.

        Raises:
            InputError: It cannot be in a prompt.
        """
        where, data = placed
        text, urls = (data, ()) if isinstance(data, str) else _parts(data, where)
        connector = OwnImages(
            allowed_local_media_path=self.model_config.allowed_local_media_path,
            allowed_media_domains=self.model_config.allowed_media_domains,
        )
        images: list[Image] = []
        for url in urls:
            try:
                images.append(connector.fetch_image(url))
            except VLLMValidationError as error:
                raise InputError(error.args[0], where=where) from None
        plain = self.renderer.rows.plain
        return side_of(first_tokens(plain, text, most, where=where) if most > 0 else text, images, where)


def obey_row(state: Any) -> None:
    """Let a server's ``/score`` and ``/rerank`` make the prompts of its row.

    Args:
        state: vLLM's application state.
    """
    scores = state.serving_scores
    scores.io_processor = RowScoring(
        vllm_config=scores.vllm_config, renderer=scores.renderer, chat_template_config=scores.chat_template_config
    )


def _parts(parts: Sequence[Any], where: str) -> tuple[str, list[str]]:
    """Return the text and the URLs of the images of one side.

    Raises:
        InputError: A part is of another kind.
    """
    texts, urls = [], []
    for part in parts:
        if part.get("type") == "text":
            texts.append(part.get("text"))
        elif part.get("type") == "image_url":
            urls.append(part["image_url"]["url"])
        else:
            raise InputError(f"got a part of type {part.get('type')!r}; expected text or image_url.", where=where)
    if len(texts) > 1:
        raise InputError(f"got {len(texts)} texts; expected one at most, with images beside it.", where=where)
    return texts[0] if texts else "", urls
