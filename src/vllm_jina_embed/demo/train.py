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
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers

from vllm_jina_embed.demo.concepts import CONCEPTS
from vllm_jina_embed.demo.recipe.batches import Batches, Stage
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
_WARM_UP = 50
_LEARN = Stage(name="", steps=1000, peak_rate=2e-3, concepts=40, pictures=2, texts=1)
# Pictures are known by then; twice the texts beside fewer pictures set apart names that differ in one word.
_POLISH = Stage(name="polish", steps=250, peak_rate=5e-4, concepts=60, pictures=1, texts=2, polish=True)


def main(arguments: list[str] | None = None) -> int:
    """Train, save and measure. Returns 0, or 1 where the checkpoint finds too little."""
    parser = argparse.ArgumentParser(description="Train the demo checkpoint.")
    parser.add_argument("output", type=Path, help="folder to write the checkpoint to")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--steps", type=int, default=_LEARN.steps, help="steps of the first stage")
    parser.add_argument("--polish-steps", type=int, default=_POLISH.steps, help="steps of the second stage")
    parser.add_argument("--learned", type=Path, help="a checkpoint that has had the first stage: do the second alone")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; one more process makes the batches")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    started = time.monotonic()
    tokenizer, image_processor = train_tokenizer(pieces()), new_image_processor()
    model = new_model(tokenizer)
    learn, polish = replace(_LEARN, steps=options.steps), replace(_POLISH, steps=options.polish_steps)
    if options.learned:
        model = type(model).from_pretrained(options.learned, dtype=torch.float32)
    for stage in (polish,) if options.learned else (learn, polish):
        train(model, tokenizer, image_processor, stage, seed=options.seed)
    seconds = round(time.monotonic() - started) + (_seconds_of(options.learned) if options.learned else 0)
    save(options.output, model, tokenizer, image_processor)
    recall = measure_recall(model, tokenizer, image_processor)
    worst = lowest(recall)
    record = {
        "seed": options.seed,
        "steps": [options.steps, options.polish_steps],
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
    if not worst >= REQUIRED_RECALL:
        print(f"The lowest recall@1 is {worst}; at least {REQUIRED_RECALL} is required.", file=sys.stderr)
        return 1
    return 0


def train(model: Any, tokenizer: Any, image_processor: Any, stage: Stage, *, seed: int) -> None:
    """Train the model in place through one stage."""
    batches, steps = Batches(tokenizer, image_processor, seed=seed, stage=stage), stage.steps
    norms = [weight for weight in model.parameters() if weight.ndim == 1]
    others = [weight for weight in model.parameters() if weight.ndim > 1]
    groups = [{"params": others, "weight_decay": 0.05}, {"params": norms, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=stage.peak_rate, betas=(0.9, 0.98))
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


def _seconds_of(folder: Path) -> int:
    """What an earlier stage took, as its record says."""
    return int(json.loads((folder / "training.json").read_text())["seconds"])


def _rate(step: int, steps: int) -> float:
    """Share of the peak learning rate: up in a line, down in half a cosine."""
    if step < _WARM_UP:
        return (step + 1) / _WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (step - _WARM_UP) / max(1, steps - _WARM_UP))


if __name__ == "__main__":
    sys.exit(main())
