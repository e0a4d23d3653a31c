"""Where vLLM keeps the parts of its command ``serve``, which move from release to release.

Checked with 0.28.0, 0.32.0 and 0.33.0 (its Python files). The first place that exists is used.
"""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import EngineError

PARSER = ("vllm.entrypoints.common.cli_args", "vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")
"""Modules with ``make_arg_parser`` and ``validate_parsed_serve_args``: 0.33, 0.32, 0.28."""
STARTUP = ("vllm.entrypoints.common.startup", "vllm.entrypoints.serve.utils.api_utils")
"""Modules with ``cli_env_setup``: 0.33, before."""


def first_of(modules: tuple[str, ...], name: str) -> Any:
    """Return an attribute of the first of ``modules`` that has it.

    Raises:
        EngineError: None of the modules has it.
    """
    for module in modules:
        try:
            return getattr(importlib.import_module(module), name)
        except (ModuleNotFoundError, AttributeError):
            continue
    from vllm import __version__

    raise EngineError(f"vLLM {__version__} has {name} in none of {', '.join(modules)}; this version is not supported.")
