"""The recipe of the demo checkpoint: ``python -m training.train OUTPUT_DIR``.

It writes a Qwen2.5-VL checkpoint, and ``training.json`` with how it was made and how well it finds.
It needs torch and transformers, and downloads nothing. It takes minutes with ``--device cuda``, and hours on two cores.
A run that was stopped goes on where it was when the same command is given again.
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

from training.batches import Batch, Batches, Stage
from training.check import lowest, measure_recall
from training.loss import late_interaction_loss, matryoshka_loss
from training.model import (
    IMAGE_PROMPT,
    MATRYOSHKA_DIMS,
    MAX_PIXELS,
    MIN_PIXELS,
    embed_images,
    embed_texts,
    new_image_processor,
    new_model,
)
from training.texts import pieces
from training.tokenizer import train_tokenizer
from vllm_jina_embed.demo.concepts import CONCEPTS

REQUIRED_RECALL = 0.95
_WARM_UP = 50
_SAVE_EVERY = 50
_LEARN = Stage(name="", steps=1200, peak_rate=2e-3, concepts=40, images=2, texts=2)
# Images are known by then; twice the texts beside fewer images set apart names that differ in one word.
_POLISH = Stage(name="polish", steps=300, peak_rate=5e-4, concepts=60, images=1, texts=2, polish=True)
# MaxSim compares token states; without this stage it agrees with the embeddings less than an index can make up for.
# Nothing here draws an item's states together: where they are alike, a wrong mean is right and tests see nothing.
_TOKENS = Stage(
    name="tokens", steps=150, peak_rate=4e-4, concepts=40, images=1, texts=1, late_interaction=1.0, polish=True
)


def main(arguments: list[str] | None = None) -> int:
    """Train, save and measure. Returns 0, or 1 where the checkpoint finds too little."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    tokenizer, image_processor = train_tokenizer(pieces()), new_image_processor()
    steps = (options.steps, options.polish_steps, options.token_steps)
    stages = [replace(stage, steps=count) for stage, count in zip((_LEARN, _POLISH, _TOKENS), steps, strict=True)]
    model, runs = new_model(tokenizer), []
    if options.polished:
        model = type(model).from_pretrained(options.polished, dtype=torch.float32)
        runs, stages = json.loads((options.polished / "training.json").read_text())["stages"][:2], stages[2:]
    model.to(options.device)
    options.output.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        progress = options.output / f"progress-{stage.name or 'learn'}.pt"
        batches = Batches(tokenizer, image_processor, seed=options.seed, stage=stage)
        seconds = train(model, tokenizer, batches, stage, workers=options.workers, progress=progress)
        runs.append({"name": stage.name or "learn", "steps": stage.steps, "seconds": round(seconds)} | _machine(model))
    model.to("cpu")
    save(options.output, model, tokenizer, image_processor)
    for path in options.output.glob("progress-*.pt"):
        path.unlink()
    recall = measure_recall(model, tokenizer, image_processor)
    parameters = sum(weight.numel() for weight in model.parameters())
    record = {"seed": options.seed, "stages": runs, "concepts": len(CONCEPTS), "parameters": parameters}
    record |= {"lowest_recall_at_1": lowest(recall), "recall_at_1": recall}
    (options.output / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))
    if not lowest(recall) >= REQUIRED_RECALL:
        print(f"The lowest recall@1 is {lowest(recall)}; at least {REQUIRED_RECALL} is required.", file=sys.stderr)
        return 1
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the demo checkpoint.")
    parser.add_argument("output", type=Path, help="folder to write the checkpoint to")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--steps", type=int, default=_LEARN.steps, help="steps of the first stage")
    parser.add_argument("--polish-steps", type=int, default=_POLISH.steps, help="steps of the second stage")
    parser.add_argument("--token-steps", type=int, default=_TOKENS.steps, help="steps of the third stage")
    parser.add_argument("--polished", type=Path, help="a checkpoint that has had two stages: do the third alone")
    parser.add_argument("--device", default="cpu", help="where the model learns: cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--workers", type=int, default=1, help="processes that make the batches")
    return parser.parse_args(arguments)


def train(
    model: Any,
    tokenizer: Any,
    batches: Batches,
    stage: Stage,
    *,
    progress: Path,
    workers: int = 1,
    save_every: int = _SAVE_EVERY,
) -> float:
    """Train the model in place through one stage, or through what is left of it.

    Args:
        model: What ``new_model`` gave.
        tokenizer: What ``train_tokenizer`` gave.
        batches: The stage's batches.
        stage: Its steps and its learning rate.
        progress: File that a stopped run goes on from, written now and then.
        workers: Processes that make the batches; 0 makes them in this one.
        save_every: Steps between two writings of ``progress``.

    Returns:
        Seconds that the stage took, those before a stop included.
    """
    optimizer = _optimizer(model, stage.peak_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, stage.steps))
    states = {"model": model, "optimizer": optimizer, "schedule": schedule}
    done, seconds = _resume(states, progress, model.device)
    prompt = tokenizer(IMAGE_PROMPT, add_special_tokens=False)["input_ids"]
    # Other processes draw while this one learns; a batch depends on its number alone, so the order is fixed.
    left = torch.utils.data.Subset(batches, range(done, stage.steps))
    ahead = {"num_workers": workers, "prefetch_factor": 2} if workers else {}
    loader = torch.utils.data.DataLoader(left, batch_size=None, shuffle=False, **ahead)
    started = time.monotonic() - seconds
    model.train()
    for step, batch in enumerate(loader, done + 1):
        loss = _learn(model, prompt, batch, stage.late_interaction, optimizer)
        schedule.step()
        seconds = time.monotonic() - started
        if step % 10 == 0 or step == stage.steps:
            print(f"{stage.name} {step}/{stage.steps}  loss {loss:.3f}  {seconds:.0f} s", flush=True)
        if step % save_every == 0 or step == stage.steps:
            saved = {name: state.state_dict() for name, state in states.items()}
            torch.save(saved | {"done": step, "seconds": seconds}, progress)
    return seconds


def _optimizer(model: Any, peak_rate: float) -> torch.optim.Optimizer:
    norms = [weight for weight in model.parameters() if weight.ndim == 1]
    others = [weight for weight in model.parameters() if weight.ndim > 1]
    groups = [{"params": others, "weight_decay": 0.05}, {"params": norms, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=peak_rate, betas=(0.9, 0.98))


def _resume(states: dict[str, Any], progress: Path, device: torch.device) -> tuple[int, float]:
    """Put the states back to where a stopped run saved them; return its steps and seconds."""
    if not progress.exists():
        return 0, 0.0
    saved = torch.load(progress, map_location=device)
    for name, state in states.items():
        state.load_state_dict(saved[name])
    return saved["done"], saved["seconds"]


def _learn(
    model: Any, prompt: list[int], batch: Batch, late_interaction: float, optimizer: torch.optim.Optimizer
) -> float:
    images = embed_images(model, prompt, batch.patches, batch.grids)
    texts = embed_texts(model, batch.text_ids)
    text_labels, image_labels = batch.text_labels.to(model.device), batch.image_labels.to(model.device)
    loss = matryoshka_loss(texts.vectors, text_labels, images.vectors, image_labels, MATRYOSHKA_DIMS)
    if late_interaction:
        multi_vectors = texts.multi_vectors, text_labels, images.multi_vectors, image_labels
        loss = loss + late_interaction * late_interaction_loss(*multi_vectors)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


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


def _machine(model: Any) -> dict[str, str]:
    """Where the model learned, and by which versions."""
    return {
        "device": torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else model.device.type,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _rate(step: int, steps: int) -> float:
    """Share of the peak learning rate: up in a line, down in half a cosine."""
    if step < _WARM_UP:
        return (step + 1) / _WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (step - _WARM_UP) / max(1, steps - _WARM_UP))


if __name__ == "__main__":
    sys.exit(main())
