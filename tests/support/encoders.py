"""What checkpoints of text encoders share: spread weights, the files of sentence-transformers, and their reference.

Written apart from the package: own tokeniser call, own pooling.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from tests.support.checkpoints import write_json, write_modules

POOLINGS = ("cls_token", "mean_tokens", "max_tokens")


def spread(model: torch.nn.Module, *, norms: float = 0.5) -> dict[str, torch.Tensor]:
    """Return a random model's tensors with log-normal norms and biases that are not 0, so that wrong pooling shows.

    Args:
        model: A new model of transformers.
        norms: Standard deviation of the norms' logarithm.
    """
    tensors = {name: value.detach().clone() for name, value in model.state_dict().items()}
    for name, value in tensors.items():
        if name.lower().endswith("norm.weight"):
            value.copy_(torch.exp(norms * torch.randn(value.shape)))
        elif name.endswith(".bias"):  # zero where a model is new
            torch.nn.init.normal_(value, std=0.1)
    return tensors


def write_sentence_files(
    folder: Path, *, pooling: str, hidden: int, longest: int, prompts: Mapping[str, str] | None = None
) -> None:
    """Write what sentence-transformers does.

    Args:
        folder: The checkpoint's.
        pooling: One of ``POOLINGS``.
        hidden: Length of an embedding.
        longest: Most tokens of a text.
        prompts: Those of config_sentence_transformers.json; without them there is no such file.
    """
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": longest, "do_lower_case": False})
    write_modules(folder, POOLINGS, pooling, hidden)
    if prompts is not None:
        settings = {"prompts": dict(prompts), "default_prompt_name": None, "similarity_fn_name": "cosine"}
        write_json(folder / "config_sentence_transformers.json", settings)


class EncoderReference:
    """A checkpoint in transformers, float32; one text at a time, so that no padding is involved."""

    def __init__(self, folder: Path, model: torch.nn.Module, *, pooling: Literal["first", "mean"] = "first") -> None:
        """Read the tokenizer.

        Args:
            folder: The checkpoint's.
            model: It in transformers.
            pooling: What makes an embedding: the first token's state, or the mean of all.
        """
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        self.model = model.float().eval()
        self.pooling = pooling

    @property
    def plain(self) -> Tokenizer:
        """The tokenizer itself."""
        tokenizer: Tokenizer = self.tokenizer.backend_tokenizer
        return tokenizer

    def ids(self, text: str) -> list[int]:
        """Return a text's tokens with the special ones around them."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=True).input_ids
        return ids

    @torch.inference_mode()
    def states(self, ids: list[int], *, first_position: int | None = None) -> np.ndarray:
        """Return the states ``(n_tokens, hidden)``; the model counts positions, unless told where they begin."""
        wanted: dict[str, Any] = {}
        if first_position is not None:
            wanted["position_ids"] = torch.arange(first_position, first_position + len(ids))[None]
        output = self.model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), **wanted)
        states: np.ndarray = output.last_hidden_state[0].numpy()
        return states

    def pooled(self, states: np.ndarray) -> np.ndarray:
        """Return what is pooled of states, not yet cut or normalised."""
        vector: np.ndarray = states[0] if self.pooling == "first" else states.mean(0)
        return vector

    def of_ids(self, ids: list[int], dimensions: int | None = None) -> np.ndarray:
        """Return the embedding of tokens, the special ones included."""
        return unit(self.pooled(self.states(ids))[:dimensions])

    def embed(self, text: str, dimensions: int | None = None) -> np.ndarray:
        """Return the embedding of a whole prompt."""
        return self.of_ids(self.ids(text), dimensions)

    def multi_vector(self, text: str) -> np.ndarray:
        """Return every token's state, normalised, as vLLM's example has them."""
        return unit(self.states(self.ids(text)))


def unit(values: np.ndarray) -> np.ndarray:
    """Return ``values`` with L2 norm 1 along the last axis."""
    normed: np.ndarray = values / np.sqrt((values.astype(np.float64) ** 2).sum(-1, keepdims=True))
    return normed
