"""`make rehearsal` on a tiny checkpoint: the published layout, and a reference that widens one module at a time."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from benchmarks import rehearsal, whole_size
from benchmarks.rehearsal import WideningReference, rehearse
from benchmarks.whole_size import PUBLISHED, TOKEN_DIMENSIONS, write_whole_size
from tests.support.checkpoints import Size, qwen_config
from tests.support.images import noise
from tests.support.native import TASKS, NativeReference, adapter_shapes
from tests.support.tokenizer import SPECIAL

pytestmark = pytest.mark.real

IDS = {token: number for number, token in enumerate(SPECIAL)}


@pytest.fixture
def native(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published layout in a tiny size."""
    monkeypatch.setattr(whole_size, "VOCABULARY", 700)
    return write_whole_size(tmp_path / "native", native=True, size=Size(dtype="bfloat16"))


def test_the_size_is_the_published_one() -> None:
    """7,509,770,496 bytes in 826 tensors, 1,518 of the adapters."""
    config = qwen_config(PUBLISHED, IDS, whole_size.VOCABULARY)
    shapes = whole_size._shapes(config, native=True)
    assert sum(2 * int(np.prod(shape)) for shape in shapes.values()) == 7_509_770_496
    assert len(shapes) == 826
    assert 2 * len(TASKS) * len(adapter_shapes(config, TOKEN_DIMENSIONS)) == 1518
    assert config.vision_config.fullatt_block_indexes == [7, 15, 23, 31]


def test_the_files_hold_what_the_index_says(native: Path) -> None:
    """Two shards, every tensor in the one that the index names, and none constant but norms."""
    index = json.loads((native / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(index.values())) == 2
    for shard in set(index.values()):
        with safe_open(native / shard, "pt") as file:
            assert set(file.keys()) == {name for name, place in index.items() if place == shard}
            for name in file.keys():  # noqa: SIM118 - not a dict
                values = file.get_tensor(name).float()
                assert values.isfinite().all()
                assert values.std() > 0 or "norm" in name, name


@pytest.mark.parametrize("task", TASKS)
def test_widening_one_module_at_a_time_changes_nothing(native: Path, task: str) -> None:
    """Each task's adapter included; afterwards the weights are narrow again."""
    wide, narrow = NativeReference(native, task), WideningReference(native, task)
    for item in ("Query: a text of some words", noise(200, 150)):
        np.testing.assert_allclose(narrow.embed(item), wide.embed(item), rtol=0, atol=2e-6)
        np.testing.assert_allclose(narrow.multi_vector(item), wide.multi_vector(item), rtol=0, atol=2e-6)
    kept = {name for name, value in narrow.model.model.named_parameters() if value.dtype != torch.bfloat16}
    assert kept == {"visual.patch_embed.proj.weight"}


@pytest.mark.siege
def test_a_rehearsal(native: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every figure is printed."""
    assert rehearse(native) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("1 - cosine at most" in line for line in lines) == 3 * len(TASKS)


GOOD = {"retrieval": 1.0, "text-matching": 2.0, "code": 3.0}


def rehearsed(monkeypatch: pytest.MonkeyPatch, found: dict[str, float], angles: dict[str, float]) -> int:
    """Return what ``rehearse`` returns where the vectors of each task point elsewhere, and ``distances`` gives that."""
    singles = {(task, 2): np.array([[np.cos(angle), np.sin(angle)]] * 2) for task, angle in angles.items()}
    facts = SimpleNamespace(tasks=tuple(angles), matryoshka_sizes=(2,))
    monkeypatch.setattr(rehearsal, "compute", lambda *_, **__: SimpleNamespace(facts=facts, singles=singles))
    monkeypatch.setattr(rehearsal, "WideningReference", lambda *_: None)
    monkeypatch.setattr(rehearsal, "distances", lambda ours, task, _: {f"{task}{name}": v for name, v in found.items()})
    return rehearse(Path())


@pytest.mark.parametrize(
    ("found", "angles", "code"),
    [
        ({", 2 numbers": 9e-4, ", worst row": 4e-3}, GOOD, 0),
        ({", 2 numbers": 2e-3}, GOOD, 1),
        ({", multi-vectors": 2e-3}, GOOD, 1),
        ({", worst row": 6e-3}, GOOD, 1),
        ({", 2 numbers": float("nan")}, GOOD, 1),
        ({", 2 numbers": 1e-5}, {**GOOD, "code": 1.01}, 1),
        ({", 2 numbers": 1e-5}, {**GOOD, "code": float("nan")}, 1),
    ],
)
def test_what_a_rehearsal_refuses(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, float], angles: dict[str, float], code: int
) -> None:
    """A vector or a row over its gate, what is no number, and tasks that cannot be told apart."""
    assert rehearsed(monkeypatch, found, angles) == code
