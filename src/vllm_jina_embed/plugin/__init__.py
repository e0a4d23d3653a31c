"""What vLLM loads in each of its own processes, through the entry point group ``vllm.general_plugins``.

``register`` adds the architecture that pools inside the engine; nothing else in vLLM changes. A checkpoint stays as it
is: ``hf_overrides={"architectures": [ARCHITECTURE]}`` selects it, which ``engine/local.py`` does.
This folder imports vllm and torch only when vLLM asks for the model.
"""

from __future__ import annotations

from ..engine.base import ARCHITECTURE
from .lifetime import end_with_parent


def register() -> None:
    """Register the architecture; vLLM calls this in every process, possibly more than once."""
    end_with_parent()
    from vllm import ModelRegistry

    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, f"{__name__}.model:{ARCHITECTURE}")
