"""vLLM as it is, without this package: its vectors of strings or of token ids, from a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

PROGRAM = """
import json, sys
import numpy as np
from vllm import LLM

if __name__ == "__main__":
    given = json.loads(sys.stdin.read())
    prompts = [one if isinstance(one, str) else {"prompt_token_ids": one} for one in given["prompts"]]
    llm = LLM(runner="pooling", **given["arguments"])
    outputs = llm.encode(prompts, pooling_task=given["task"], use_tqdm=False)
    np.savez(given["out"], *[output.outputs.data.float().numpy() for output in outputs])
"""


def bare_vllm(
    folder: Path, prompts: Sequence[str | list[int]], place: Path, *, limit: float = 600.0, **options: Any
) -> np.ndarray:
    """Return the embeddings ``(n, hidden)`` of prompts, in float32; the arguments are those of ``bare_outputs``."""
    return np.stack(bare_outputs(folder, prompts, place, limit=limit, **options))


def bare_outputs(
    folder: Path,
    prompts: Sequence[str | list[int]],
    place: Path,
    *,
    task: str = "embed",
    limit: float = 600.0,
    **options: Any,
) -> list[np.ndarray]:
    """Return ``LLM.encode`` of prompts, in float32: for each its vector, or with ``token_embed`` its rows.

    Args:
        folder: The checkpoint.
        prompts: Strings, which vLLM tokenises itself, or token ids.
        place: An empty folder for the program and its result.
        task: ``embed`` or ``token_embed``.
        limit: Seconds that it may take.
        **options: Further arguments of ``vllm.LLM``.

    Raises:
        RuntimeError: vLLM failed; with the end of what it wrote.
    """
    place.mkdir(parents=True, exist_ok=True)
    program, out = place / "bare.py", place / "vectors.npz"
    program.write_text(PROGRAM)
    arguments = {
        "model": str(folder), "dtype": "float32", "enforce_eager": True, "max_model_len": 1024,
        "kv_cache_memory_bytes": 256 * 1024**2, **options,
    }  # fmt: skip
    ended = subprocess.run(
        [sys.executable, str(program)],
        input=json.dumps({"prompts": list(prompts), "arguments": arguments, "out": str(out), "task": task}),
        env={**os.environ, "VLLM_PLUGINS": "", "VLLM_LOGGING_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    if ended.returncode != 0:
        raise RuntimeError((ended.stdout + ended.stderr)[-20000:])
    with np.load(out) as file:
        return [file[name] for name in file.files]
