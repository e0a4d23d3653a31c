"""What vLLM gives by itself for vision-language models, without this package: other vectors, and no error.

Each gap is 1 - cosine to the model's own code on transformers; ours is under 1e-5 for the same item.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from tests.support.col_pali import PATCHES, SIDE, ColPaliReference, make_col_pali
from tests.support.col_qwen3 import HIGH, LOW, ColQwen3Reference, make_col_qwen3
from tests.support.images import noise
from tests.support.qwen2_vl import FRAME, Qwen2VlReference, make_qwen2_vl
from tests.support.qwen3_vl import RETRIEVE, Qwen3VlReference, make_qwen3_vl
from tests.support.reference import IMAGE, distance
from tests.support.vision import given
from tests.support.xlm_roberta import unit
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.errors import ConfigError

pytestmark = [pytest.mark.real, pytest.mark.models]

GATE = 1e-5
TEXT, SHOWN = "Ein wunderschöner Sonnenuntergang am Strand", noise(300, 200, 1)
SCRIPT = """
import json, sys
from PIL import Image
from vllm import LLM

IMAGES = ("<|image_pad|>", "Describe the image.")

if __name__ == "__main__":
    folder, image = sys.argv[1], Image.open(sys.argv[2])
    prompts, size = map(json.loads, sys.argv[3:5])
    llm = LLM(
        model=folder, runner="pooling", dtype="float32", enforce_eager=True, max_model_len=1800,
        limit_mm_per_prompt={"video": 0}, mm_processor_kwargs={"size": size}, mm_processor_cache_gb=0,
        kv_cache_memory_bytes=2**28,
    )
    inputs = [
        {"prompt": prompt, **({"multi_modal_data": {"image": image}} if any(one in prompt for one in IMAGES) else {})}
        for prompt in prompts
    ]
    if sys.argv[5:]:
        outputs = llm.encode(inputs, pooling_task=sys.argv[5], use_tqdm=False)
        vectors = [output.outputs.data.tolist() for output in outputs]
    else:
        vectors = [output.outputs.embedding for output in llm.embed(inputs, use_tqdm=False)]
    print("VECTORS", json.dumps(vectors))
"""


def bare(folder: Path, prompts: list[str], size: dict[str, int], *task: str) -> list[np.ndarray]:
    """Return what ``LLM.embed`` gives for prompts of a checkpoint, or ``LLM.encode`` for a task.

    Each prompt has the image if it has a place for one.
    """
    SHOWN.save(folder.parent / "image.png")
    (folder.parent / "bare.py").write_text(SCRIPT)
    command = [sys.executable, "bare.py", str(folder), "image.png", json.dumps(prompts), json.dumps(size), *task]
    quiet = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_PLUGINS": "", "VLLM_NO_USAGE_STATS": "1"}
    done = subprocess.run(
        command, cwd=folder.parent, env=os.environ | quiet, capture_output=True, text=True, timeout=600, check=False
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("VECTORS ")] or [done.stderr[-2000:]]
    return [np.array(one, dtype=np.float32) for one in json.loads(line.removeprefix("VECTORS "))]


def ours(folder: Path, items: list[Any]) -> np.ndarray:
    with JinaEmbedder(folder, engine_kwargs={"dtype": "float32"}) as embedder:
        return embedder.embed(items, prompt_name="query")


def test_qwen3_vl_embedding_without_its_chat(tmp_path: Path) -> None:
    """vLLM puts no chat around a prompt, and its example once sent the bare text and the bare image."""
    folder = make_qwen3_vl(tmp_path / "Qwen3-VL-Embedding-2B")
    reference = Qwen3VlReference(folder)
    right = np.stack(
        [
            reference.embed(reference.prompt(text, len(images), RETRIEVE), images)
            for text, images in ((TEXT, []), (None, [SHOWN]))
        ]
    )
    prompts = bare(folder, [TEXT, IMAGE], {"shortest_edge": 4096, "longest_edge": 1843200})
    gaps = [distance(one, other) for one, other in zip(prompts, right, strict=True)]
    own = distance(ours(folder, [TEXT, SHOWN]), right)
    print(f"bare text {gaps[0]:.2f}, bare image {gaps[1]:.2f}, ours {own:.1e}")
    assert min(gaps) > 1000 * GATE
    assert own <= GATE


def test_col_qwen3_without_its_bias(tmp_path: Path) -> None:
    """vLLM builds the projector without it, and passes over the tensor; with one of no bias it would be right."""
    folder = make_col_qwen3(tmp_path / "tomoro-colqwen3-embed-4b")
    reference = ColQwen3Reference(folder)
    prompts = [reference.prompt(TEXT), reference.prompt(None, 1)]
    states = [reference.states(prompts[0]), reference.states(prompts[1], [SHOWN])]
    right = [reference.projected(one) for one in states]
    theirs = bare(folder, prompts, {"shortest_edge": LOW, "longest_edge": HIGH}, "token_embed")
    gaps = [distance(one, other) for one, other in zip(theirs, right, strict=True)]
    with JinaEmbedder(folder, engine_kwargs={"dtype": "float32"}) as embedder:
        own = max(map(distance, embedder.embed_multi_vector([TEXT, SHOWN]), right))
    print(f"ColQwen3: vLLM's text {gaps[0]:.2f}, image {gaps[1]:.2f}, ours {own:.1e}")
    assert min(gaps) > 1000 * GATE
    assert (
        max(distance(one, unit(other @ reference.weight.T)) for one, other in zip(theirs, states, strict=True)) <= GATE
    )
    assert own <= GATE


def test_col_pali_causally_and_without_its_bias(tmp_path: Path) -> None:
    """No argument of vLLM's mends it, so this package refuses it before an engine starts."""
    folder = make_col_pali(tmp_path / "colpali-v1.3-hf")
    reference, tokenizer = ColPaliReference(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    query, instruction = f"<bos>Question: {TEXT}{'<pad>' * 10}\n", "Describe the image.\n"
    theirs = bare(folder, [query, instruction], {"height": SIDE, "width": SIDE}, "token_embed")
    right = [
        reference.multi_vector(tokenizer.encode(query).ids),
        reference.multi_vector(tokenizer.encode(f"{'<image>' * PATCHES}<bos>{instruction}").ids, [SHOWN]),
    ]
    gaps = [distance(one, other) for one, other in zip(theirs, right, strict=True)]
    print(f"ColPali: vLLM's text {gaps[0]:.2f}, image {gaps[1]:.2f}")
    assert min(gaps) > 1000 * GATE
    assert distance(theirs[0], reference.causal(tokenizer.encode(query).ids)) <= GATE
    with pytest.raises(ConfigError, match=r"causally, where it was trained with attention to both sides.*Use Tomoro"):
        JinaEmbedder(folder)


@pytest.mark.parametrize(
    ("name", "prompt", "least", "fetches"),
    [
        ("gme-Qwen2-VL-2B-Instruct", FRAME.format(IMAGE + TEXT), 256, True),
        (
            "VLM2Vec-Qwen2VL-2B",
            f"<|image_pad|> Represent the given image with the following question: {TEXT}",
            4,
            False,
        ),
    ],
)
def test_positions_on_a_grid_where_none_was_trained(
    tmp_path: Path, name: str, prompt: str, least: int, fetches: bool
) -> None:
    """The right prompt, and an image whose size the processor keeps: only the positions of its patches differ."""
    folder = make_qwen2_vl(tmp_path / name)
    low, high = least * 28**2, 1280 * 28**2
    reference = Qwen2VlReference(folder, low=low, high=high, fetches=fetches, in_line=True)
    right = reference.embed(prompt, [SHOWN])
    (vector,) = bare(folder, [prompt], {"shortest_edge": low, "longest_edge": high})
    on_a_grid = reference.embed(prompt, [SHOWN], in_line=False)
    (own,) = ours(folder, [given(TEXT, [SHOWN])])
    print(f"{name}: vLLM's {distance(vector, right):.1e}, ours {distance(own, right):.1e}")
    assert distance(vector, right) > 100 * GATE
    if not fetches:  # else the sizes differ too
        assert distance(vector, on_a_grid) <= GATE
    assert distance(own, right) <= GATE
