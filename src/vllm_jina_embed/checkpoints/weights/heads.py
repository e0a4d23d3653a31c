"""Read the head of a reranker from its weights: the reference of what vLLM computes with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._arrays import Floats
from ...errors import ConfigError
from .. import values
from ..cross_encoder_files import check_words
from ..files import Location, optional_json
from ..heads import Head, Layers, YesNo
from .safetensors import Tensor, read_table
from .shards import shards

WORDS, EMBEDDINGS = "lm_head.weight", "embed_tokens.weight"
"""The head that gives words, and the embeddings of tokens that are this head too where both are tied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A head in numpy: a layer, a function and a layer, or the last layer alone.

    Attributes:
        first: Weight ``(n, hidden_size)`` and bias ``(n,)`` of the first layer; None where there is one layer.
        activation: ``tanh`` or ``relu``, between the two.
        weight: The last layer ``(n,)``.
        bias: The last layer's.
    """

    first: tuple[Floats, Floats] | None
    activation: str
    weight: Floats
    bias: float

    def logit(self, state: Floats) -> float:
        """Return the number whose sigmoid is the score of a pair, of the state ``(hidden_size,)`` of its token."""
        inner = state.astype(np.float64)
        if self.first is not None:
            inner = self.first[0] @ inner + self.first[1]
            inner = np.tanh(inner) if self.activation == "tanh" else np.maximum(inner, 0)
        return float(self.weight @ inner + self.bias)


def read_head(location: Location, head: Head, token_id: Callable[[str], int]) -> Judge:
    """Return the head of a checkpoint.

    Args:
        location: Folder or repository of the checkpoint.
        head: What it is, as the row says.
        token_id: Returns the id of a token of the vocabulary.

    Raises:
        ConfigError: A tensor is missing, or has another shape; the vocabulary lacks a token; or the checkpoint's files
            name other words.
    """
    check_words(location, head, token_id)
    files = shards(location)
    if isinstance(head, YesNo):
        words = _tensor(location, files, EMBEDDINGS if _are_tied(location, files) else WORDS)
        yes, no = (_row(words, token_id(token), location) for token in (head.yes, head.no))
        return Judge(first=None, activation="", weight=yes - no, bias=0.0)
    return _layers(location, files, head)


def _layers(location: Location, files: Mapping[str, str], head: Layers) -> Judge:
    first, last = (
        [_tensor(location, files, f"{name}.{part}").numpy() for part in ("weight", "bias")] for name in head.names
    )
    if last[0].shape != (1, len(first[0])) or last[1].shape != (1,) or first[1].shape != first[0].shape[:1]:
        shapes = [array.shape for array in (*first, *last)]
        raise ConfigError(
            f"{str(location)!r}: {' and '.join(head.names)} have the shapes {shapes}; expected one score."
        )
    return Judge(
        first=(first[0], first[1]), activation=head.activation, weight=last[0][0], bias=float(last[1][0]) - head.minus
    )


def _are_tied(location: Location, files: Mapping[str, str]) -> bool:
    """Tell whether the embeddings are the head: config.json says it, or there is no other."""
    config = optional_json(location, "config.json")
    own: Any = config if isinstance(config, Mapping) else {}
    text = own.get("text_config")
    said = own.get("tie_word_embeddings", text.get("tie_word_embeddings") if isinstance(text, Mapping) else None)
    return said is True or not any(_is_named(name, WORDS) for name in files)


def _row(words: Tensor, number: int, location: Location) -> Floats:
    try:
        return words.row(number)
    except IndexError as error:
        raise ConfigError(
            f"{str(location)!r}: the head of words has no {error}; tokenizer.json and the weights belong to different "
            "models."
        ) from None


def _tensor(location: Location, files: Mapping[str, str], name: str) -> Tensor:
    """Return the one tensor of this name, perhaps behind the model's."""
    found = [one for one in files if _is_named(one, name)]
    if len(found) != 1:
        raise ConfigError(
            f"{str(location)!r} has {len(found)} tensors named {name} ({values.short(found)}); expected one, of which "
            "the scores are made. Copy the weights of the reranker itself."
        )
    table = read_table(location.file(files[found[0]]))
    if found[0] not in table:
        raise ConfigError(f"{str(location)!r}: {files[found[0]]} has no {found[0]}, although the index says so.")
    return table[found[0]]


def _is_named(name: str, ending: str) -> bool:
    return f".{name}".endswith(f".{ending}")
