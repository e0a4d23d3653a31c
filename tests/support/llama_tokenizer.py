"""A small tokenizer in the layout of Llama's and Mistral's tokenizer.json; needs neither torch nor transformers.

Layout: a sentencepiece BPE model as tokenizers has it: ``▁`` for spaces and in front of each text, no pre-tokenizer,
``<unk>``, ``<s>``, ``</s>`` (ids 0 to 2), then a token for each byte, into which unknown letters fall apart. The
post-processor adds ``<s>`` alone. Source: tokenizer.json of mistralai/Mistral-7B-v0.1.
"""

from __future__ import annotations

import json
from functools import cache

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
CORPUS = [
    "Instruct: Given a web search query, retrieve relevant passages that answer the query Query:",
    "the quick brown fox jumps over the lazy dog",
    "ein Sonnenuntergang am Strand",
    "< > / | _ . , : ; ( ) + = 0 1 2 3 4 5 6 7 8 9",
    "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ",
]


def make_llama() -> Tokenizer:
    """Return a new tokenizer, always the same."""
    return Tokenizer.from_str(_trained())


@cache
def _trained() -> str:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()  # so that no piece joins two words
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=[*SPECIAL, *BYTES], show_progress=False)
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    tokenizer.pre_tokenizer = None
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = content["added_tokens"][: len(SPECIAL)]  # the bytes are ordinary tokens
    return json.dumps(content)
