"""vLLM as it is, without this package's plugin: what its own class makes of a checkpoint's prompts.

It runs in a process of its own, whose folder may have the code that the published repository has.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SCRIPT = """
import json, sys
import numpy as np

def main():
    from vllm import LLM, PoolingParams
    told = json.loads(sys.argv[1])
    llm = LLM(told["model"], runner="pooling", dtype="float32", enforce_eager=True, kv_cache_memory_bytes=2**28,
              disable_log_stats=True, trust_remote_code=told["trusts"], **told["options"])
    prompts = [{"prompt_token_ids": ids} for ids in told["prompts"]]
    params = PoolingParams(dimensions=told["dimensions"], task="embed")
    outputs = llm.encode(prompts, pooling_params=params, pooling_task="embed", use_tqdm=False)
    np.save(told["out"], np.stack([output.outputs.data.numpy() for output in outputs]))

if __name__ == "__main__":
    main()
"""
CONFIG = '''"""The checkpoint's own class of its configuration: any of this name does, vLLM only asserts it."""

from transformers import EuroBertConfig, PretrainedConfig, Qwen3Config, XLMRobertaConfig


class XLMRobertaFlashConfig(XLMRobertaConfig):
    pass


class JinaV5SmallConfig(Qwen3Config):
    model_type = "jina_embeddings_v5"


class JinaV5NanoConfig(EuroBertConfig):
    model_type = "jina_embeddings_v5"


class NewConfig(PretrainedConfig):
    model_type = "new"

    def __init__(self, rope_theta=10000.0, rope_scaling=None, **kwargs):
        super().__init__(**kwargs)
        self.rope_theta = rope_theta
        self.rope_scaling = rope_scaling
'''


def with_code(folder: Path, target: Path, config: str) -> Path:
    """Return a copy of a checkpoint with code beside it that vLLM is told to take its configuration from.

    Args:
        folder: The checkpoint.
        target: A new folder.
        config: ``configuration.`` and the name of the class.
    """
    shutil.copytree(folder, target)
    (target / "configuration.py").write_text(CONFIG)
    settings = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**settings, "auto_map": {"AutoConfig": config}}))
    return target


def bare_vectors(
    folder: Path,
    target: Path,
    prompts: Sequence[Sequence[int]],
    *,
    config: str | None = None,
    dimensions: int | None = None,
    **options: Any,
) -> np.ndarray:
    """Return vLLM's own embeddings ``(n, dimensions)`` of prompts in token ids.

    Args:
        folder: The checkpoint.
        target: A new folder for what this needs.
        prompts: Token ids.
        config: See ``with_code``; None trusts no code.
        dimensions: Length of an embedding; None for the full one.
        **options: Further arguments of ``LLM``.
    """
    target.mkdir(parents=True)
    model = folder if config is None else with_code(folder, target / "checkpoint", config)
    told = {
        "model": str(model), "trusts": config is not None, "prompts": [list(ids) for ids in prompts],
        "dimensions": dimensions, "options": options, "out": str(target / "vectors.npy"),
    }  # fmt: skip
    script = target / "bare.py"
    script.write_text(SCRIPT)
    variables = {"VLLM_PLUGINS": "", "VLLM_LOGGING_LEVEL": "ERROR", "HF_MODULES_CACHE": str(target / "modules")}
    command = [sys.executable, str(script), json.dumps(told)]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    vectors: np.ndarray = np.load(target / "vectors.npy")
    return vectors
