"""A worker returns freed memory while its weights load, and keeps it from the first step on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vllm_jina_embed.engine.plugin_contract import ALLOCATOR, RETURN_MEMORY

pytestmark = [pytest.mark.real, pytest.mark.wide]

WORKER = """
import psutil, torch
from vllm_jina_embed.plugin.kept_memory import keep_after_loading

def megabytes_kept():
    before = psutil.Process().memory_info().rss
    block = torch.ones(64 * 2**20, dtype=torch.uint8)
    del block
    return (psutil.Process().memory_info().rss - before) // 2**20

model = torch.nn.Identity()
keep_after_loading(model)
loading = megabytes_kept()
model(torch.ones(1))
print(loading, megabytes_kept(), len(model._forward_pre_hooks))
"""


def kept(**environment: str) -> list[int]:
    """Megabytes of 64 that stay while weights load, and after a step; and how many hooks are left."""
    inherited = {name: value for name, value in os.environ.items() if name != ALLOCATOR}
    output = subprocess.run(
        [sys.executable, "-c", WORKER], env=inherited | environment, check=True, capture_output=True, text=True
    ).stdout
    return [int(word) for word in output.split()]


def test_memory_is_kept_after_the_first_step_alone() -> None:
    """A matrix that was packed goes back to the system, an activation stays."""
    loading, step, hooks = kept(**{ALLOCATOR: RETURN_MEMORY})
    assert loading < 8
    assert step > 56
    assert hooks == 0


@pytest.mark.parametrize("environment", [{}, {ALLOCATOR: "glibc.malloc.check=0"}])
def test_the_users_own_choice_stays(environment: dict[str, str]) -> None:
    """On a GPU, and where the variable was set before, nothing is changed."""
    loading, step, hooks = kept(**environment)
    assert max(loading, step) < 8
    assert hooks == 0
