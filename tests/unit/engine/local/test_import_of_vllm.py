"""A vLLM that is installed and cannot be imported: an error of ours, whatever its import raises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from vllm_jina_embed import EngineError, JinaEmbedder
try:
    JinaEmbedder("demo").embed_queries(["a"])
except EngineError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "error", ["ImportError('undefined symbol')", "RuntimeError('no operator')", "OSError('libcudart.so.13')"]
)
def test_the_error_says_what_to_run(tmp_path: Path, error: str) -> None:
    (tmp_path / "vllm.py").write_text(f"raise {error}")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    reason = error.partition("'")[2].rstrip("')")
    assert done.stdout == (
        f"vLLM is installed but cannot be imported: {reason} ('vllm-jina-embed doctor' says what to do about it).\n"
    ), done.stderr
