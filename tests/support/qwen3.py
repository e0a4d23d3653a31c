"""Checkpoints in the layout of Qwen/Qwen3-Embedding, and what transformers gives for them.

Layout: Qwen3ForCausalLM with tied embeddings, a byte-level BPE whose post-processor adds ``<|endoftext|>``, the files
of sentence-transformers. Written apart from the package: own prompts, own tokeniser call, own pooling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, Qwen3Model

from tests.support.checkpoints import tokenizer_config, write_json, write_modules
from tests.support.tokenizer import make_tokenizer
from tests.support.xlm_roberta import unit

HIDDEN = 128
POSITIONS = 4096
SIZES: dict[str, Any] = {
    "hidden_size": HIDDEN, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": POSITIONS, "initializer_range": 0.1,
}  # fmt: skip
"""Of a small decoder; larger weights make attention so sharp that a missing token hardly shows."""
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
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("norm.weight"):
                value.copy_(torch.exp(0.5 * torch.randn(value.shape)))
    (model if head else model.model).save_pretrained(folder)
    write_json(folder / "tokenizer_config.json", tokenizer_config())
    if sentence_transformers:
        _write_sentence_transformers(folder)
    return folder


def qwen3_tokenizer() -> Tokenizer:
    """Return a small tokenizer that ends each text as the published one does."""
    tokenizer = make_tokenizer()
    ends = [(END, tokenizer.token_to_id(END))]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=ends
    )
    return tokenizer


def _write_sentence_transformers(folder: Path) -> None:
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    write_modules(folder, modes, "lasttoken", HIDDEN)
    prompts = {"prompts": {"query": QUERY, "document": ""}, "default_prompt_name": None}
    write_json(folder / "config_sentence_transformers.json", {**prompts, "similarity_fn_name": "cosine"})


class Qwen3Reference:
    """A checkpoint in transformers, float32; one text at a time, so that no padding is involved."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        self.model = Qwen3Model.from_pretrained(folder, dtype=torch.float32).eval()
        self._plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._plain.encode_special_tokens = True
        self.end = self._plain.token_to_id(END)

    def ids(self, prompt: str) -> list[int]:
        """Return a whole prompt's tokens, the last one included."""
        ids: list[int] = self.tokenizer(prompt, add_special_tokens=True).input_ids
        return ids

    def plain_ids(self, prompt: str) -> list[int]:
        """Return the same for a prompt in which special tokens are spelled by the user."""
        return [*self._plain.encode(prompt, add_special_tokens=False).ids, self.end]

    @torch.inference_mode()
    def states(self, ids: list[int], *, both_ways: bool = False) -> np.ndarray:
        """Return the states ``(n_tokens, hidden)`` after the final norm."""
        mask = torch.ones(1, 1, len(ids), len(ids), dtype=torch.bool) if both_ways else torch.ones(1, len(ids))
        output = self.model(input_ids=torch.tensor([ids]), attention_mask=mask, use_cache=False)
        states: np.ndarray = output.last_hidden_state[0].numpy()
        return states

    def embed(self, prompt: str, dimensions: int | None = None) -> np.ndarray:
        """Return the card's ``last_token_pool``, cut and normalised."""
        return self.of_ids(self.ids(prompt), dimensions)

    def of_ids(self, ids: list[int], dimensions: int | None = None) -> np.ndarray:
        """Return the same for tokens."""
        return unit(self.states(ids)[-1, :dimensions])

    def multi_vector(self, prompt: str) -> np.ndarray:
        """Return every token's state, normalised."""
        return unit(self.states(self.ids(prompt)))
