"""docs/troubleshooting.md: people paste an error into a search box, so each title is a text that is really printed."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import vllm_jina_embed

PACKAGE = Path(vllm_jina_embed.__file__).parent
PAGE = (PACKAGE.parents[1] / "docs" / "troubleshooting.md").read_text("utf-8")
TITLES = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)

OF_OTHERS = {
    "Failed to infer device type": "vllm/config/device.py",
    "Engine core initialization failed": "vllm/v1/engine/utils.py",
    "Free memory on device": "vllm/v1/worker/utils.py",
    "No available memory for the cache blocks": "vllm/v1/core/kv_cache_utils.py",
    "is larger than the available KV cache memory": "vllm/v1/core/kv_cache_utils.py",
}
"""Titles that vLLM prints, and where."""
UNSEEN = {"operator torchvision::nms does not exist", "Failed to find C compiler"}
"""Titles that compiled code of torch prints, and Triton, which no test environment holds."""


def joined(source: str) -> str:
    """Return a source with the parts of its strings put together."""
    return re.sub(r'"\s*\n\s*f?"', "", source)


def ours() -> str:
    return "\n".join(joined(file.read_text("utf-8")) for file in sorted(PACKAGE.rglob("*.py")))


def test_each_title_is_a_text_of_ours_or_of_others() -> None:
    texts = ours()
    missing = [title for title in TITLES if title not in texts and title not in OF_OTHERS and title not in UNSEEN]
    assert len(TITLES) > 12
    assert missing == []


@pytest.mark.skipif(find_spec("vllm") is None, reason="texts of vLLM")
@pytest.mark.parametrize("title", sorted(OF_OTHERS))
def test_each_title_of_vllm_is_a_text_of_vllm(title: str) -> None:
    package = find_spec("vllm")
    assert package is not None
    assert package.submodule_search_locations
    file = Path(package.submodule_search_locations[0]).parent / OF_OTHERS[title]
    assert title in TITLES
    assert title in joined(file.read_text("utf-8"))


def test_every_command_that_the_page_names_is_one() -> None:
    """Its options too."""
    cli = "\n".join((PACKAGE / name).read_text("utf-8") for name in ("cli.py", "serve/arguments.py"))
    named = re.findall(r"vllm-jina-embed (\w+)((?: --[\w-]+)*)", PAGE)
    assert ("doctor", " --json") in named
    for command, options in named:
        assert f'add_parser("{command}"' in cli, command
        for option in options.split():
            assert f'"{option}"' in cli, option
