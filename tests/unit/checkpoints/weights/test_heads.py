"""Heads of rerankers, read from a checkpoint's weights."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vllm_jina_embed import Layers, YesNo
from vllm_jina_embed.checkpoints.files import Folder
from vllm_jina_embed.checkpoints.weights.heads import read_head
from vllm_jina_embed.checkpoints.weights.safetensors import read_table
from vllm_jina_embed.errors import ConfigError

HEAD = YesNo(yes="yes", no="no")
LAYERS = Layers(names=("score.0", "score.2"), activation="relu", minus=2.65)
IDS = {"yes": 3, "no": 1}.__getitem__
RANDOM = np.random.default_rng(0)
WORDS = RANDOM.normal(size=(5, 4)).astype(np.float32)
OTHERS = RANDOM.normal(size=(5, 4)).astype(np.float32)
STATE = RANDOM.normal(size=4).astype(np.float32)


def folder_of(path: Path, tensors: dict[str, np.ndarray], **config: Any) -> Folder:
    """Write tensors as float32 in one file, and a config.json."""
    header: dict[str, Any] = {}
    content = b""
    for name, tensor in tensors.items():
        own = np.asarray(tensor, dtype="<f4").tobytes()
        offsets = [len(content), len(content) + len(own)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        content += own
    head = json.dumps(header).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + content)
    (path / "config.json").write_text(json.dumps(config))
    return Folder(path)


def test_two_words_of_the_head_that_gives_words(tmp_path: Path) -> None:
    """Its own where there is one and it is not tied, else the embeddings."""
    both = {"lm_head.weight": WORDS, "model.embed_tokens.weight": OTHERS}
    for config, tensors, used in (
        ({"tie_word_embeddings": False}, both, WORDS),
        ({}, both, WORDS),
        ({"tie_word_embeddings": True}, both, OTHERS),
        ({"text_config": {"tie_word_embeddings": True}}, both, OTHERS),
        ({}, {"model.language_model.embed_tokens.weight": OTHERS}, OTHERS),
    ):
        judge = read_head(folder_of(tmp_path, tensors, **config), HEAD, IDS)
        assert judge.logit(STATE) == pytest.approx(float((used[3] - used[1]).astype(np.float64) @ STATE))


def test_two_layers_with_a_function_between(tmp_path: Path) -> None:
    first, last = RANDOM.normal(size=(4, 4)), RANDOM.normal(size=(1, 4))
    one, two = RANDOM.normal(size=4), np.array([0.5])
    tensors = {"score.0.weight": first, "score.0.bias": one, "score.2.weight": last, "score.2.bias": two}
    folder = folder_of(tmp_path, tensors)
    inner = first.astype(np.float32) @ STATE + one
    judge = read_head(folder, LAYERS, IDS)
    assert judge.logit(STATE) == pytest.approx(float(last[0] @ np.maximum(inner, 0) + 0.5 - 2.65), rel=1e-5)
    tanh = Layers(names=LAYERS.names, activation="tanh")
    assert read_head(folder, tanh, IDS).logit(STATE) == pytest.approx(float(last[0] @ np.tanh(inner) + 0.5), rel=1e-5)
    wrong = {**tensors, "score.2.weight": np.zeros((2, 4)), "score.2.bias": np.zeros(2)}
    with pytest.raises(ConfigError, match=r"have the shapes .*; expected one score"):
        read_head(folder_of(tmp_path, wrong), LAYERS, IDS)
    del tensors["score.0.bias"]
    with pytest.raises(ConfigError, match=r"has 0 tensors named score.0.bias"):
        read_head(folder_of(tmp_path, tensors), LAYERS, IDS)


def test_a_vocabulary_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"lm_head.weight": WORDS})
    with pytest.raises(ConfigError, match=r"has no row 5 of 5; tokenizer.json and the weights belong to different"):
        read_head(folder, HEAD, lambda token: 5)


def test_one_row_is_read_alone(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"a": OTHERS, "b": WORDS})
    table = read_table(folder.path / "model.safetensors")
    for number in range(5):
        np.testing.assert_array_equal(table["b"].row(number), WORDS[number])
    with pytest.raises(IndexError):
        table["b"].row(-1)
