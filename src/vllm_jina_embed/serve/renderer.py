"""How our server turns the texts of clients into tokens: text never becomes a special token.

By default vLLM parses special tokens in clients' strings, so that ``<|vision_start|>`` in a document opens an image.
Selected by ``--tokenizer-mode``, vLLM's own hook for a renderer; all its paths use it (embeddings, pooling, score,
rerank, tokenize, and the texts of chat messages).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL.Image import Image
from vllm.exceptions import VLLMValidationError
from vllm.inputs import TokensPrompt
from vllm.renderers.hf import HfRenderer

from ..checkpoints.files import TOKENIZER, locate
from ..checkpoints.registry import row_named
from ..engine.local.image_threads import ImageThreads
from ..engine.plugin_contract import ROW_KEY
from ..errors import InputError
from ..inputs.items import TextItem
from ..prompts.plain import plain_tokenizer
from ..prompts.tokenizing import Tokens, tokenize

if TYPE_CHECKING:
    from vllm.config import VllmConfig

LONGEST_TEXT = 1_000_000
"""Most characters that ``/tokenize`` takes, even beyond the longest prompt."""


class TextRenderer(HfRenderer):
    """vLLM's own renderer, which here finds no special tokens in clients' strings."""

    def __init__(self, config: VllmConfig, tokenizer: Any) -> None:
        super().__init__(config, tokenizer)
        model = config.model_config
        file = locate(str(model.tokenizer), model.tokenizer_revision).file(TOKENIZER)
        row = row_named(*getattr(model.hf_config, ROW_KEY))
        self._plain = plain_tokenizer(row, file.read_bytes(), origin=repr(str(file)))
        self._image_threads = ImageThreads()
        self._process_multimodal_async = self._on_our_threads  # vLLM's attribute; it has one thread

    def _tokenize_prompt(self, prompt: Any, params: Any) -> Any:
        """Return a prompt with its token ids; with images it comes from our chat template, with special tokens."""
        if prompt.get("multi_modal_data"):
            return self._image_prompt(prompt, params)
        if params.pad_prompt_tokens is not None:
            raise VLLMValidationError("padding would be averaged with the text; leave it out.", parameter="padding")
        return TokensPrompt(prompt_token_ids=self._ids(prompt["prompt"], params), **prompt)

    def _process_multimodal(self, prompt: Any, mm_data: Any, mm_uuids: Any = None, *others: Any, **options: Any) -> Any:
        """Replace image ids by random ones: vLLM reuses its result for a known id.

        A client's ``uuid`` could choose another client's image, so it is ignored.
        """
        return super()._process_multimodal(prompt, mm_data, _fresh_ids(mm_data), *others, **options)

    async def _on_our_threads(self, prompt: Any, mm_data: Any, *others: Any, **options: Any) -> Any:
        prepare = partial(self._process_multimodal, prompt, mm_data, *others, **options)
        images = [image for items in mm_data.values() for image in _listed(items) if isinstance(image, Image)]
        return await self._image_threads.run(images, prepare)

    def shutdown(self) -> None:
        """End the threads too."""
        self._image_threads.close()
        super().shutdown()

    def _image_prompt(self, prompt: Any, params: Any) -> Any:
        keep = params.truncate_prompt_tokens
        if keep is not None and 0 <= keep < len(self.get_tokenizer()(prompt["prompt"])["input_ids"]):
            raise VLLMValidationError(
                f"truncate_prompt_tokens={keep} would cut an image off; leave it out.",
                parameter="truncate_prompt_tokens",
            )
        return super()._tokenize_prompt(prompt, params)

    def _ids(self, text: str, params: Any) -> list[int]:
        """Return the token ids of a text; tokenise no more of it than fits into the prompt.

        Raises:
            VLLMValidationError: It is too long and must not be truncated, cannot be tokenised, or has the id of a
                special token.
        """
        most, keep = self.model_config.max_model_len, params.truncate_prompt_tokens
        if keep is not None and keep < 0:
            keep = getattr(params, "max_truncation_tokens", None) or most
        if params.max_input_tokens is None and len(text) <= LONGEST_TEXT:
            most = max(most, len(text))  # /tokenize counts the tokens of longer texts
        keep = None if keep is None else min(keep, most + 1)  # vLLM refuses a text that is still too long
        truncate = "error" if keep is None else self._truncate(params)
        (tokens,) = tokenize(
            self._plain.tokenizer,
            [TextItem(text=text, where="input", position=0)],
            text_prefix="",
            max_length=most if keep is None else keep,
            truncate=truncate,
            special_tokens=params.add_special_tokens,
        )
        if isinstance(tokens, InputError):
            raise VLLMValidationError(_refusal(text, tokens), parameter="input")
        ids, own = tokens.encoding.ids, tokens.encoding.special_tokens_mask
        if any(one in self._plain.special_ids for one, is_own in zip(ids, own, strict=True) if not is_own):
            raise VLLMValidationError("the tokenizer finds a special token in this text.", parameter="input")
        return ids if keep is None else _shortened(tokens, keep, truncate)

    def _truncate(self, params: Any) -> str:
        side = getattr(params, "truncation_side", None) or self.get_tokenizer().truncation_side
        return "start" if side == "left" else "end"


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


def _shortened(tokens: Tokens, keep: int, truncate: str) -> list[int]:
    """Return ``keep`` ids: the tokenizer's own around the text, and the rest of the text."""
    ids = list(tokens.encoding.ids)
    if len(ids) <= keep:
        return ids
    mask = tokens.encoding.special_tokens_mask
    first = next((place for place, special in enumerate(mask) if not special), len(ids))
    last = next((place for place, special in enumerate(reversed(mask)) if not special), 0)
    room = keep - first - last
    if room < 1:
        raise VLLMValidationError(
            f"truncate_prompt_tokens={keep} leaves no room for the text.", parameter="truncate_prompt_tokens"
        )
    text = ids[first : len(ids) - last]
    return ids[:first] + (text[-room:] if truncate == "start" else text[:room]) + ids[len(ids) - last :]


def _refusal(text: str, error: InputError) -> str:
    """Return the message for the client, with the names of its request."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return "the text cannot be encoded as UTF-8."
    return (
        str(error).replace("truncate='end'", "truncate_prompt_tokens").replace("max_length is", "the longest prompt is")
    )
