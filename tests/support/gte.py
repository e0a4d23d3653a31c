"""Checkpoints in the layout of Alibaba-NLP/gte-multilingual-base and of Snowflake/snowflake-arctic-embed-m-v2.0.

Layout: the tensors of Alibaba-NLP/new-impl (queries, keys and values in one, gate and up in one), in the first behind
``new.`` and with a head for sparse weights; config.json as published, whose positions are scaled (``ntk``). The
reference is transformers' own GteModel; what it does not know, that scaling, is written down here.
Source: modeling.py of Alibaba-NLP/new-impl, NTKScalingRotaryEmbedding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import GteConfig, GteModel

from tests.support.bare_vllm import CONFIG
from tests.support.checkpoints import write_json
from tests.support.encoders import EncoderReference, spread, write_sentence_files
from tests.support.unigram import make_unigram

HIDDEN, LAYERS, HEADS, POSITIONS = 256, 2, 4, 1026
THETA, FACTOR = 20000, 8.0
NAMES = {
    r"^layers\.(\d+)\.self_attn\.o_proj\.": r"encoder.layer.\1.attention.o_proj.",
    r"^layers\.(\d+)\.post_attention_layernorm\.": r"encoder.layer.\1.attn_ln.",
    r"^layers\.(\d+)\.post_mlp_layernorm\.": r"encoder.layer.\1.mlp_ln.",
    r"^layers\.(\d+)\.mlp\.down_proj\.": r"encoder.layer.\1.mlp.down_proj.",
}
"""By transformers' names of tensors, the published ones of those that are tensors of their own there."""


def _settings(vocabulary: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "intermediate_size": 512, "max_position_embeddings": POSITIONS, "type_vocab_size": 1, "layer_norm_eps": 1e-12,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.0, "pad_token_id": 1,
        "initializer_range": 0.1,
    }  # fmt: skip


def make_gte(folder: Path, *, snowflake: bool = False, prompts: Mapping[str, str] | None = None, seed: int = 0) -> Path:
    """Write a random checkpoint whose norms are log-normal, so that wrong pooling shows.

    Args:
        folder: A new folder.
        snowflake: Whether it is arctic-embed-m-v2.0's layout: other names, and positions that are not scaled.
        prompts: Those of config_sentence_transformers.json; without them there is no such file.
        seed: Of the weights.
    """
    folder.mkdir(parents=True)
    tokenizer = make_unigram()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    settings = _settings(tokenizer.get_vocab_size())
    own = _published(spread(GteModel(GteConfig(**settings))))
    if not snowflake:
        own = {f"new.{name}": tensor for name, tensor in own.items()}
        own |= {"classifier.weight": torch.randn(1, HIDDEN), "classifier.bias": torch.randn(1)}
    save_file(own, folder / "model.safetensors", metadata={"format": "pt"})
    shared = {
        "layer_norm_type": "layer_norm", "logn_attention_clip1": False, "logn_attention_scale": False,
        "pack_qkv": True, "position_embedding_type": "rope", "unpad_inputs": False,
        "use_memory_efficient_attention": False, "classifier_dropout": 0.0, "torch_dtype": "float32",
    }  # fmt: skip
    if snowflake:
        kind: dict[str, Any] = {
            "architectures": ["GteModel"], "model_type": "gte", "rope_scaling": None, "rope_theta": 160000,
            "matryoshka_dimensions": [32],
            "auto_map": {"AutoConfig": "configuration_hf_alibaba_nlp_gte.GteConfig"},
        }  # fmt: skip
    else:
        (folder / "configuration.py").write_text(CONFIG)
        kind = {
            "architectures": ["NewModel"], "model_type": "new", "rope_theta": THETA,
            "rope_scaling": {"factor": FACTOR, "type": "ntk"}, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0},
            "auto_map": {"AutoConfig": "configuration.NewConfig"},
        }  # fmt: skip
    write_json(folder / "config.json", settings | shared | kind)
    special = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "unk_token": "<unk>"}
    named = {"tokenizer_class": "XLMRobertaTokenizer", "pad_token": "<pad>", "mask_token": "<mask>"}
    write_json(folder / "tokenizer_config.json", {**special, **named, "model_max_length": 8192})
    write_sentence_files(folder, pooling="cls_token", hidden=HIDDEN, longest=8192, prompts=prompts)
    return folder


def _published(own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return transformers' tensors under the published names."""
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in own.items():
        if match := re.fullmatch(r"layers\.(\d+)\.self_attn\.q_proj\.(weight|bias)", name):
            three = [own[name.replace("q_proj", f"{one}_proj")] for one in "qkv"]
            renamed[f"encoder.layer.{match[1]}.attention.qkv_proj.{match[2]}"] = torch.cat(three)
        elif match := re.fullmatch(r"layers\.(\d+)\.mlp\.up_proj\.weight", name):
            both = [tensor, own[name.replace("up_proj", "gate_proj")]]
            renamed[f"encoder.layer.{match[1]}.mlp.up_gate_proj.weight"] = torch.cat(both)
        elif not re.search(r"self_attn\.[kv]_proj|gate_proj", name):
            for pattern, to in NAMES.items():
                name = re.sub(pattern, to, name)
            renamed[name] = tensor
    return renamed


class GteReference(EncoderReference):
    """A checkpoint in transformers: the first token's state; its sizes are those of its config.json."""

    def __init__(self, folder: Path, *, scaling: tuple[float, float] | None = None) -> None:
        """Load the weights.

        Args:
            folder: The checkpoint's.
            scaling: Base and factor of the positions; None for those of config.json.
        """
        loaded = load_file(folder / "model.safetensors").items()
        stored = {name.removeprefix("new."): one.float() for name, one in loaded}
        config = json.loads((folder / "config.json").read_text())
        model = GteModel(GteConfig(**{key: config[key] for key in _settings(0)}))
        model.load_state_dict({name: _own(name, stored) for name in model.state_dict()})
        scaled = config.get("rope_scaling") or {"factor": 1.0}
        size = config["hidden_size"] // config["num_attention_heads"]
        model.rotary_emb.inv_freq = inverse_frequencies(size, *(scaling or (config["rope_theta"], scaled["factor"])))
        super().__init__(folder, model)


def inverse_frequencies(size: int, theta: float, factor: float) -> torch.Tensor:
    """Return the rotary frequencies ``(size / 2,)`` of NTKScalingRotaryEmbedding without ``mixed_b``.

    A factor of 1 gives those of any other model.
    """
    steps = torch.arange(0, size, 2).float() / size
    return 1.0 / ((theta * factor) ** steps) / factor ** (2 / size)


def _own(name: str, stored: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the published tensor of transformers' ``name``."""
    if match := re.fullmatch(r"layers\.(\d+)\.self_attn\.([qkv])_proj\.(weight|bias)", name):
        three = stored[f"encoder.layer.{match[1]}.attention.qkv_proj.{match[3]}"].chunk(3)
        return three["qkv".index(match[2])]
    if match := re.fullmatch(r"layers\.(\d+)\.mlp\.(up|gate)_proj\.weight", name):
        return stored[f"encoder.layer.{match[1]}.mlp.up_gate_proj.weight"].chunk(2)[match[2] == "gate"]
    for pattern, to in NAMES.items():
        name = re.sub(pattern, to, name)
    return stored[name]
