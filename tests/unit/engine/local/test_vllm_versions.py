"""What is said of a vLLM that is newer than the tested ones, and where its moved parts are looked for."""

from __future__ import annotations

import logging
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from vllm_jina_embed import EngineError
from vllm_jina_embed.engine.local import vllm_versions
from vllm_jina_embed.engine.local.vllm_versions import NEWEST_TESTED, first_of, warn_if_newer

MATRIX = Path(__file__).resolve().parents[4] / "scripts" / "matrix.py"


@pytest.fixture(autouse=True)
def _asked_for_the_first_time() -> Iterator[None]:
    warn_if_newer.cache_clear()
    yield
    warn_if_newer.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, *numbers: object) -> None:
    version = ".".join(map(str, numbers))
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(__version__=version, __version_tuple__=numbers))  # type: ignore[arg-type]


@pytest.mark.parametrize("numbers", [(0, 34, 0), (0, 40), (1, 0, 2), (0, 34, 1, "dev12")])
def test_a_newer_vllm_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, numbers: tuple[object, ...]
) -> None:
    install(monkeypatch, *numbers)
    with caplog.at_level(logging.INFO):
        warn_if_newer()
        warn_if_newer()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "\n" not in record.getMessage()
    assert f"vLLM {'.'.join(map(str, numbers))} is newer than 0.33" in record.getMessage()


@pytest.mark.parametrize("numbers", [(0, 33, 0), (0, 33, 9), (0, 32, 0, "cpu"), (0, 28, 0), (0, 9, 1), (0, 0, "dev")])
def test_a_tested_vllm_is_not_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, numbers: tuple[object, ...]
) -> None:
    install(monkeypatch, *numbers)
    with caplog.at_level(logging.INFO):
        warn_if_newer()
    assert not caplog.records


def test_the_newest_tested_one_is_a_row_of_the_matrix() -> None:
    rows = runpy.run_path(str(MATRIX))["ROWS"]
    releases = [re.match(r"\d+\.\d+", name) for name in rows]
    assert max(tuple(map(int, found[0].split("."))) for found in releases if found) == NEWEST_TESTED


def test_what_moved_is_looked_for_in_each_place(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, 0, 34, 0)
    assert first_of(("no.such.module", "textwrap", "shutil"), "copyfile").__module__ == "shutil"
    with pytest.raises(EngineError, match=re.escape("vLLM 0.34.0 has nothing in none of json, no.such.module")):
        first_of(("json", "no.such.module"), "nothing")


@pytest.mark.parametrize(
    ("content", "is_older"),
    [(None, True), ("cached_get_processor(", True), ("config = model_config.hf_image_processor_config", False)],
    ids=["0.30", "0.31", "0.32"],
)
def test_older_releases_normalise_images_on_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, is_older: bool
) -> None:
    """On the device, 0.28 to 0.31 want the checkpoint's own code, which jina-embeddings-v4 has, and do not start."""
    file = tmp_path / "vllm" / vllm_versions.INPUT_NORM
    file.parent.mkdir(parents=True)
    (tmp_path / "vllm" / "__init__.py").touch()
    if content is not None:
        file.write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    expected = {"mm_device_do_normalize": False} if is_older else {}
    assert vllm_versions.image_arguments() == expected


def test_without_vllm_nothing_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_versions, "find_spec", lambda name: None)
    assert vllm_versions.image_arguments() == {}
