"""What all tests share: checkpoints made on the spot, and one engine per checkpoint for the whole session."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vllm_jina_embed import JinaEmbedder

if TYPE_CHECKING:
    from tests.support.cells import Cells
    from tests.support.reference import Reference
    from tests.support.rerankers import Judged


# Bound to cores, as alone is fastest, the engines of two test processes all start on the first core and wait for it.
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")

WIDE = re.compile(r"^pytestmark = .*\bwide\b", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the benchmark end more applications than a test run does, and real weights be checked where they are."""
    parser.addoption("--applications", type=int, default=1, help="applications that each signal ends")
    parser.addoption("--requests", type=int, default=5_000, help="mixed requests of the soak test")
    parser.addoption("--fuzz-seconds", type=float, default=10.0, help="how long each parser is fuzzed")
    parser.addoption("--checkpoint", help="folder or repository that test_weights.py checks; else the demo")
    parser.addoption("--checkpoint-dtype", default="float32", help="vLLM's dtype for it: float32 or bfloat16")
    parser.addoption(
        "--cells",
        type=Path,
        help="run only tests with figures for docs/models.md or docs/rerank.md, and append them here",
    )


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs that tests start: a shell starts jobs in the background with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import files of wide tests alone where these are left out: half a minute in each process."""
    is_left_out = "not wide" in config.getoption("markexpr") and collection_path.match("test_*.py")
    return True if is_left_out and WIDE.search(collection_path.read_text("utf-8")) else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave what needs a second engine to the wide tests: ``make test`` shares that of the demo."""
    if "random_embedder" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.wide)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what takes long first, so that two processes end at the same time; with ``--cells`` what records alone."""
    if config.getoption("--cells"):
        chosen = [item for item in items if "cells" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=set(items).difference(chosen))
        items[:] = chosen
    order = {"fire": 0, "real": 0, "stores": 1, "contract": 1, "unit": 2}
    items.sort(key=lambda item: order[item.path.relative_to(Path(__file__).parent).parts[0]])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Run whole files at once, and those that share the demo's engine in one process: each would start its own."""
    from xdist.scheduler import LoadFileScheduling

    class ByEngine(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path: str = super()._split_scope(nodeid)
            return "the demo's engine" if _uses_demo(config.rootpath / path) else path

    return ByEngine(config, log)


@cache
def _uses_demo(path: Path) -> bool:
    return "demo_embedder" in path.read_text("utf-8")


@pytest.fixture
def cells(request: pytest.FixtureRequest) -> Cells:
    """What records a test's figures for docs/models.md."""
    from tests.support.cells import Cells

    return Cells(request.config.getoption("--cells"), str(request.path.relative_to(request.config.rootpath)))


@pytest.fixture
def judged(cells: Cells) -> Judged:
    """What records a test's figures for the table of docs/rerank.md."""
    from tests.support.rerankers import Judged

    return Judged(cells)


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2.5-VL checkpoint with log-normal final norm weights."""
    from tests.support.checkpoints import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("random-checkpoint"))


@pytest.fixture(scope="session")
def demo_embedder() -> Iterator[JinaEmbedder]:
    """The demo checkpoint on the real engine; keeps that engine alive for every test that uses model='demo'."""
    with JinaEmbedder("demo") as embedder:
        embedder.embed_queries(["start"])
        yield embedder


@pytest.fixture(scope="session")
def random_embedder(random_checkpoint: Path) -> Iterator[JinaEmbedder]:
    """The random checkpoint in float32 on the real engine."""
    with JinaEmbedder(random_checkpoint, engine_kwargs={"dtype": "float32"}) as embedder:
        yield embedder


@pytest.fixture(scope="session")
def random_reference(random_checkpoint: Path) -> Reference:
    """The random checkpoint in transformers, float32."""
    from tests.support.reference import Reference

    return Reference(random_checkpoint)
