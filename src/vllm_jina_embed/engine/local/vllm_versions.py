"""The releases of vLLM that this package was tested with, and where they keep what has moved between them.

Everything else that is imported from vLLM lies in the same place from 0.28 to 0.33. The table of what was tested with
which release: docs/compatibility.md.
"""

from __future__ import annotations

import importlib
import logging
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...errors import EngineError

logger = logging.getLogger(__name__)

NEWEST_TESTED = (0, 33)
"""The newest release that ``scripts/matrix.py`` tests, its first two numbers."""

PARSER = ("vllm.entrypoints.common.cli_args", "vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")
"""Modules with ``make_arg_parser`` and ``validate_parsed_serve_args``: 0.33, 0.32, 0.28."""
STARTUP = ("vllm.entrypoints.common.startup", "vllm.entrypoints.serve.utils.api_utils")
"""Modules with ``cli_env_setup``: 0.33, before."""

INPUT_NORM = "model_executor/layers/fusion/mm_input_norm.py"
"""The file, since 0.31, that normalises images on the device."""
BY_FILES = "hf_image_processor_config"
"""What it reads since 0.32: files of the checkpoint, and no longer the processor, which may need code of its own."""


@cache
def warn_if_newer() -> None:
    """Log a line, once in a process, where the installed vLLM is newer than the tested ones."""
    from vllm import __version__, __version_tuple__

    if tuple(__version_tuple__[:2]) > NEWEST_TESTED:
        newest = ".".join(map(str, NEWEST_TESTED))
        logger.warning(
            "vLLM %s is newer than %s, the newest that this package was tested with. "
            "The self-check at the start compares its vectors, and refuses wrong ones.",
            __version__,
            newest,
        )


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


def image_arguments() -> dict[str, Any]:
    """Return what releases before 0.32 need: to normalise images on the device they want the checkpoint's own code."""
    package = find_spec("vllm")
    folders = [] if package is None else package.submodule_search_locations or []
    files = [file for folder in folders if (file := Path(folder) / INPUT_NORM).exists()]
    is_older = folders and not any(BY_FILES in file.read_text() for file in files)
    return {"mm_device_do_normalize": False} if is_older else {}
