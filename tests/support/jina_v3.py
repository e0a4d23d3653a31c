"""Checkpoints in the layout of jinaai/jina-embeddings-v3, and what transformers gives for each of its adapters.

Layout: the tensors of jinaai/xlm-roberta-flash-implementation with torch's parametrizations: the original weight, and A
and B of every adapter stacked; config.json as published; XLM-RoBERTa's unigram tokenizer; the files of
sentence-transformers. The reference merges one adapter into the weights, as LoRAParametrization does, and computes with
transformers' own JinaEmbeddingsV3Model.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import JinaEmbeddingsV3Config, JinaEmbeddingsV3Model

from tests.support.checkpoints import write_json
from tests.support.encoders import EncoderReference, spread, write_sentence_files
from tests.support.unigram import make_unigram

ADAPTERS = ["retrieval.query", "retrieval.passage", "separation", "classification", "text-matching"]
PROMPTS = {
    "retrieval.query": "Represent the query for retrieving evidence documents: ",
    "retrieval.passage": "Represent the document for retrieval: ",
    "separation": "",
    "classification": "",
    "text-matching": "",
}
HIDDEN, LAYERS, HEADS, POSITIONS, RANK = 128, 2, 4, 1026, 4
SIZES = [32, 64]
NAMES = {
    r"^embeddings\.LayerNorm\.": "emb_ln.",
    r"^layers\.(\d+)\.self_attn\.o_proj\.": r"encoder.layers.\1.mixer.out_proj.",
    r"^layers\.(\d+)\.post_attention_layernorm\.": r"encoder.layers.\1.norm1.",
    r"^layers\.(\d+)\.post_mlp_layernorm\.": r"encoder.layers.\1.norm2.",
    r"^layers\.(\d+)\.mlp\.": r"encoder.layers.\1.mlp.",
}
"""By transformers' names of tensors, the published ones; queries, keys and values are one tensor there."""


def _settings(vocabulary: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "intermediate_size": 256, "max_position_embeddings": POSITIONS, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "pad_token_id": 1,
        "bos_token_id": 0, "eos_token_id": 2, "initializer_range": 0.1,
    }  # fmt: skip


def make_jina_v3(folder: Path, *, seed: int = 0) -> Path:
    """Write a random checkpoint whose norms are log-normal and whose adapters change every vector."""
    folder.mkdir(parents=True)
    tokenizer = make_unigram()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    settings = _settings(tokenizer.get_vocab_size())
    own = spread(JinaEmbeddingsV3Model(JinaEmbeddingsV3Config(**settings)))
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in _published(own).items():
        if not name.endswith(".weight") or tensor.dim() != 2:
            tensors[f"roberta.{name}"] = tensor
            continue
        place = f"roberta.{name.removesuffix('.weight')}.parametrizations.weight"
        out, inner = tensor.shape
        is_table = "embeddings" in name
        shapes = ((out, RANK), (RANK, inner)) if is_table else ((RANK, inner), (out, RANK))
        tensors[f"{place}.original"] = tensor
        for side, shape in zip("AB", shapes, strict=True):
            tensors[f"{place}.0.lora_{side}"] = 0.3 * torch.randn(len(ADAPTERS), *shape)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    code = "jinaai/xlm-roberta-flash-implementation--"
    write_json(folder / "config.json", settings | {
        "_name_or_path": "jinaai/jina-embeddings-v3", "architectures": ["XLMRobertaModel"], "model_type": "xlm-roberta",
        "auto_map": {
            "AutoConfig": f"{code}configuration_xlm_roberta.XLMRobertaFlashConfig",
            "AutoModel": f"{code}modeling_lora.XLMRobertaLoRA",
        },
        "emb_pooler": None, "load_trained_adapters": True, "lora_adaptations": ADAPTERS, "lora_alpha": 1,
        "lora_dropout_p": 0.0, "lora_main_params_trainable": False, "lora_rank": RANK,
        "matryoshka_dimensions": [*SIZES, HIDDEN], "output_past": True, "position_embedding_type": "rotary",
        "rotary_emb_base": 20000.0, "task_instructions": PROMPTS, "torch_dtype": "float32", "truncate_dim": None,
        "use_cache": True, "use_flash_attn": True, "use_reg_tokens": False,
    })  # fmt: skip
    special = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "unk_token": "<unk>"}
    kind = {"tokenizer_class": "XLMRobertaTokenizer", "pad_token": "<pad>", "mask_token": "<mask>"}
    write_json(folder / "tokenizer_config.json", {**special, **kind, "model_max_length": 8194})
    write_sentence_files(folder, pooling="mean_tokens", hidden=HIDDEN, longest=8194, prompts=PROMPTS)
    return folder


def _published(own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return transformers' tensors under the published names."""
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in own.items():
        match = re.fullmatch(r"layers\.(\d+)\.self_attn\.q_proj\.(weight|bias)", name)
        if match:
            three = [own[name.replace("q_proj", f"{one}_proj")] for one in "qkv"]
            renamed[f"encoder.layers.{match[1]}.mixer.Wqkv.{match[2]}"] = torch.cat(three)
        elif not re.search(r"self_attn\.[kv]_proj", name):
            for pattern, to in NAMES.items():
                name = re.sub(pattern, to, name)
            renamed[name] = tensor
    return renamed


class JinaV3Reference(EncoderReference):
    """A checkpoint in transformers with one adapter merged; its sizes are those of its config.json."""

    def __init__(self, folder: Path, adapter: str | None) -> None:
        """Merge ``adapter``; None for the weights without any."""
        loaded = load_file(folder / "model.safetensors").items()
        stored = {name.removeprefix("roberta."): one.float() for name, one in loaded}
        config = json.loads((folder / "config.json").read_text())
        mark, task = ".parametrizations.weight.", None if adapter is None else ADAPTERS.index(adapter)
        merged = {name: tensor for name, tensor in stored.items() if mark not in name}
        for name in {name.partition(mark)[0] for name in stored if mark in name}:
            a, b = (stored[f"{name}{mark}0.lora_{side}"] for side in "AB")
            weight = stored[f"{name}{mark}original"]
            if task is not None:
                added = a[task] @ b[task] if "embeddings" in name else b[task] @ a[task]
                weight = weight + added * config["lora_alpha"] / config["lora_rank"]
            merged[f"{name}.weight"] = weight
        rope = {"rope_theta": config["rotary_emb_base"], "rope_type": "default"}
        sizes = {key: config[key] for key in _settings(0)}
        model = JinaEmbeddingsV3Model(JinaEmbeddingsV3Config(**sizes, rope_parameters=rope))
        model.load_state_dict(_transformers(model.state_dict(), merged))
        super().__init__(folder, model, pooling="mean")


def _transformers(names: dict[str, torch.Tensor], published: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return published tensors under ``names``, those of transformers."""
    found: dict[str, torch.Tensor] = {}
    for name in names:
        match = re.fullmatch(r"layers\.(\d+)\.self_attn\.([qkv])_proj\.(weight|bias)", name)
        if match:
            whole = published[f"encoder.layers.{match[1]}.mixer.Wqkv.{match[3]}"]
            found[name] = whole.chunk(3)["qkv".index(match[2])]
            continue
        to = name
        for pattern, new in NAMES.items():
            to = re.sub(pattern, new, to)
        found[name] = published[to]
    return found
