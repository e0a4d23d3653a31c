"""One adapter file split into a folder per task: what is written, what is refused, and two processes at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest

from tests.support.adapter_files import (
    ALPHA,
    LAYERS,
    PLACES,
    RANK,
    TASKS,
    Tensors,
    adapter_tensors,
    bfloat16,
    write_native,
)
from vllm_jina_embed.checkpoints.files import Folder, Repository
from vllm_jina_embed.checkpoints.weights.lora import Adapters, split_adapters
from vllm_jina_embed.checkpoints.weights.projector import projections
from vllm_jina_embed.checkpoints.weights.safetensors import read_table
from vllm_jina_embed.errors import ConfigError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder for this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vllm-jina-embed" / "adapters"


def split(folder: Path) -> Adapters:
    return split_adapters(Folder(folder), TASKS)


@pytest.mark.parametrize("half", [False, True])
def test_each_task_gets_its_own_tensors_bit_for_bit(tmp_path: Path, half: bool) -> None:
    """Under PEFT's names, without the projector, in the type that they have."""
    found = split(write_native(tmp_path / "native", half=half))
    whole = adapter_tensors()
    assert list(found.folders) == list(TASKS)
    for task, folder in found.folders.items():
        table = read_table(folder / "adapter_model.safetensors")
        assert len(table) == LAYERS * len(PLACES) * 2
        for name, tensor in table.items():
            expected = whole[name.replace(".weight", f".{task}.weight")]
            if half:
                assert tensor.dtype == "BF16"
                expected = (bfloat16(expected).astype("<u4") << 16).view("<f4")
            np.testing.assert_array_equal(tensor.numpy(), expected)


def test_the_rank_and_the_scale_are_the_configurations(tmp_path: Path) -> None:
    """PEFT's configuration beside the weights, with names that vLLM understands."""
    found = split(write_native(tmp_path / "native"))
    assert (found.rank, found.has_projector) == (RANK, True)
    config = json.loads((found.folders["code"] / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (RANK, ALPHA, "LORA")
    assert sorted(config["target_modules"]) == sorted(place.split(".")[1] for place in PLACES)


class TestCache:
    """Written once, found again, never half there."""

    def test_a_second_time_writes_nothing(self, tmp_path: Path, cache: Path) -> None:
        """The same folders, untouched."""
        native = write_native(tmp_path / "native")
        before = split(native)
        times = {file: file.stat().st_mtime_ns for file in cache.rglob("*")}
        assert split(native) == before
        assert {file: file.stat().st_mtime_ns for file in cache.rglob("*")} == times

    def test_a_changed_file_gets_new_folders(self, tmp_path: Path) -> None:
        """Even of the same size."""
        native = write_native(tmp_path / "native")
        before = split(native)
        write_native(native, lambda tensors: tensors.update({name: -values for name, values in tensors.items()}))
        os.utime(native / "adapters" / "adapter_model.safetensors", ns=(1, 1))
        after = split(native)
        name = "base_model.model.model.language_model.layers.0.mlp.up_proj.lora_A.weight"
        old, new = (
            read_table(one.folders["code"] / "adapter_model.safetensors")[name].numpy() for one in (before, after)
        )
        np.testing.assert_array_equal(old, -new)

    def test_nothing_is_left_beside_it(self, tmp_path: Path, cache: Path) -> None:
        """The folder in which it was made became the folder itself."""
        split(write_native(tmp_path / "native"))
        assert len(list(cache.iterdir())) == 1

    def test_processes_at_once_are_all_right(self, tmp_path: Path, cache: Path) -> None:
        """Each of five finds complete folders, and one copy stays."""
        native = write_native(tmp_path / "native")
        code = (
            "import sys; from vllm_jina_embed.checkpoints.weights.lora import split_adapters as s;"
            "from vllm_jina_embed.checkpoints.files import locate; sys.stdin.read(1);"
            f"print(*(f / 'adapter_model.safetensors' for f in s(locate({str(native)!r}), {TASKS!r}).folders.values()))"
        )
        processes = [
            subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(5)
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("x")
            process.stdin.flush()
        found = {process.communicate()[0] for process in processes}
        assert all(process.returncode == 0 for process in processes)
        (files,) = found
        assert all(len(read_table(Path(file))) == LAYERS * len(PLACES) * 2 for file in files.split())
        assert len(list(cache.iterdir())) == 1

    def test_a_cache_that_cannot_be_written_is_a_clear_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It names the variable that moves it."""
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        with pytest.raises(ConfigError, match="XDG_CACHE_HOME"):
            split(write_native(tmp_path / "native"))


def _rename(old: str, new: str) -> Callable[[Tensors], object]:
    def change(tensors: Tensors) -> None:
        for name in [name for name in tensors if old in name]:
            tensors[name.replace(old, new)] = tensors.pop(name)

    return change


def _drop(part: str) -> Callable[[Tensors], object]:
    return lambda tensors: [tensors.pop(name) for name in list(tensors) if part in name]


class TestRefused:
    """What would give wrong vectors without a word."""

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (_drop("layers.1.mlp.up_proj.lora_B.code"), r"'code' lacks 1 of 30 tensors: 1\.mlp\.up_proj\.lora_B\."),
            (_drop(".text-matching."), r"'text-matching' lacks 30 of 30 tensors: 0\..*, \.\.\."),
            (_drop("multi_vector_projector.lora_A.code"), r"lacks 1 of 30 tensors: multi_vector_projector\.lora_A"),
            (_rename("layers.1.", "layers.7."), r"lacks 14 of 30 tensors: 1\."),
            (_rename("model.language_model.layers.0.mlp", "visual.blocks.0.mlp"), r"not adapters of .*visual\.blocks"),
            (_rename(".code.", ".classification."), r"not adapters of retrieval.*classification"),
            (_rename(".code.weight", ".weight"), r"not adapters of retrieval"),
            (lambda tensors: tensors.update({name: values.T.copy() for name, values in tensors.items()}), r"r=3"),
        ],
    )
    def test_adapters_that_are_not_whole(
        self, tmp_path: Path, change: Callable[[Tensors], object], message: str
    ) -> None:
        """The error names what is missing or too much."""
        with pytest.raises(ConfigError, match=message):
            split(write_native(tmp_path / "native", change))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"use_rslora": True}, "sets use_rslora"),
            ({"use_dora": True}, "sets use_dora"),
            ({"rank_pattern": {"q_proj": 8}}, "sets rank_pattern"),
            ({"r": 0}, "r=0"),
            ({"r": None}, "r=None"),
            ({"lora_alpha": "32"}, "lora_alpha='32'"),
            ({"lora_alpha": float("nan")}, "lora_alpha=nan"),
            ({"r": 4}, "has r=4"),
        ],
    )
    def test_a_configuration_that_is_no_plain_lora(
        self, tmp_path: Path, settings: dict[str, Any], message: str
    ) -> None:
        """Its scaling would be another."""
        with pytest.raises(ConfigError, match=message):
            split(write_native(tmp_path / "native", settings=settings))

    def test_a_folder_without_adapters(self, tmp_path: Path) -> None:
        """The file is named."""
        native = write_native(tmp_path / "native")
        (native / "adapters" / "adapter_model.safetensors").unlink()
        with pytest.raises(ConfigError, match=r"has no adapters/adapter_model\.safetensors"):
            split(native)

    def test_a_file_that_was_cut_off(self, tmp_path: Path) -> None:
        """As by a download that stopped."""
        file = write_native(tmp_path / "native") / "adapters" / "adapter_model.safetensors"
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(ConfigError, match="not a usable safetensors file"):
            split(tmp_path / "native")

    def test_the_dead_projector_of_the_published_configuration_is_passed_over(self, tmp_path: Path) -> None:
        """Its name stands in adapter_config.json; nothing reads it."""

        def add(tensors: Tensors) -> None:
            tensors["base_model.model.single_vector_projector.lora_A.code.weight"] = np.zeros((RANK, 8), dtype="<f4")

        assert split(write_native(tmp_path / "native", add)).rank == RANK


class TestRepository:
    """A hub repository whose files are in the hub's own cache on this machine."""

    COMMIT = "4a58ca57710c49f51896e4bc820e202fbf64904b"

    @pytest.fixture
    def repository(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        """Its name; the hub cannot be reached."""
        folder = tmp_path / "hub" / "models--some--native"
        write_native(folder / "snapshots" / self.COMMIT)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(self.COMMIT)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        return "some/native"

    @pytest.mark.parametrize("revision", [None, COMMIT])
    def test_is_split_as_a_folder_is(self, repository: str, revision: str | None) -> None:
        """At any revision that is there; its projector is found among the shards."""
        found = split_adapters(Repository(repository, revision), TASKS)
        assert len(read_table(found.folders["code"] / "adapter_model.safetensors")) == LAYERS * len(PLACES) * 2
        assert found.source.parent.name == self.COMMIT
        assert set(projections(Repository(repository, revision), found.source, TASKS)) == set(TASKS)

    def test_that_cannot_be_fetched_is_a_clear_error(self, repository: str) -> None:
        """The repository and the file are named."""
        with pytest.raises(
            ConfigError, match=r"'some/native': adapters/adapter_model\.safetensors could not be fetched"
        ):
            split_adapters(Repository(repository, "0" * 40), TASKS)
