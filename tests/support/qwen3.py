"""Checkpoints in the layout of Qwen/Qwen3-Embedding, and what transformers gives for them.

Layout: Qwen3ForCausalLM with tied embeddings, a byte-level BPE whose post-processor adds ``<|endoftext|>``, the files
of sentence-transformers. Written apart from the package: own prompts, own tokeniser call, own pooling.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, processors
from transformers import Qwen3Config, Qwen3ForCausalLM

from tests.support.checkpoints import tokenizer_config, write_json
from tests.support.decoders import SIZES, DecoderReference, spread, write_sentence_files
from tests.support.tokenizer import make_tokenizer

INSTRUCTION = "Instruct: Given a web search query, retrieve relevant passages that answer the query"
QUERY = f"{INSTRUCTION}\nQuery:"
END = "<|endoftext|>"


def make_qwen3_embedding(folder: Path, *, sentence_transformers: bool = True, head: bool = True, seed: int = 0) -> Path:
    """Write a random checkpoint whose norms are log-normal, so that a wrong prompt or pooling shows.

    Args:
        folder: A new folder.
        sentence_transformers: Whether to write its files; without them it looks as a chat model does.
        head: Whether it is saved with the head that gives words, as published; sentence-transformers leaves it out.
        seed: Of the weights.
    """
    folder.mkdir(parents=True)
    tokenizer = qwen3_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    end = tokenizer.token_to_id(END)
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=tokenizer.get_vocab_size(),
            **SIZES,
            head_dim=32,
            tie_word_embeddings=True,
            bos_token_id=end,
            eos_token_id=end,
        )
    )
    spread(model)
    (model if head else model.model).save_pretrained(folder)
    write_json(folder / "tokenizer_config.json", tokenizer_config())
    if sentence_transformers:
        write_sentence_files(folder, {"query": QUERY, "document": ""}, similarity_fn_name="cosine")
    return folder


def qwen3_tokenizer() -> Tokenizer:
    """Return a small tokenizer that ends each text as the published one does."""
    tokenizer = make_tokenizer()
    ends = [(END, tokenizer.token_to_id(END))]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=ends
    )
    return tokenizer


class Qwen3Reference(DecoderReference):
    """The card's ``last_token_pool`` over causal states; tokenizer.json itself adds the last token."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.end = self.tokenizer.convert_tokens_to_ids(END)
