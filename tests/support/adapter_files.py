"""Small adapter files of a native checkpoint, made with numpy alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

TASKS = ("retrieval", "text-matching", "code")
LAYERS, HIDDEN, ROWS, RANK, ALPHA = 2, 8, 6, 3, 6
PLACES = (
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)
Tensors = dict[str, np.ndarray]


def bfloat16(values: np.ndarray) -> np.ndarray:
    """Return the upper halves of float32 numbers as uint16, which is how bfloat16 is stored."""
    return (np.asarray(values, dtype="<f4").view("<u4") >> 16).astype("<u2")


def write_safetensors(file: Path, tensors: Mapping[str, np.ndarray]) -> Path:
    """Write a file by the format's page; arrays of uint16 are bfloat16."""
    names = {"uint16": "BF16", "float16": "F16", "float32": "F32", "int64": "I64"}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, values in tensors.items():
        content = values.tobytes()
        offsets = [len(body), len(body) + len(content)]
        header[name] = {"dtype": names[values.dtype.name], "shape": list(values.shape), "data_offsets": offsets}
        body += content
    head = json.dumps(header).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(len(head).to_bytes(8, "little") + head + body)
    return file


def adapter_tensors(seed: int = 0) -> Tensors:
    """Return random adapters of every projection in every layer and of the projector, as float32."""
    random = np.random.default_rng(seed)
    places = [f"model.language_model.layers.{layer}.{place}" for layer in range(LAYERS) for place in PLACES]
    tensors = {}
    for place in [*places, "multi_vector_projector"]:
        rows = HIDDEN if place.startswith("model.") else ROWS
        for task in TASKS:
            for side, shape in (("A", (RANK, HIDDEN)), ("B", (rows, RANK))):
                values = random.normal(size=shape).astype("<f4")
                tensors[f"base_model.model.{place}.lora_{side}.{task}.weight"] = values
    return tensors


def write_native(
    folder: Path,
    change: Callable[[Tensors], object] = lambda tensors: None,
    settings: Mapping[str, Any] | None = None,
    *,
    half: bool = False,
) -> Path:
    """Write a native checkpoint without layers: configuration, adapters as ``change`` leaves them, and a projector."""
    tensors = adapter_tensors()
    change(tensors)
    if half:
        tensors = {name: bfloat16(values) for name, values in tensors.items()}
    write_safetensors(folder / "adapters" / "adapter_model.safetensors", tensors)
    config = {"r": RANK, "lora_alpha": ALPHA, "peft_type": "LORA", "bias": "none", **(settings or {})}
    (folder / "adapters" / "adapter_config.json").write_text(json.dumps(config))
    text = {"num_hidden_layers": LAYERS, "hidden_size": HIDDEN}
    facts = {"architectures": ["JinaEmbeddingsV4Model"], "multi_vector_projector_dim": ROWS, "task_names": TASKS}
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl", "text_config": text, **facts}))
    random = np.random.default_rng(1)
    base = {
        "multi_vector_projector.weight": random.normal(size=(ROWS, HIDDEN)).astype("<f4"),
        "multi_vector_projector.bias": random.normal(size=ROWS).astype("<f4"),
    }
    for number, (name, values) in enumerate(base.items()):
        write_safetensors(folder / f"model-{number}.safetensors", {name: values})
    places = {name: f"model-{number}.safetensors" for number, name in enumerate(base)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder
