"""The checkpoints of the measurements: the demo, and random ones made on the spot."""

from __future__ import annotations

from pathlib import Path

from benchmarks.whole_size import write_whole_size
from tests.support.checkpoints import Size, make_checkpoint
from tests.support.reference import device
from vllm_jina_embed.checkpoints.description import DEMO_FOLDER

SIZES = {
    "45M": Size(
        hidden=512,
        layers=8,
        heads=8,
        kv_heads=2,
        intermediate=2048,
        vision_hidden=384,
        vision_layers=6,
        vision_heads=6,
        vision_intermediate=1024,
        dtype="bfloat16",
    ),
    "wide": Size(
        hidden=2048,
        layers=1,
        heads=16,
        kv_heads=2,
        intermediate=2048,
        vision_hidden=128,
        vision_layers=1,
        vision_heads=4,
        dtype="bfloat16",
    ),
}


def folder(name: str, cache: Path) -> Path:
    """Return the folder of a checkpoint, made where it is missing."""
    if name == "demo":
        return DEMO_FOLDER
    target = cache / name
    if name == "whole":
        return target if target.exists() else write_whole_size(target, native=False, device=device())
    return target if (target / "config.json").exists() else make_checkpoint(target, SIZES[name])


def dtype(name: str) -> str:
    """Return the dtype that every contestant computes in."""
    return "float32" if name == "demo" else "bfloat16"
