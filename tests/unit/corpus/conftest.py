"""Leaves the tests out that write Parquet where pyarrow is missing, and gives the others an embedder in memory."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.support.ray_runs import Notes, small_ray

collect_ignore = (
    []
    if find_spec("pyarrow")
    else [
        *("test_changed_files.py", "test_embed.py", "test_index_settings.py", "test_kills.py"),
        *("test_large_rows.py", "test_parts.py"),
        *("test_plan.py", "test_search.py"),
    ]
)


@pytest.fixture(scope="session")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notes]:
    """A Ray with four cores, for all tests since it takes a while to start; and what engines in its workers note."""
    notes = Notes(tmp_path_factory.mktemp("notes"))
    with small_ray(notes):
        yield notes
