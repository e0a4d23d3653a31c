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
            return super()._tokenize_prompt(prompt, params)
        if params.pad_prompt_tokens is not None:
            raise VLLMValidationError("padding would be averaged with the text; leave it out.", parameter="padding")
        try:
            with self._plain_lock:
                encoding = self._plain(prompt["prompt"], **params.get_encode_kwargs())
        except (TypeError, UnicodeEncodeError):  # half of a surrogate pair
            raise VLLMValidationError("the text cannot be encoded as UTF-8.", parameter="input") from None
        return TokensPrompt(prompt_token_ids=list(encoding["input_ids"]), **prompt)


def _plain(content: str, *, model_type: str) -> Tokenizer:
    """Return the tokenizer of a checkpoint as the embedder uses it for texts."""
    if model_type == XLM_ROBERTA:
        return without_special_tokens(content)
    tokenizer = Tokenizer.from_str(content)
    tokenizer.encode_special_tokens = True
    return tokenizer
