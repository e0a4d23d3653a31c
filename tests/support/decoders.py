"""Decoders that embed texts: random checkpoints in published layouts, and what transformers gives for them.

Written apart from the package: own prompts, own tokeniser call, own pooling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModel, PreTrainedTokenizerFast

from tests.support.checkpoints import write_json, write_modules
from tests.support.xlm_roberta import unit

HIDDEN = 128
POSITIONS = 4096
SIZES: dict[str, Any] = {
    "hidden_size": HIDDEN, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": POSITIONS, "initializer_range": 0.1,
}  # fmt: skip
"""Of a small decoder; larger weights make attention so sharp that a missing token hardly shows."""
TEXTS = [
    "a",
    "the quick brown fox",
    "Ein wunderschöner Sonnenuntergang am Strand",
    "浜辺に沈む美しい夕日 🙂",
    "  two  spaces,\nand a line",
    "def add(a, b): return a + b",
    "the quick brown fox " * 60,
]
"""Short ones, and one that is far longer than ``STEP``."""
STEP = 64
"""Tokens of a step that cuts prompts."""
MODES = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
"""The poolings that sentence-transformers knew when these models were published."""
Pool = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def last_token_pool(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the state ``(n, hidden)`` of the last token of each text, as the cards of gte-Qwen2 and e5-mistral do.

    Args:
        states: States ``(n, n_tokens, hidden)`` after the final norm.
        mask: 1 for tokens, 0 for padding ``(n, n_tokens)``.
    """
    if bool(mask[:, -1].all()):  # padded on the left, or not at all
        return states[:, -1]
    lengths = mask.sum(dim=1) - 1
    return states[torch.arange(len(states)), lengths]


def mean_pool(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean ``(n, hidden)`` over the tokens of each text, as the card of Qwen2-7B-Instruct-embed-base does.

    Args:
        states: States ``(n, n_tokens, hidden)`` after the final norm.
        mask: 1 for tokens, 0 for padding ``(n, n_tokens)``.
    """
    weights = mask[:, :, None].expand(states.shape).float()
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def spread(model: torch.nn.Module) -> None:
    """Make the norms log-normal and the biases other than 0, so that a wrong prompt or pooling shows."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("norm.weight"):
                value.copy_(torch.exp(0.5 * torch.randn(value.shape)))
            elif name.endswith(".bias"):
                torch.nn.init.normal_(value, std=0.1)


def write_decoder(folder: Path, model_class: Any, config: Mapping[str, Any], tokenizer: Tokenizer, seed: int) -> None:
    """Write random weights, the tokenizer, and config.json with the published keys: transformers 5 writes others.

    Args:
        folder: A new folder.
        model_class: The class in transformers that names the tensors as the published file does.
        config: The published config.json, with small sizes.
        tokenizer: Of which tokenizer.json is written.
        seed: Of the weights.
    """
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "config.json", dict(config))
    torch.manual_seed(seed)
    model = model_class(model_class.config_class.from_pretrained(folder))
    spread(model)
    model.save_pretrained(folder)
    write_json(folder / "config.json", dict(config))


def write_sentence_files(folder: Path, prompts: Mapping[str, str], **others: Any) -> None:
    """Write the files of sentence-transformers of a model that takes the last token.

    Args:
        folder: The checkpoint's.
        prompts: Those of config_sentence_transformers.json.
        **others: Further keys of that file.
    """
    write_modules(folder, MODES, "lasttoken", HIDDEN)
    content = {"prompts": dict(prompts), "default_prompt_name": None, **others}
    write_json(folder / "config_sentence_transformers.json", content)


class DecoderReference:
    """A checkpoint in transformers, float32; one text at a time, so that no padding is involved."""

    def __init__(
        self,
        folder: Path,
        *,
        appended: Sequence[str] = (),
        pool: Pool = last_token_pool,
        both_ways: bool | None = None,
        model: torch.nn.Module | None = None,
    ) -> None:
        """Load a checkpoint.

        Args:
            folder: Its folder.
            appended: Special tokens that end each prompt, where tokenizer.json does not say so.
            pool: The published pooling.
            both_ways: Whether each token sees those behind it, told by a mask; None for transformers' own way.
            model: It in transformers; None loads it from the folder.
        """
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        self.model = (model or AutoModel.from_pretrained(folder, dtype=torch.float32)).float().eval()
        self.both_ways = both_ways
        self.appended = [self.tokenizer.convert_tokens_to_ids(token) for token in appended]
        self._pool = pool
        self._plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._plain.encode_special_tokens = True

    def ids(self, prompt: str) -> list[int]:
        """Return a whole prompt's tokens, those that are added included."""
        ids: list[int] = self.tokenizer(prompt, add_special_tokens=True).input_ids
        return [*ids, *self.appended]

    def plain_ids(self, prompt: str) -> list[int]:
        """Return the same for a prompt in which special tokens are spelled by the user."""
        return [*self._plain.encode(prompt, add_special_tokens=True).ids, *self.appended]

    @torch.inference_mode()
    def states(self, ids: list[int], *, both_ways: bool | None = None) -> np.ndarray:
        """Return the states ``(n_tokens, hidden)`` after the final norm; ``both_ways`` replaces the reference's."""
        both_ways = self.both_ways if both_ways is None else both_ways
        mask = torch.ones(1, len(ids), dtype=torch.long)
        if both_ways is not None:
            whole = torch.ones(1, 1, len(ids), len(ids), dtype=torch.bool)
            mask = whole if both_ways else whole.tril()
        output = self.model(input_ids=torch.tensor([ids]), attention_mask=mask, use_cache=False)
        states: np.ndarray = output.last_hidden_state[0].numpy()
        return states

    def embed(self, prompt: str, dimensions: int | None = None) -> np.ndarray:
        """Return the embedding of a whole prompt: pooled, cut and normalised."""
        return self.of_ids(self.ids(prompt), dimensions)

    def of_ids(self, ids: list[int], dimensions: int | None = None) -> np.ndarray:
        """Return the same for tokens."""
        states = torch.from_numpy(self.states(ids))[None]
        return unit(self._pool(states, torch.ones(1, len(ids)))[0, :dimensions].numpy())

    def multi_vector(self, prompt: str) -> np.ndarray:
        """Return every token's state, normalised."""
        return unit(self.states(self.ids(prompt)))
