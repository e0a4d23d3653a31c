"""Checkpoints in the layout of jinaai/jina-embeddings-v5-text-*, and what transformers gives for each adapter.

Layout: the tensors of a Qwen3Model (small) or an EuroBertModel (nano), under their names; config.json and the files of
sentence-transformers as published, which point to code that is not there; a PEFT folder per task. Written apart from
the package: the reference adds ``B A * alpha / r`` to the weights, and computes with transformers' own class.
Source: oaustegard/jina-v5-nano-mirror@f5a878b, model/; for small, cohere-ai/rcp-ndcg, family.yaml of the model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, processors
from transformers import EuroBertConfig, EuroBertModel, Qwen3Config, Qwen3Model

from tests.support.checkpoints import write_json
from tests.support.decoders import SIZES, DecoderReference, spread
from tests.support.tokenizer import SPECIAL, make_tokenizer

Kind = Literal["small", "nano"]
TASKS = ("retrieval", "text-matching", "clustering", "classification")
PREFIX = {"query": "Query: ", "passage": "Document: "}
END = "<|end_of_text|>"
NANO_SPECIAL = ("<|begin_of_text|>", END, "<|mask|>", "<|parallel_sep|>", "<|pad|>")
RANK, ALPHA = 4, 12
CODE = {
    "AutoConfig": "configuration_jina_embeddings_v5.JinaEmbeddingsV5Config",
    "AutoModel": "modeling_jina_embeddings_v5.JinaEmbeddingsV5Model",
}


def prefix_of(task: str, role: str) -> str:
    """Return what stands before a text: a query's own prefix in a search alone."""
    return PREFIX[role if task == "retrieval" else "passage"]


def make_jina_v5(folder: Path, kind: Kind, *, seed: int = 0) -> Path:
    """Write a random checkpoint whose norms are log-normal and whose adapters change every vector."""
    tokenizer = _tokenizer(kind)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "architectures": ["JinaEmbeddingsV5Model"], "task_names": list(TASKS), "auto_map": CODE,
        "model_type": "jina_embeddings_v5", "attention_bias": False, "attention_dropout": 0.0, "hidden_act": "silu",
        "rms_norm_eps": 1e-6, "rope_scaling": None, "rope_theta": 250000, "torch_dtype": "float32",
        "vocab_size": tokenizer.get_vocab_size(), **SIZES, **_own_settings(kind, tokenizer),
    }  # fmt: skip
    write_json(folder / "config.json", config)
    torch.manual_seed(seed)
    model = _model(config)
    spread(model)
    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    for task in TASKS:
        _write_adapter(folder / "adapters" / task, model)
    write_json(folder / "tokenizer_config.json", _tokenizer_config(kind))
    module = {"idx": 0, "name": "transformer", "path": "", "type": "custom_st.Transformer"}
    (folder / "modules.json").write_text(json.dumps([{**module, "kwargs": ["task", "truncate_dim"]}]))
    prompts = {"query": PREFIX["query"], "document": PREFIX["passage"]}
    write_json(
        folder / "config_sentence_transformers.json",
        {"prompts": prompts, "default_prompt_name": "document", "similarity_fn_name": "cosine"},
    )
    return folder


def _own_settings(kind: Kind, tokenizer: Tokenizer) -> dict[str, Any]:
    if kind == "small":  # it does not say whether it is a decoder
        end = tokenizer.token_to_id("<|endoftext|>")
        return {
            "head_dim": 32,
            "tie_word_embeddings": True,
            "use_cache": True,
            "bos_token_id": end,
            "eos_token_id": end,
        }
    names = {"bos": "<|begin_of_text|>", "eos": END, "pad": END, "mask": "<|mask|>"}
    ids = {f"{name}_token_id": tokenizer.token_to_id(token) for name, token in names.items()}
    return {"is_decoder": False, "tie_word_embeddings": False, "num_key_value_heads": 4, **ids}


def _tokenizer(kind: Kind) -> Tokenizer:
    known = "Query: Document: the quick brown fox"
    if kind == "small":
        return make_tokenizer(known)
    tokenizer = make_tokenizer(known, NANO_SPECIAL)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    return tokenizer


def _tokenizer_config(kind: Kind) -> dict[str, Any]:
    if kind == "nano":
        names = {"bos_token": "<|begin_of_text|>", "eos_token": END, "mask_token": "<|mask|>", "pad_token": "<|pad|>"}
        inputs = {"model_input_names": ["input_ids", "attention_mask"], "clean_up_tokenization_spaces": True}
        return {**names, **inputs, "tokenizer_class": "PreTrainedTokenizer"}
    own = {"add_bos_token": False, "bos_token": None, "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    return {**own, "unk_token": None, "additional_special_tokens": SPECIAL[1:], "tokenizer_class": "Qwen2Tokenizer"}


def _model(config: dict[str, Any]) -> Any:
    """Return a new model of transformers' own class."""
    left = ("architectures", "task_names", "auto_map", "model_type", "torch_dtype", "rope_scaling", "rope_theta")
    sizes = {key: value for key, value in config.items() if key not in left}
    rope = {"rope_type": "default", "rope_theta": config["rope_theta"]}
    if config.get("is_decoder") is False:
        return EuroBertModel(EuroBertConfig(**sizes, rope_parameters=rope))
    return Qwen3Model(Qwen3Config(**sizes, rope_parameters=rope))


def _write_adapter(folder: Path, model: torch.nn.Module) -> None:
    """Write a random LoRA of every projection, as PEFT does."""
    tensors = {}
    for name, weight in model.state_dict().items():
        if "_proj." in name:
            (out, inner), place = weight.shape, f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{place}.lora_A.weight"] = 0.1 * torch.randn(RANK, inner)
            tensors[f"{place}.lora_B.weight"] = 0.1 * torch.randn(out, RANK)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    modules = [*(f"{name}_proj" for name in "qkvo"), *(f"{name}_proj" for name in ("gate", "up", "down"))]
    write_json(folder / "adapter_config.json", {
        "alpha_pattern": {}, "base_model_name_or_path": "jinaai/jina-embeddings-v5-text", "bias": "none",
        "inference_mode": True, "init_lora_weights": "gaussian", "layer_replication": None, "lora_alpha": ALPHA,
        "lora_bias": False, "lora_dropout": 0.1, "modules_to_save": None, "peft_type": "LORA", "r": RANK,
        "rank_pattern": {}, "target_modules": modules, "task_type": "FEATURE_EXTRACTION",
        "trainable_token_indices": None, "use_dora": False, "use_rslora": False,
    })  # fmt: skip


class JinaV5Reference(DecoderReference):
    """A checkpoint in transformers with one adapter merged; ``encode`` of the published code takes the last token."""

    def __init__(self, folder: Path, task: str | None) -> None:
        """Merge the adapter of ``task``; None for the weights without any."""
        config = json.loads((folder / "config.json").read_text())
        weights = {name: one.float() for name, one in load_file(folder / "model.safetensors").items()}
        if task is not None:
            place = folder / "adapters" / task
            settings = json.loads((place / "adapter_config.json").read_text())
            added = load_file(place / "adapter_model.safetensors")
            for name in {name.partition(".lora_")[0] for name in added}:
                a, b = (added[f"{name}.lora_{side}.weight"].float() for side in "AB")
                target = f"{name.removeprefix('base_model.model.')}.weight"
                weights[target] = weights[target] + b @ a * (settings["lora_alpha"] / settings["r"])
        model = _model(config)
        model.load_state_dict(weights)
        super().__init__(folder, model=model)
