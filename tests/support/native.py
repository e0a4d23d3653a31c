"""Checkpoints in the layout of jinaai/jina-embeddings-v4 itself, and what transformers gives for each task.

Layout: two shards whose names have no ``language_model``, no lm_head, a projector with a bias, one adapter file with
the task inside each name, a config.json that points to remote code. Written apart from the package: the reference adds
``B A * alpha / r`` to the loaded weights by itself. Source: custom_lora_module.py and modeling_jina_embeddings_v4.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from tests.support.checkpoints import Size, preprocessor_config, qwen_config, tokenizer_config, write_json
from tests.support.reference import Reference
from tests.support.tokenizer import SPECIAL, make_tokenizer

TASKS = ("retrieval", "text-matching", "code")
TOKEN_DIMENSIONS = 48
RANK, ALPHA = 4, 12
DEFAULT = Size()
ATTENTION, MLP = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
NAME, PROCESSOR = "jina_embeddings_v4", "JinaEmbeddingsV4Processor"


def make_native(folder: Path, size: Size = DEFAULT, *, seed: int = 0) -> Path:
    """Write a random native checkpoint; its final norm is log-normal and its tasks differ clearly."""
    config = write_configuration(folder, size, rank=RANK, alpha=ALPHA)
    torch.manual_seed(seed)
    dtype = getattr(torch, size.dtype)
    _write_shards(folder, _base_weights(config), dtype)
    save_file({k: v.to(dtype) for k, v in _adapters(config).items()}, folder / "adapters/adapter_model.safetensors")
    return folder


def write_configuration(
    folder: Path,
    size: Size,
    *,
    rank: int,
    alpha: int,
    token_dimensions: int = TOKEN_DIMENSIONS,
    shorter: Sequence[int] = (32, 64),
    vocabulary: int | None = None,
) -> Qwen2_5_VLConfig:
    """Write every file of a native checkpoint but its weights, and return the model's configuration.

    Args:
        folder: It is made.
        size: The model's.
        rank: Of the adapters.
        alpha: Of the adapters.
        token_dimensions: Length of a multi-vector's rows.
        shorter: Matryoshka sizes beside the full one.
        vocabulary: Rows of the table of embeddings; by default as many as the tokenizer has tokens.
    """
    (folder / "adapters").mkdir(parents=True)
    config = write_tokenizer(folder, size, vocabulary)
    write_json(folder / "adapters/adapter_config.json", adapter_config(rank, alpha))
    content = published_config(config, size, token_dimensions=token_dimensions, shorter=shorter)
    write_json(folder / "config.json", content)
    remote = {"processor_class": PROCESSOR}
    own = {"min_pixels": 3136, "max_pixels": 602112, "auto_map": {"AutoProcessor": f"modeling_{NAME}.{PROCESSOR}"}}
    write_json(folder / "preprocessor_config.json", {**preprocessor_config(), **remote, **own})
    write_json(folder / "tokenizer_config.json", {**tokenizer_config(), **remote})
    return config


def write_tokenizer(folder: Path, size: Size, vocabulary: int | None = None) -> Qwen2_5_VLConfig:
    """Write the tests' tokenizer, and return a model's configuration with its special tokens."""
    tokenizer = make_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL}
    return qwen_config(size, ids, vocabulary or tokenizer.get_vocab_size())


def _base_weights(config: Qwen2_5_VLConfig) -> dict[str, torch.Tensor]:
    """Return random weights under the names of the published shards."""
    model = Qwen2_5_VLForConditionalGeneration(config)
    norm = model.model.language_model.norm.weight
    torch.nn.init.normal_(norm, std=1.5)
    norm.data.exp_()
    weights = {
        name.replace("model.language_model.", "model.").replace("model.visual.", "visual."): value.detach().clone()
        for name, value in model.state_dict().items()
        if not name.startswith("lm_head")
    }
    for name, value in weights.items():
        if name.endswith(".bias"):  # of q, k, v and the vision tower: zero where a model is new
            torch.nn.init.normal_(value, std=0.1)
    hidden = config.get_text_config().hidden_size
    weights["multi_vector_projector.weight"] = torch.randn(TOKEN_DIMENSIONS, hidden) / hidden**0.5
    weights["multi_vector_projector.bias"] = 3 * torch.randn(TOKEN_DIMENSIONS)
    return weights


def _write_shards(folder: Path, weights: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    names = sorted(weights)
    half = len(names) // 2
    places = {name: SHARDS[index >= half] for index, name in enumerate(names)}
    for shard in SHARDS:
        content = {name: weights[name].to(dtype).contiguous() for name in names if places[name] == shard}
        save_file(content, folder / shard, metadata={"format": "pt"})
    total = sum(value.numel() for value in weights.values()) * dtype.itemsize
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": places})


def adapter_shapes(config: Qwen2_5_VLConfig, token_dimensions: int) -> dict[str, tuple[int, int]]:
    """Return the shape of each weight that has an adapter, by its name inside the published adapter file."""
    text = config.get_text_config()
    head = text.hidden_size // text.num_attention_heads
    narrow = head * text.num_key_value_heads
    inner = text.intermediate_size
    shapes = {"q_proj": (text.hidden_size,) * 2, "o_proj": (text.hidden_size,) * 2}
    shapes |= dict.fromkeys(("k_proj", "v_proj"), (narrow, text.hidden_size))
    shapes |= dict.fromkeys(("gate_proj", "up_proj"), (inner, text.hidden_size))
    shapes |= {"down_proj": (text.hidden_size, inner)}
    places = {
        f"model.language_model.layers.{layer}.{block}.{name}": shapes[name]
        for layer in range(text.num_hidden_layers)
        for block, names in (("self_attn", ATTENTION), ("mlp", MLP))
        for name in names
    }
    return {**places, "multi_vector_projector": (token_dimensions, text.hidden_size)}


def _adapters(config: Qwen2_5_VLConfig) -> dict[str, torch.Tensor]:
    tensors = {}
    for place, (rows, columns) in adapter_shapes(config, TOKEN_DIMENSIONS).items():
        for task in TASKS:
            tensors[f"base_model.model.{place}.lora_A.{task}.weight"] = torch.randn(RANK, columns) / columns**0.5
            tensors[f"base_model.model.{place}.lora_B.{task}.weight"] = 0.04 * torch.randn(rows, RANK)
    return tensors


def adapter_config(rank: int, alpha: int) -> dict[str, object]:
    return {
        "base_model_name_or_path": "jinaai/jina-embeddings-v4",
        "bias": "none",
        "exclude_modules": ".*visual.*",
        "init_lora_weights": "gaussian",
        "lora_alpha": alpha,
        "lora_dropout": 0.1,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": {},
        "target_modules": "(.*(model).*(down_proj|gate_proj|up_proj|k_proj|q_proj|v_proj|o_proj).*$"
        "|.*(single_vector_projector|multi_vector_projector).*$)",
        "task_type": "FEATURE_EXTRACTION",
        "use_dora": False,
        "use_rslora": False,
    }


def published_config(
    config: Qwen2_5_VLConfig, size: Size, *, token_dimensions: int = TOKEN_DIMENSIONS, shorter: Sequence[int] = (32, 64)
) -> dict[str, object]:
    """Return config.json as the published one is written: old names of rope, own keys, remote code."""
    content = json.loads(config.to_json_string(use_diff=False))
    text = content["text_config"]
    rope = text.pop("rope_parameters")
    text["rope_theta"] = rope.pop("rope_theta")
    text["rope_scaling"] = {"mrope_section": rope["mrope_section"], "rope_type": "default", "type": "default"}
    return {
        **content,
        "architectures": ["JinaEmbeddingsV4Model"],
        "auto_map": {
            "AutoConfig": f"configuration_{NAME}.JinaEmbeddingsV4Config",
            "AutoModel": f"modeling_{NAME}.JinaEmbeddingsV4Model",
        },
        "matryoshka_dims": [*shorter, size.hidden],
        "multi_vector_projector_dim": token_dimensions,
        "single_vector_pool_strategy": "mean",
        "task_names": list(TASKS),
        "torch_dtype": size.dtype,
        "truncate_dim": None,
        "verbosity": 1,
    }


def read_shards(folder: Path) -> dict[str, torch.Tensor]:
    """Return every weight of the shards, under its published name."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    weights: dict[str, torch.Tensor] = {}
    for shard in sorted(set(index["weight_map"].values())):
        weights |= load_file(folder / shard)
    return weights


def read_adapter(folder: Path, task: str) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return one task's ``B`` and ``A`` by the place of their weight, as the adapter file names it."""
    tensors = load_file(folder / "adapters/adapter_model.safetensors")
    pairs = {}
    for name, low in tensors.items():
        if f".lora_A.{task}." in name:
            high = tensors[name.replace(".lora_A.", ".lora_B.")]
            pairs[name.removeprefix("base_model.model.").split(".lora_A.")[0]] = high, low
    return pairs


def named_for_transformers(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return published weights, without the projector, under the names of transformers."""
    return {
        f"model.{name}" if name.startswith("visual.") else name.replace("model.", "model.language_model.", 1): value
        for name, value in weights.items()
    }


class NativeReference(Reference):
    """One task of a native checkpoint in transformers, float32, its adapter added to the weights."""

    def __init__(self, folder: Path, task: str, *, scale: float | None = None, device: str = "cpu") -> None:
        settings = json.loads((folder / "adapters/adapter_config.json").read_text())
        self.task, self.scale = task, settings["lora_alpha"] / settings["r"] if scale is None else scale
        super().__init__(folder, device=device)

    def load(self, folder: Path) -> Qwen2_5_VLForConditionalGeneration:
        """Return the model with this task's adapter; keeps the projector, adapter added."""
        weights = {name: value.to(self.device).float() for name, value in read_shards(folder).items()}
        for place, (high, low) in read_adapter(folder, self.task).items():
            added = high.to(self.device).float() @ low.to(self.device).float() * self.scale
            weights[f"{place.replace('.language_model.', '.')}.weight"] += added
        self.projector = tuple(weights.pop(f"multi_vector_projector.{part}").cpu() for part in ("weight", "bias"))
        with self.device:
            model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig.from_pretrained(folder)).float()
        result = model.load_state_dict(named_for_transformers(weights), strict=False)
        assert result.missing_keys == ["lm_head.weight"], result
        assert not result.unexpected_keys, result
        return model

    @torch.inference_mode()
    def multi_vector(self, item: str | Image.Image | Sequence[Image.Image]) -> np.ndarray:
        """Return the rows ``(n, token_dimensions)`` of every token of a whole prompt."""
        weight, bias = self.projector
        states = self.token_states(item)[1]
        return torch.nn.functional.normalize(states @ weight.T + bias, dim=-1).numpy()
