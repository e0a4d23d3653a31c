"""The environment of a client: left out where vLLM is installed."""

from importlib.metadata import distributions

import pytest


def test_a_client_needs_neither_vllm_nor_torch() -> None:
    """No distribution of either is installed where the tests of the served engine have passed."""
    names = {str(one.metadata["Name"]).lower() for one in distributions()}
    assert {"httpx", "vllm-jina-embed"} <= names
    assert [name for name in names if name.startswith(("vllm", "torch", "transformers"))] == ["vllm-jina-embed"]


@pytest.mark.parametrize("name", ["vllm", "torch"])
def test_neither_can_be_imported(name: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        __import__(name)
