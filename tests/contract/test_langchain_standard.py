"""LangChain's own suites for embeddings, on the demo checkpoint and the real engine.

The suites make a new object for every test; the session's ``demo_embedder`` keeps the one engine alive that they share.
"""

from __future__ import annotations

import re
from typing import Any

import langchain_tests.integration_tests
import langchain_tests.unit_tests
import pytest
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from vllm_jina_embed.langchain import VllmJinaEmbeddings


class TestUnit(EmbeddingsUnitTests):
    """Runs without an engine: constructing starts none."""

    @property
    def embeddings_class(self) -> type[VllmJinaEmbeddings]:
        return VllmJinaEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "demo"}


@pytest.mark.real
@pytest.mark.usefixtures("demo_embedder")
class TestIntegration(EmbeddingsIntegrationTests):
    """Runs on vLLM; every async test has an event loop of its own."""

    @property
    def embeddings_class(self) -> type[VllmJinaEmbeddings]:
        return VllmJinaEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "demo"}

    @pytest.fixture
    def model(self) -> Any:
        """Close what each test used."""
        with VllmJinaEmbeddings(**self.embedding_model_params) as model:
            yield model


def test_there_is_no_suite_for_document_compressors_yet() -> None:
    """langchain-tests 1.1 has none for ``MaxSimReranker``; run it here when there is one."""
    suites = {**vars(langchain_tests.unit_tests), **vars(langchain_tests.integration_tests)}
    assert [name for name in suites if re.search(r"compress|rerank", name, re.IGNORECASE)] == []
    assert {"EmbeddingsUnitTests", "RetrieversIntegrationTests"} <= set(suites)
