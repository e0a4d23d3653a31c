"""`python -m benchmarks.whole_size FOLDER [--merged]`: a random checkpoint of the published layout and size.

It is written tensor by tensor. Layout and sizes: config.json, the header of the two shards and the adapter file of
jinaai/jina-embeddings-v4. Its tokenizer is the tests' small one: the table of embeddings has its 151,936 rows, of
which the first 600 are asked for.
"""

from __future__ import annotations

import argparse
import json
import math
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from tests.support.checkpoints import Size, preprocessor_config, tokenizer_config, write_json
from tests.support.native import SHARDS, TASKS, adapter_shapes, write_configuration, write_tokenizer
from tests.support.reference import device

PUBLISHED = Size(
    hidden=2048,
    layers=36,
    heads=16,
    kv_heads=2,
    intermediate=11008,
    vision_hidden=1280,
    vision_layers=32,
    vision_heads=16,
    vision_intermediate=3420,
    max_length=128000,
    dtype="bfloat16",
)
VOCABULARY = 151936
TOKEN_DIMENSIONS = 128
RANK = ALPHA = 32
SHORTER = (128, 256, 512, 1024)

Shapes = dict[str, tuple[int, ...]]


def write_whole_size(folder: Path, *, native: bool, size: Size = PUBLISHED, device: str = "cpu") -> Path:
    """Write the checkpoint, native or merged for one task; random numbers are made on ``device``."""
    if native:
        config = write_configuration(
            folder, size, rank=RANK, alpha=ALPHA, token_dimensions=TOKEN_DIMENSIONS, shorter=SHORTER,
            vocabulary=VOCABULARY,
        )  # fmt: skip
        low = {
            f"base_model.model.{place}.lora_{side}.{task}.weight": shape
            for place, (rows, columns) in adapter_shapes(config, TOKEN_DIMENSIONS).items()
            for task in TASKS
            for side, shape in (("A", (RANK, columns)), ("B", (rows, RANK)))
        }
        write_tensors(folder / "adapters/adapter_model.safetensors", low, device)
    else:
        folder.mkdir(parents=True)
        config = write_tokenizer(folder, size, VOCABULARY)
        content = {**config.to_dict(), "architectures": ["Qwen2_5_VLForConditionalGeneration"], "dtype": size.dtype}
        write_json(folder / "config.json", content)
        write_json(folder / "preprocessor_config.json", preprocessor_config())
        write_json(folder / "tokenizer_config.json", tokenizer_config())
    _write_shards(folder, _shapes(config, native=native), device)
    return folder


def _shapes(config: Qwen2_5_VLConfig, *, native: bool) -> Shapes:
    """Return the shape of every tensor under its published name."""
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    shapes = {
        name.replace("model.language_model.", "model.").replace("model.visual.", "visual."): tuple(value.shape)
        for name, value in model.state_dict().items()
        if not name.startswith("lm_head")
    }
    if native:
        shapes["multi_vector_projector.weight"] = TOKEN_DIMENSIONS, config.get_text_config().hidden_size
        shapes["multi_vector_projector.bias"] = (TOKEN_DIMENSIONS,)
    return shapes


def _write_shards(folder: Path, shapes: Shapes, device: str) -> None:
    names, total = sorted(shapes), sum(math.prod(shape) for shape in shapes.values())
    places, seen = {}, 0
    for name in names:
        seen += math.prod(shapes[name])
        places[name] = SHARDS[seen > 2 * total / 3]
    for shard in SHARDS:
        write_tensors(folder / shard, {name: shapes[name] for name in names if places[name] == shard}, device)
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": 2 * total}, "weight_map": places})


def write_tensors(path: Path, shapes: Shapes, device: str) -> None:
    """Write a file of safetensors in bfloat16, one tensor in memory at a time. Source: the format's README."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for name, shape in shapes.items():
        end = begin + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in _random(shapes, device):
            file.write(memoryview(tensor.view(torch.int16).numpy()).cast("B"))


def _random(shapes: Shapes, device: str) -> Iterable[torch.Tensor]:
    """Yield the values: weights as a new model has them, a final norm that is log-normal, so that wrong means show."""
    for name, shape in shapes.items():
        generator = torch.Generator(device).manual_seed(zlib.crc32(name.encode()))
        values = torch.randn(shape, generator=generator, device=device)
        if name == "model.norm.weight":
            values = torch.exp(1.5 * values)
        elif "norm" in name and name.endswith("weight"):
            values = torch.ones_like(values)
        elif name.endswith(".bias"):
            values *= 0.1
        elif ".lora_B." in name:
            values *= 0.01
        elif ".lora_A." in name or name.startswith("multi_vector_projector"):
            values /= shape[-1] ** 0.5
        else:
            values *= 0.02
        yield values.to(torch.bfloat16).cpu()


def main() -> None:
    """Write one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--merged", action="store_true", help="one task's weights, as vLLM takes them without adapters")
    wanted = parser.parse_args()
    write_whole_size(wanted.folder, native=not wanted.merged, device=device())


if __name__ == "__main__":
    main()
