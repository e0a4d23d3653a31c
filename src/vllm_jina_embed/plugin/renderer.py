"""How a served engine makes prompts of what clients send: a text stays a text, whatever it spells.

vLLM by itself parses special tokens in clients' strings, so that ``<|vision_start|>`` in a document opened an image.
Selected by ``--tokenizer-mode``, vLLM's own hook for a renderer; paths of every kind use it (embeddings, pooling,
score, rerank, tokenize, and the texts of chat messages).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast
from vllm.exceptions import VLLMValidationError
from vllm.inputs import TokensPrompt
from vllm.renderers.hf import HfRenderer

from ..checkpoints import XLM_ROBERTA
from ..prompts import tokenizer_file
from ..text_prompts import without_special_tokens

if TYPE_CHECKING:
    from vllm.config import VllmConfig

LONGEST_TEXT = 1_000_000
"""Characters that ``/tokenize`` takes where they are more than a prompt can have."""
USUAL_CHARACTERS = 8
"""Characters of a token, more than most texts have: how far into a long text is looked first."""


class TextRenderer(HfRenderer):
    """vLLM's own renderer, but for the strings of clients: no special token is ever found in them."""

    def __init__(self, config: VllmConfig, tokenizer: Any) -> None:
        super().__init__(config, tokenizer)
        model = config.model_config
        content = tokenizer_file(str(model.tokenizer), model.tokenizer_revision).read_text(encoding="utf-8")
        self._plain = PreTrainedTokenizerFast(
            tokenizer_object=_plain(content, model_type=model.hf_config.model_type), split_special_tokens=True
        )
        self._plain_lock = threading.Lock()  # it holds the truncation of the call

    def _tokenize_prompt(self, prompt: Any, params: Any) -> Any:
        """Return a prompt with its token ids; with images it is our chat template's, special tokens and all."""
        if prompt.get("multi_modal_data"):
            return self._image_prompt(prompt, params)
        if params.pad_prompt_tokens is not None:
            raise VLLMValidationError("padding would be averaged with the text; leave it out.", parameter="padding")
        text = self._bounded(prompt["prompt"], params)
        return TokensPrompt(prompt_token_ids=self._ids(text, **params.get_encode_kwargs()), **prompt)

    def _image_prompt(self, prompt: Any, params: Any) -> Any:
        keep = params.truncate_prompt_tokens
        if keep is not None and 0 <= keep < len(self.get_tokenizer()(prompt["prompt"])["input_ids"]):
            raise VLLMValidationError(
                f"truncate_prompt_tokens={keep} would cut an image off; leave it out.",
                parameter="truncate_prompt_tokens",
            )
        return super()._tokenize_prompt(prompt, params)

    def _bounded(self, text: str, params: Any) -> str:
        """Return what of a text can be in the prompt: tokenising all of it may take minutes.

        Raises:
            VLLMValidationError: It is too long and not to be truncated.
        """
        most = self.model_config.max_model_len
        if params.max_input_tokens is None and len(text) <= LONGEST_TEXT:
            return text  # of /tokenize, which counts
        if params.truncate_prompt_tokens is not None:
            bound = most * self.get_tokenizer().max_chars_per_token
            left = (params.truncation_side or self.get_tokenizer().truncation_side) == "left"
            return text[-bound:] if left else text[:bound]
        size = most * USUAL_CHARACTERS
        while size < len(text):
            if len(self._ids(text[:size], add_special_tokens=False)) > most:
                raise VLLMValidationError(
                    f"got a text of {len(text)} characters, whose first {size} are more than {most} tokens, which is "
                    "the longest prompt. Split it, or pass truncate_prompt_tokens.",
                    parameter="input",
                )
            size *= 4
        return text

    def _ids(self, text: str, **options: Any) -> list[int]:
        try:
            with self._plain_lock:
                return list(self._plain(text, **options)["input_ids"])
        except (TypeError, UnicodeEncodeError):  # half of a surrogate pair
            raise VLLMValidationError("the text cannot be encoded as UTF-8.", parameter="input") from None


def _plain(content: str, *, model_type: str) -> Tokenizer:
    """Return the tokenizer of a checkpoint as the embedder uses it for texts."""
    if model_type == XLM_ROBERTA:
        return without_special_tokens(content)
    tokenizer = Tokenizer.from_str(content)
    tokenizer.encode_special_tokens = True
    return tokenizer
