"""The recipe of the demo checkpoint: ``python -m vllm_jina_embed.demo.train OUTPUT_DIR``.

Enters: a seed. Leaves: a folder with a Qwen2.5-VL checkpoint, and ``training.json`` with how well it finds.
Needs torch and transformers; no download. It takes 20 to 30 minutes on two cores.
"""

import argparse
import json
import math
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch
import transformers

from vllm_jina_embed.demo.concepts import CONCEPTS
from vllm_jina_embed.demo.recipe.batches import Batches
from vllm_jina_embed.demo.recipe.check import lowest, measure_recall
from vllm_jina_embed.demo.recipe.loss import matryoshka_loss
from vllm_jina_embed.demo.recipe.model import (
    IMAGE_PROMPT,
    MATRYOSHKA_DIMS,
    MAX_PIXELS,
    MIN_PIXELS,
    embed_pictures,
    embed_texts,
    new_image_processor,
    new_model,
)
from vllm_jina_embed.demo.recipe.texts import pieces
from vllm_jina_embed.demo.recipe.tokenizer import train_tokenizer

REQUIRED_RECALL = 0.95
_PEAK_RATE = 2e-3
_WARM_UP = 50


def main(arguments: list[str] | None = None) -> int:
    """Train, save and measure. Returns 0, or 1 where the checkpoint finds too little."""
    parser = argparse.ArgumentParser(description="Train the demo checkpoint.")
    parser.add_argument("output", type=Path, help="folder to write the checkpoint to")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1, help="torch threads; one more process makes the batches")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    started = time.monotonic()
    tokenizer, image_processor = train_tokenizer(pieces()), new_image_processor()
    model = new_model(tokenizer)
    train(model, tokenizer, Batches(tokenizer, image_processor, seed=options.seed, steps=options.steps))
    seconds = round(time.monotonic() - started)
    save(options.output, model, tokenizer, image_processor)
    recall = measure_recall(model, tokenizer, image_processor)
    worst = lowest(recall)
    record = {
        "seed": options.seed,
        "steps": options.steps,
        "seconds": seconds,
        "concepts": len(CONCEPTS),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "lowest_recall_at_1": worst,
        "recall_at_1": recall,
    }
    (options.output / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))
    if worst < REQUIRED_RECALL:
        print(f"The lowest recall@1 is {worst}; at least {REQUIRED_RECALL} is required.", file=sys.stderr)
        return 1
    return 0


def train(model: Any, tokenizer: Any, batches: Batches) -> None:
    """Train the model in place."""
    steps = len(batches)
    norms = [weight for weight in model.parameters() if weight.ndim == 1]
    others = [weight for weight in model.parameters() if weight.ndim > 1]
    groups = [{"params": others, "weight_decay": 0.05}, {"params": norms, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=_PEAK_RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    prompt = tokenizer(IMAGE_PROMPT, add_special_tokens=False)["input_ids"]
    # One process draws while this one learns; a batch depends on its number alone, so the order is fixed.
    loader = torch.utils.data.DataLoader(batches, batch_size=None, shuffle=False, num_workers=1, prefetch_factor=2)
    started = time.monotonic()
    model.train()
    for step, batch in enumerate(loader, 1):
        pictures = embed_pictures(model, prompt, batch.patches, batch.grids)
        texts = embed_texts(model, batch.text_ids)
        loss = matryoshka_loss(texts, batch.text_labels, pictures, batch.picture_labels, MATRYOSHKA_DIMS)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 10 == 0 or step == steps:
            print(f"step {step}/{steps}  loss {loss.item():.3f}  {time.monotonic() - started:.0f} s", flush=True)


def save(folder: Path, model: Any, tokenizer: Any, image_processor: Any) -> None:
    """Write the checkpoint's files, weights as float32."""
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    # transformers 5 writes the bounds as `size` alone; transformers 4 and the published checkpoints have both names.
    bounds = {"min_pixels": MIN_PIXELS, "max_pixels": MAX_PIXELS}
    path.write_text(json.dumps(json.loads(path.read_text()) | bounds, indent=2) + "\n")


def _rate(step: int, steps: int) -> float:
    """Share of the peak learning rate: up in a line, down in half a cosine."""
    if step < _WARM_UP:
        return (step + 1) / _WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (step - _WARM_UP) / max(1, steps - _WARM_UP))


if __name__ == "__main__":
    sys.exit(main())
