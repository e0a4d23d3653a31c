"""Checkpoints in the layout of nomic-ai/nomic-embed-text-v1.5, and what transformers gives for them.

Layout: the tensors of nomic-ai/nomic-bert-2048 (queries, keys and values in one), config.json with GPT-2's names of
sizes, WordPiece, the files of sentence-transformers without a module that normalises. The reference is transformers'
own NomicBertModel, its sizes taken from that config.json, and the card's mean_pooling, layer_norm, cut and normalize.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import NomicBertConfig, NomicBertModel

from tests.support.checkpoints import write_json
from tests.support.encoders import EncoderReference, spread, unit, write_sentence_files
from tests.support.wordpiece import make_wordpiece

HIDDEN, LAYERS, HEADS, INNER, POSITIONS = 128, 2, 4, 256, 2048
NAMES = {
    r"^embeddings\.LayerNorm\.": "emb_ln.",
    r"^layers\.(\d+)\.self_attn\.o_proj\.": r"encoder.layers.\1.attn.out_proj.",
    r"^layers\.(\d+)\.post_attention_layernorm\.": r"encoder.layers.\1.norm1.",
    r"^layers\.(\d+)\.post_mlp_layernorm\.": r"encoder.layers.\1.norm2.",
    r"^layers\.(\d+)\.mlp\.up_proj\.": r"encoder.layers.\1.mlp.fc11.",
    r"^layers\.(\d+)\.mlp\.gate_proj\.": r"encoder.layers.\1.mlp.fc12.",
    r"^layers\.(\d+)\.mlp\.down_proj\.": r"encoder.layers.\1.mlp.fc2.",
}
"""By transformers' names of tensors, the published ones; queries, keys and values are one tensor there."""
PUBLISHED: dict[str, Any] = {
    "activation_function": "swiglu", "architectures": ["NomicBertModel"], "attn_pdrop": 0.0,
    "auto_map": {
        "AutoConfig": "nomic-ai/nomic-bert-2048--configuration_hf_nomic_bert.NomicBertConfig",
        "AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel",
    },
    "bos_token_id": None, "causal": False, "dense_seq_output": True, "embd_pdrop": 0.0, "eos_token_id": None,
    "fused_bias_fc": True, "fused_dropout_add_ln": True, "initializer_range": 0.02, "layer_norm_epsilon": 1e-12,
    "max_trained_positions": POSITIONS, "mlp_fc1_bias": False, "mlp_fc2_bias": False, "model_type": "nomic_bert",
    "n_embd": HIDDEN, "n_head": HEADS, "n_inner": INNER, "n_layer": LAYERS, "n_positions": 8192,
    "pad_vocab_size_multiple": 64, "parallel_block": False, "parallel_block_tied_norm": False, "prenorm": False,
    "qkv_proj_bias": False, "reorder_and_upcast_attn": False, "resid_pdrop": 0.0, "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False, "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None, "scale_attn_by_inverse_layer_idx": False, "scale_attn_weights": True,
    "summary_activation": None, "summary_first_dropout": 0.0, "summary_proj_to_labels": True,
    "summary_type": "cls_index", "summary_use_proj": True, "torch_dtype": "float32", "type_vocab_size": 2,
    "use_cache": True, "use_flash_attn": True, "use_rms_norm": False, "use_xentropy": True,
}  # fmt: skip
"""config.json as models that were trained further keep it, with these tests' sizes."""


def _config(published: dict[str, Any]) -> NomicBertConfig:
    return NomicBertConfig(
        vocab_size=published["vocab_size"], hidden_size=published["n_embd"], num_hidden_layers=published["n_layer"],
        num_attention_heads=published["n_head"], intermediate_size=published["n_inner"], initializer_range=0.1,
        max_position_embeddings=published["max_trained_positions"], type_vocab_size=published["type_vocab_size"],
        layer_norm_eps=published["layer_norm_epsilon"],
        rope_parameters={"rope_theta": published["rotary_emb_base"], "rope_type": "default"},
    )  # fmt: skip


def make_nomic(folder: Path, *, seed: int = 0) -> Path:
    """Write a random checkpoint whose norms are log-normal, so that wrong pooling shows."""
    folder.mkdir(parents=True)
    tokenizer = make_wordpiece()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    written = {**PUBLISHED, "vocab_size": -(-tokenizer.get_vocab_size() // 64) * 64}
    own = spread(NomicBertModel(_config(written)))
    own[f"layers.{LAYERS - 1}.post_mlp_layernorm.bias"] += 0.5  # so that a layer norm behind it has something to do
    save_file(_published(own), folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", written)
    special = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    kind = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "mask_token": "[MASK]"}
    write_json(folder / "tokenizer_config.json", {**special, **kind, "model_max_length": 8192})
    write_sentence_files(folder, pooling="mean_tokens", hidden=HIDDEN, longest=8192)
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:2]))
    return folder


def _published(own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return transformers' tensors under the published names."""
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in own.items():
        if match := re.fullmatch(r"layers\.(\d+)\.self_attn\.q_proj\.weight", name):
            three = [own[name.replace("q_proj", f"{one}_proj")] for one in "qkv"]
            renamed[f"encoder.layers.{match[1]}.attn.Wqkv.weight"] = torch.cat(three)
        elif not re.search(r"self_attn\.[kv]_proj", name):
            for pattern, to in NAMES.items():
                name = re.sub(pattern, to, name)
            renamed[name] = tensor
    return renamed


class NomicReference(EncoderReference):
    """A checkpoint in transformers: the mean of all tokens, then ``finish``; its sizes are those of its config.json."""

    def __init__(self, folder: Path) -> None:
        stored = {name: one.float() for name, one in load_file(folder / "model.safetensors").items()}
        model = NomicBertModel(_config(json.loads((folder / "config.json").read_text())))
        model.load_state_dict({name: _own(name, stored) for name in model.state_dict()})
        super().__init__(folder, model, pooling="mean")

    def of_ids(self, ids: list[int], dimensions: int | None = None) -> np.ndarray:
        """Return the embedding of tokens, the special ones included."""
        return finish(self.pooled(self.states(ids)), dimensions)


def finish(pooled: np.ndarray, size: int | None) -> np.ndarray:
    """Return the card's ``F.normalize(F.layer_norm(pooled, ...)[:size])``."""
    normed = torch.nn.functional.layer_norm(torch.from_numpy(pooled), pooled.shape)
    return unit(normed.numpy()[:size])


def _own(name: str, stored: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the published tensor of transformers' ``name``."""
    if match := re.fullmatch(r"layers\.(\d+)\.self_attn\.([qkv])_proj\.weight", name):
        return stored[f"encoder.layers.{match[1]}.attn.Wqkv.weight"].chunk(3)["qkv".index(match[2])]
    for pattern, to in NAMES.items():
        name = re.sub(pattern, to, name)
    return stored[name]
