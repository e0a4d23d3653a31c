"""Import torch and vLLM and print what they say of the machine, a line of JSON for each stage; run in a process.

A process of its own, because a broken build may crash or hang: the stages that were printed before tell where.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from ..checkpoints.table.jina_v4 import ARCHITECTURE
from ..engine.local.arguments import environment

COMPANIONS = ("torchvision", "torchaudio")
"""Packages that are built for one build of torch, and that vLLM or transformers import."""


def main(stages: list[str]) -> None:
    """Run the stages in order; one that fails is a line with its error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # vLLM writes to stdout too
    for name, value in environment().items():
        os.environ.setdefault(name, value)
    for stage in stages:
        try:
            answer = STAGES[stage]()
        except Exception as error:  # whatever a broken build raises
            answer = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps({"stage": stage, **answer}) + "\n")
        out.flush()


def _torch() -> dict[str, Any]:
    import torch

    gpus = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
            free, total = torch.cuda.mem_get_info(number)
            capability = ".".join(map(str, torch.cuda.get_device_capability(number)))
            name = torch.cuda.get_device_name(number)
            gpus.append({"name": name, "capability": capability, "free": free, "total": total})
    build = {"version": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip}
    return {**build, "gpus": gpus, "warnings": [str(warning.message) for warning in caught]}


def _companion(name: str) -> Callable[[], dict[str, Any]]:
    return lambda: {"version": importlib.import_module(name).__version__}


def _vllm() -> dict[str, Any]:
    import vllm
    from vllm.platforms import current_platform

    return {"version": vllm.__version__, "platform": current_platform.device_type}


def _plugin() -> dict[str, Any]:
    from vllm import ModelRegistry
    from vllm.plugins import load_general_plugins

    load_general_plugins()
    return {"is_loaded": ARCHITECTURE in ModelRegistry.get_supported_archs()}


def _runner() -> dict[str, Any]:
    from vllm.config import VllmConfig

    return {"is_v2": bool(getattr(VllmConfig(), "use_v2_model_runner", False))}


STAGES: dict[str, Callable[[], dict[str, Any]]] = {
    "torch": _torch,
    **{name: _companion(name) for name in COMPANIONS},
    "vllm": _vllm,
    "plugin": _plugin,
    "runner": _runner,
}


if __name__ == "__main__":
    main(sys.argv[1:])
