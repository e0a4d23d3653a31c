"""How our server makes the prompts of requests: those of the row, and text never becomes a special token.

By default vLLM parses special tokens in clients' strings, so that ``<|vision_start|>`` in a document opens an image,
and makes prompts by one chat template that knows neither role nor task.
Selected by ``--tokenizer-mode``, vLLM's own hook for a renderer; all its paths use it (embeddings, pooling, score,
rerank, tokenize, and the texts of chat messages).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL.Image import Image
from vllm.exceptions import VLLMValidationError
from vllm.inputs import TokensPrompt
from vllm.renderers.hf import HfRenderer

from ..engine.local.image_threads import ImageThreads
from ..engine.plugin_contract import PROMPT_KEY
from ..errors import ConfigError, InputError
from ..prompts.base import Prompt
from .given_ids import Choice
from .media_connector import POLICY
from .pair_prompts import pair_prompts, served_ranker
from .request_checks import refuse_padding
from .row_prompts import row_prompts
from .strings import string_ids

if TYPE_CHECKING:
    from vllm.config import VllmConfig

CHOICE, IS_MESSAGE, TEXT = "jina_choice", "jina_is_message", "jina_text"
"""Keys of a prompt on its way from the request to its tokens. The text is kept there, because vLLM 0.32 cuts it by its
characters where a request names a ``truncation_side``, also those that the row or its tokenizer drops."""
LONGEST_TEXT = 1_000_000
"""Most characters that ``/tokenize`` takes, even beyond the longest prompt."""


class TextRenderer(HfRenderer):
    """vLLM's own renderer, with the prompts of the row, and no special tokens in clients' strings."""

    def __init__(self, config: VllmConfig, tokenizer: Any) -> None:
        super().__init__(config, tokenizer)
        model = config.model_config
        ranker = served_ranker(model.hf_config)
        self.rows: Any = (
            row_prompts(model, policy=POLICY) if ranker is None else pair_prompts(model, ranker, policy=POLICY)
        )
        self._plain = self.rows.plain
        self.image_threads = ImageThreads()
        self._process_multimodal_async = self._on_our_threads  # vLLM's attribute; it has one thread

    def render_messages(self, messages: Any, params: Any) -> Any:
        """Return a conversation and its text and images; what it says of its prompt goes along."""
        conversation, prompt = super().render_messages(messages, _as_text(params))
        return conversation, _with_choice(prompt, params.chat_template_kwargs, is_message=True)

    async def render_messages_async(self, messages: Any, params: Any) -> Any:
        """See ``render_messages``."""
        conversation, prompt = await super().render_messages_async(messages, _as_text(params))
        return conversation, _with_choice(prompt, params.chat_template_kwargs, is_message=True)

    def render_cmpl(self, prompts: Any, *others: Any, prompt_extras: Any = None, **options: Any) -> Any:
        """Return the inputs of the engine for strings and ids; what the request says of their prompts goes along."""
        chosen = [_with_choice(prompt, (prompt_extras or {}).get("chat_template_kwargs")) for prompt in prompts]
        return super().render_cmpl(chosen, *others, prompt_extras=prompt_extras, **options)

    async def render_cmpl_async(self, prompts: Any, *others: Any, prompt_extras: Any = None, **options: Any) -> Any:
        """See ``render_cmpl``."""
        chosen = [_with_choice(prompt, (prompt_extras or {}).get("chat_template_kwargs")) for prompt in prompts]
        return await super().render_cmpl_async(chosen, *others, prompt_extras=prompt_extras, **options)

    def _tokenize_singleton_prompt(self, prompt: Any, params: Any) -> Any:
        """Return a prompt with its token ids; a client's own stay what they are."""
        _refuse_changed_ids(prompt, params)
        return super()._tokenize_singleton_prompt(prompt, params)

    async def _tokenize_singleton_prompt_async(self, prompt: Any, params: Any) -> Any:
        """See ``_tokenize_singleton_prompt``."""
        _refuse_changed_ids(prompt, params)
        return await super()._tokenize_singleton_prompt_async(prompt, params)

    def _tokenize_prompt(self, prompt: Any, params: Any) -> Any:
        """Return a prompt with its token ids, and the images that stand in it."""
        refuse_padding(params)
        prompt = dict(prompt)
        told, is_message = prompt.pop(CHOICE, None), prompt.pop(IS_MESSAGE, False)
        images, text = _images_of(prompt), prompt.pop(TEXT, prompt["prompt"])
        try:
            choice = self.rows.choice(told)
            if not images and choice == Choice() and self.rows.strings_are_prompts:
                special_tokens = params.add_special_tokens or is_message
                if not special_tokens:
                    self._refuse_bare(params)
                return TokensPrompt(prompt_token_ids=self._ids(text, params, special_tokens), **prompt)
            made = self._made(text, images, choice, params)
        except (InputError, ConfigError) as error:
            raise VLLMValidationError(_refusal(text, error), parameter="input") from None
        if made.images:
            prompt["multi_modal_data"] = {"image": list(made.images)}
        return TokensPrompt(prompt_token_ids=list(made.token_ids), **prompt)

    def _refuse_bare(self, params: Any) -> None:
        """Raise if a text without the tokenizer's tokens around it would be computed; ``/tokenize`` may count it.

        Raises:
            VLLMValidationError: The tokenizer has such tokens.
        """
        around = self._plain.tokenizer.encode("", add_special_tokens=True).tokens
        if around and params.max_input_tokens is not None:
            raise VLLMValidationError(
                f"add_special_tokens=false leaves out {' and '.join(around)}, which the model was trained with around "
                "a text, so the vector would be another; leave add_special_tokens out.",
                parameter="add_special_tokens",
            )

    def _made(self, text: str, images: Sequence[Image], choice: Choice, params: Any) -> Prompt:
        """Return the prompt that the row's builder makes of a text, of images or of both, or a client made.

        Raises:
            InputError: There is none.
            VLLMValidationError: An image would be cut off.
        """
        most, keep = self._limits(text, params)
        if choice.token_ids is not None:
            prompt: Prompt = self.rows.of_ids(choice.token_ids, images, vocabulary=self.model_config.get_vocab_size())
        else:
            truncate: Any = "error" if keep is None else self._truncate(params)
            options = {"max_length": most if keep is None else keep, "truncate": truncate}
            prompt = self.rows.of_item(self.rows.item(text, images, "input"), choice, **options)
        if keep is not None and len(prompt.token_ids) > keep:
            raise VLLMValidationError(
                f"truncate_prompt_tokens={keep} would cut an image off; leave it out.",
                parameter="truncate_prompt_tokens",
            )
        return prompt

    def _truncate_expanded_prompt(self, engine_input: Any, params: Any) -> None:
        """Leave the prompts of images whole: what may be cut of them was cut before, as the embedder counts."""

    def _process_multimodal(self, prompt: Any, mm_data: Any, mm_uuids: Any = None, *others: Any, **options: Any) -> Any:
        """Replace image ids by random ones: vLLM reuses its result for a known id.

        A client's ``uuid`` could choose another client's image, so it is ignored.
        """
        return super()._process_multimodal(prompt, mm_data, _fresh_ids(mm_data), *others, **options)

    async def _on_our_threads(self, prompt: Any, mm_data: Any, *others: Any, **options: Any) -> Any:
        prepare = partial(self._process_multimodal, prompt, mm_data, *others, **options)
        images = [image for items in mm_data.values() for image in _listed(items) if isinstance(image, Image)]
        return await self.image_threads.run(images, prepare)

    def shutdown(self) -> None:
        """End the threads too."""
        self.image_threads.close()
        super().shutdown()

    def _limits(self, text: str, params: Any) -> tuple[int, int | None]:
        """Return the longest prompt in tokens, and to how many of them a text is cut, if it is."""
        most, keep = self.model_config.max_model_len, params.truncate_prompt_tokens
        if keep is not None and keep < 0:
            keep = getattr(params, "max_truncation_tokens", None) or most
        if params.max_input_tokens is None and len(text) <= LONGEST_TEXT:
            most = max(most, len(text))  # /tokenize counts the tokens of longer texts
        return most, None if keep is None else min(keep, most + 1)  # vLLM refuses a text that is still too long

    def _ids(self, text: str, params: Any, special_tokens: bool) -> list[int]:
        """Return the token ids of a text that is a prompt; see ``string_ids``."""
        most, keep = self._limits(text, params)
        return string_ids(
            self._plain,
            text,
            max_length=most if keep is None else keep,
            truncate="error" if keep is None else self._truncate(params),
            special_tokens=special_tokens,
            where="input",
        )

    def _truncate(self, params: Any) -> str:
        side = getattr(params, "truncation_side", None) or self.get_tokenizer().truncation_side
        return "start" if side == "left" else "end"


def _refuse_changed_ids(prompt: Any, params: Any) -> None:
    """Raise if a client's token ids would be padded or cut: they are a whole prompt, and its ends decide the vector.

    vLLM 0.32 does both to any ids, without a word (``TokenizeParams.apply_post_tokenization``).

    Raises:
        VLLMValidationError: They would; shows both numbers.
    """
    if "prompt_token_ids" not in prompt:
        return
    refuse_padding(params)
    count, keep = len(prompt["prompt_token_ids"]), params.truncate_prompt_tokens
    if keep is not None and keep < 0:
        keep = params.max_truncation_tokens
    if keep is not None and keep < count:
        raise VLLMValidationError(
            f"truncate_prompt_tokens={keep} would cut {count} token ids, which are a whole prompt with its ends. Send "
            "the string, of which the text alone is cut, or fewer ids.",
            parameter="truncate_prompt_tokens",
            value=keep,
        )


def _as_text(params: Any) -> Any:
    """Return vLLM's ``ChatParams`` so that its template gives a text, whatever the client says: ids come from here."""
    return replace(params, chat_template_kwargs={**params.chat_template_kwargs, "tokenize": False})


def _with_choice(prompt: Any, told: Any, *, is_message: bool = False) -> Any:
    """Return a prompt with what its request says of it, which ``_tokenize_prompt`` takes out again.

    Raises:
        VLLMValidationError: It is token ids, of which an input type chooses nothing.
    """
    choice = told.get(PROMPT_KEY) if isinstance(told, Mapping) else None
    if choice is not None and isinstance(prompt, Mapping) and "prompt_token_ids" in prompt:
        raise VLLMValidationError("input_type chooses the prompt of a text; token ids are a prompt already.")
    if not isinstance(prompt, Mapping) or not isinstance(prompt.get("prompt"), str):
        return prompt
    return {**prompt, CHOICE: choice, IS_MESSAGE: is_message, TEXT: prompt["prompt"]}


def _images_of(prompt: Any) -> list[Image]:
    """Take the images out of a prompt.

    Raises:
        VLLMValidationError: An image has no data, because the client sent only a ``uuid``.
    """
    data = prompt.pop("multi_modal_data", None) or {}
    prompt.pop("multi_modal_uuids", None)
    _fresh_ids(data)
    return list(_listed(data["image"])) if "image" in data else []


def _fresh_ids(mm_data: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return a random id for each item of a request.

    Raises:
        VLLMValidationError: An item has no data, because the client sent only a ``uuid``.
    """
    counts = {}
    for modality, items in mm_data.items():
        items = _listed(items)
        if any(item is None for item in items):
            raise VLLMValidationError(f"got a uuid without its {modality}; send the {modality}.", parameter="input")
        counts[modality] = len(items)
    return {modality: [uuid.uuid4().hex for _ in range(count)] for modality, count in counts.items()}


def _listed(items: Any) -> Sequence[Any]:
    return items if isinstance(items, list | tuple) else [items]


def _refusal(text: str, error: Exception) -> str:
    """Return the message for the client, with the names of its request."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return "the text cannot be encoded as UTF-8."
    return (
        str(error)
        .replace("truncate='end'", "truncate_prompt_tokens")
        .replace("max_length is", "the longest prompt is")
        .replace("max_length=", "truncate_prompt_tokens=")
    )
