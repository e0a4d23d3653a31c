"""The weights that multiply each token, from the headers of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.adapter_files import write_safetensors
from vllm_jina_embed.checkpoints.weights.counts import multiplying_weights

TENSORS = {
    "model.embed_tokens.weight": (100, 8),
    "model.layers.0.mlp.up_proj.weight": (16, 8),
    "model.layers.0.mlp.up_proj.bias": (16,),
    "model.norm.weight": (8,),
    "lm_head.weight": (100, 8),
    "encoder.embeddings.word_embeddings.weight": (100, 8),
    "model.visual.patch_embed.proj.weight": (4, 3, 2, 2),
    "vision_model.layers.0.fc.weight": (4, 5),
}


def test_weights_are_counted_by_what_they_multiply(tmp_path: Path) -> None:
    """Over all files; tables, norms and biases are not counted."""
    for number, names in enumerate((list(TENSORS)[:3], list(TENSORS)[3:])):
        tensors = {name: np.zeros(TENSORS[name], np.float32) for name in names}
        write_safetensors(tmp_path / f"model-{number}.safetensors", tensors)
    assert multiplying_weights(str(tmp_path)) == (16 * 8, 4 * 3 * 2 * 2 + 4 * 5)


def test_what_is_not_there_is_not_counted(tmp_path: Path) -> None:
    """A repository's name, an empty folder, and a broken file."""
    assert multiplying_weights("somebody/a-model") is None
    assert multiplying_weights(str(tmp_path)) is None
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    assert multiplying_weights(str(tmp_path)) is None
