"""Any checkpoint of a row that has a reference here, against transformers: the demo, or others by an option.

    python -m pytest tests/real/test_weights.py -s --checkpoint jinaai/jina-embeddings-v4
    python -m pytest tests/real/test_weights.py -s --checkpoint BAAI/bge-m3
    python -m pytest tests/real/test_weights.py -s --checkpoint Qwen/Qwen3-Embedding-0.6B
    python -m pytest tests/real/test_weights.py -s --checkpoint intfloat/e5-mistral-7b-instruct

vLLM ends before transformers loads the same files in float32 on the CPU, one task after the other. A
generated one in jina-embeddings-v4's own layout goes through the same check in test_native.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.weights import check_weights
from tests.support.xlm_roberta import make_xlm_roberta
from vllm_jina_embed.checkpoints.description import DEMO_FOLDER

pytestmark = [pytest.mark.real, pytest.mark.wide]  # each task in transformers too


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Path:
    """The checkpoint's files on this machine."""
    name = request.config.getoption("--checkpoint")
    if name is None:
        request.getfixturevalue("demo_embedder")  # whose engine is shared
        return DEMO_FOLDER
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, ignore_patterns=["*.py", "*.gguf", "*.png", "onnx/*"]))


@pytest.mark.timeout(7200)
def test_every_task_and_kind_of_vector_equals_transformers(
    folder: Path, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts and images, every Matryoshka size, multi-vectors; each figure is printed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    check_weights(folder, request.config.getoption("--checkpoint-dtype"))


@pytest.mark.wide
def test_a_text_model_equals_transformers(tmp_path: Path) -> None:
    """A generated one in bge-m3's layout, by the same check."""
    check_weights(make_xlm_roberta(tmp_path / "text", positions=8194), "float32")
