"""A missing optional dependency is an error with the exact pip line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vllm_jina_embed._extras import require
from vllm_jina_embed.errors import MissingExtraError


@pytest.mark.parametrize(
    ("module", "blocked", "line"),
    [
        ("langchain", "langchain_core", "pip install 'vllm-jina-embed[langchain]'"),
        ("llama_index", "llama_index.core", "pip install 'vllm-jina-embed[llama-index]'"),
        ("llama_index", "llama_index", "pip install 'vllm-jina-embed[llama-index]'"),
        ("mteb", "mteb", "pip install 'vllm-jina-embed[mteb]'"),
    ],
)
def test_a_missing_framework_is_an_error_with_the_pip_line(module: str, blocked: str, line: str) -> None:
    """The user reads what to type, not a traceback from the depth of an import."""
    code = (
        f"import sys; sys.modules[{blocked!r}] = None\n"
        f"from vllm_jina_embed.errors import MissingExtraError\n"
        f"try:\n    import vllm_jina_embed.{module}\n"
        f"except MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip().endswith(line)


def test_an_index_in_qdrant_without_qdrants_client() -> None:
    """The module itself imports, so that the frameworks' adapters can hold the retriever."""
    code = (
        "import sys; sys.modules['qdrant_client'] = None\n"
        "from vllm_jina_embed import JinaEmbedder\n"
        "from vllm_jina_embed.errors import MissingExtraError\n"
        "from vllm_jina_embed.late_interaction import LateInteractionIndex\n"
        "try:\n    LateInteractionIndex(JinaEmbedder('demo'))\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "qdrant_client is not installed. Run: pip install 'vllm-jina-embed[qdrant]'"


def test_the_error_is_what_people_catch() -> None:
    """It is an ImportError that names the module; an installed module passes."""
    with pytest.raises(ImportError, match=r"no_such_framework\.core is not installed") as caught:
        require("langchain", "no_such_framework.core")
    assert isinstance(caught.value, MissingExtraError)
    assert caught.value.name == "no_such_framework.core"
    require("langchain", "numpy.linalg")
