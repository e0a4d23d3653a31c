"""Leaves out the tests that build an index where what stores it is missing."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

_NEEDED = ("lancedb", "pyarrow", "pypdfium2")
collect_ignore = [] if all(map(find_spec, _NEEDED)) else [path.name for path in Path(__file__).parent.glob("test_*.py")]
