"""Train a small ``Qwen2Tokenizer``: it splits text as Qwen's does and has its special tokens, with ids of its own."""

import json
from collections.abc import Iterable
from typing import Any, Final

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer

# Source: Qwen/Qwen2.5-VL-3B-Instruct, tokenizer_config.json.
SPECIAL_TOKENS: Final = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# Source: transformers, models/qwen2/tokenization_qwen2.py.
_CUT: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_VOCABULARY: Final = 2560


def train_tokenizer(pieces: Iterable[str]) -> Any:
    """Learn a vocabulary.

    Args:
        pieces: Words and parts of sentences. No token reaches over the edge of a piece, so that a name is cut the same
            way in a sentence that training never saw; Chinese and Japanese have no spaces that would see to that.

    Returns:
        A ``Qwen2Tokenizer`` of at most 2560 tokens; the special tokens have its highest ids.
    """
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC()
    core.decoder = decoders.ByteLevel()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CUT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY - len(SPECIAL_TOKENS),
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(_with_characters(pieces), trainer)
    return _as_qwen(core)


def _with_characters(pieces: Iterable[str]) -> Iterable[str]:
    """Every piece, and its characters one by one: a character becomes a token before two halves of characters do."""
    for piece in pieces:
        yield from (piece, f" {piece}", "\n".join(piece))


def _as_qwen(core: Tokenizer) -> Any:
    model = json.loads(core.to_str())["model"]
    ordered = sorted(model["vocab"], key=model["vocab"].__getitem__)
    vocabulary = {token: index for index, token in enumerate((*ordered, *SPECIAL_TOKENS))}
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[tuple(pair) for pair in model["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=8192,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS)})
    return tokenizer
