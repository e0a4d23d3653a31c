"""`make rehearsal`: the published size on this machine, checked against transformers. For releases; takes minutes.

Writes a random checkpoint of exactly the published layout and size, computes every task, size and kind of vector in
bfloat16, and compares with a float32 reference that widens one module at a time, so that 24 GiB of memory are enough.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from benchmarks.machine import machine
from benchmarks.processes import peak_memory
from benchmarks.whole_size import write_whole_size
from tests.support.images import noise
from tests.support.native import NativeReference, named_for_transformers, read_adapter, read_shards
from tests.support.reference import device, distance
from tests.support.weights import WORST_ROW, compute, distances, report

GATE = 1e-3
"""Largest 1 - cosine of a vector, and of the mean over a multi-vector's rows."""
ROW_GATE = 5e-3
"""The same of a single row."""
ITEMS = [
    "Ein wunderschöner Sonnenuntergang am Strand",
    noise(448, 336, 1),
    "浜辺に沈む美しい夕日",
    noise(40, 60, 3),
    "def add(a, b):\n    return a + b",
    "the quick brown fox " * 12,
]
"""Short and small: two cores without bfloat16 take a minute for them. Of the first, every size is computed."""
APART = 10
"""How many times ``GATE`` the tasks must differ by, or one task's vectors could pass for another's."""
Result = TypeVar("Result")


class WideningReference(NativeReference):
    """The same as ``NativeReference``, with weights in bfloat16 that each module widens while it computes.

    The states of the last item are kept: both kinds of vectors come from them.
    """

    last: tuple[Any, tuple[torch.Tensor, torch.Tensor]] = (None, (torch.empty(0), torch.empty(0)))

    def token_states(self, item: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return token ids and states, as ``NativeReference`` does."""
        if item is not self.last[0]:
            self.last = item, super().token_states(item)
        return self.last[1]

    def load(self, folder: Path) -> Qwen2_5_VLForConditionalGeneration:
        """Return the model with hooks; keeps the projector, adapter added."""
        weights = read_shards(folder)
        added = {
            place: partial(_product, high, low, self.scale)
            for place, (high, low) in read_adapter(folder, self.task).items()
        }
        weight, bias = (weights.pop(f"multi_vector_projector.{part}").float() for part in ("weight", "bias"))
        self.projector = weight + added.pop("multi_vector_projector")(), bias
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            None,
            config=Qwen2_5_VLConfig.from_pretrained(folder),
            state_dict=named_for_transformers(weights),
            dtype=torch.bfloat16,
        )
        model.model.visual.patch_embed.float()  # small; transformers gives pixels and patches the dtype of its weight
        for name, module in model.model.named_modules():
            if any(True for _ in module.parameters(recurse=False)):
                _widen(module, added.pop(f"model.{name}", None))
        assert not added, f"adapters without a weight: {sorted(added)}"
        return model


def _product(high: torch.Tensor, low: torch.Tensor, scale: float) -> torch.Tensor:
    return high.float() @ low.float() * scale


def _widen(module: torch.nn.Module, added: Callable[[], torch.Tensor] | None) -> None:
    """Let the module compute in float32, its adapter added, and forget that afterwards."""
    narrow = {name: value.data for name, value in module.named_parameters(recurse=False)}

    def before(module: torch.nn.Module, _: Any) -> None:
        for name, value in narrow.items():
            wide = value.float()
            module.get_parameter(name).data = wide + added() if added and name == "weight" else wide

    def after(module: torch.nn.Module, *_: Any) -> None:
        for name, value in narrow.items():
            module.get_parameter(name).data = value

    module.register_forward_pre_hook(before)
    module.register_forward_hook(after)


def main() -> None:
    """Write, compute, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to keep the checkpoint (7.9 GB); by default one that goes")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the checkpoint goes
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as temporary:
        folder = wanted.folder or Path(temporary) / "checkpoint"
        if not folder.exists():
            part = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            timed("written", lambda: write_whole_size(part, native=True, device=device()).rename(folder))
        sys.exit(rehearse(folder))


def rehearse(folder: Path) -> int:
    """Print the figures of one native checkpoint; return 1 where one is over the gate."""
    ours = timed("started, and every vector computed", lambda: compute(folder, "bfloat16", items=ITEMS, cut=1))
    found: dict[str, float] = {}
    for task in ours.facts.tasks:
        some = timed(f"reference for {task}", lambda task=task: distances(ours, task, WideningReference(folder, task)))
        report(some)
        found |= some
    bad = [name for name, value in found.items() if not value <= (ROW_GATE if WORST_ROW in name else GATE)]
    print(f"allowed: {GATE:.0e}, of a single row {ROW_GATE:.0e}; over that: {', '.join(bad) or 'none'}")
    size = max(ours.facts.matryoshka_sizes)
    pairs = itertools.combinations(ours.facts.tasks, 2)
    apart = [distance(ours.singles[one, size], ours.singles[other, size]) for one, other in pairs]
    print(f"two tasks differ by {min(apart):.1e} or more; needed: {APART * GATE:.0e}")
    return int(bool(bad) or not all(value >= APART * GATE for value in apart))


def timed(what: str, job: Callable[[], Result]) -> Result:
    """Run a job, and print its time and the most memory that this process and its children held."""
    began = time.perf_counter()
    with peak_memory(psutil.Process()) as peak:
        result = job()
    print(f"{what}: {time.perf_counter() - began:.0f} s, at most {peak[0]}", flush=True)
    return result


if __name__ == "__main__":
    main()
