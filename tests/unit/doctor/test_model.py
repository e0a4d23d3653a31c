"""Whether a named model can be found: in a folder, in a cache made up on the spot, or on a hub that may be silent."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from vllm_jina_embed.checkpoints.description import DEMO_FOLDER
from vllm_jina_embed.checkpoints.files import Hub
from vllm_jina_embed.doctor.finding import Surroundings
from vllm_jina_embed.doctor.installed import Site
from vllm_jina_embed.doctor.model import check_model, needs_hub
from vllm_jina_embed.doctor.network import HubAnswer
from vllm_jina_embed.doctor.probing import Probe

constants = pytest.importorskip("huggingface_hub.constants")

AROUND = Surroundings(site=Site([]), probe=Probe(), environment={})
COMMIT = "4a58ca57710c49f51896e4bc820e202fbf64904b"
CONFIG = {
    "model_type": "qwen2_5_vl",
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "text_config": {"hidden_size": 512},
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache; the hub is switched off."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def silent(cache: Path) -> HubAnswer:
    return HubAnswer(
        hub=Hub(endpoint="http://127.0.0.1:9", folder=cache, is_offline=True), endpoint="http://127.0.0.1:9"
    )


def keep(cache: Path, name: str, files: dict[str, Any]) -> Path:
    """Put files of a repository into the cache, as huggingface_hub does."""
    folder = cache / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    for file, content in files.items():
        (snapshot / file).write_text(content if isinstance(content, str) else json.dumps(content))
    return snapshot


def test_the_demo_needs_no_hub(cache: Path) -> None:
    finding = check_model(AROUND, "demo", silent(cache))
    assert finding.status == "ok"
    assert finding.summary.endswith("part of this package.")
    assert finding.details["row"] == "jina-v4"


def test_a_folder(cache: Path, tmp_path: Path) -> None:
    shutil.copytree(DEMO_FOLDER, tmp_path / "own")
    finding = check_model(AROUND, str(tmp_path / "own"), silent(cache))
    assert (finding.status, finding.details["place"]) == ("ok", f"in {tmp_path / 'own'}")


def test_a_folder_without_weights(cache: Path, tmp_path: Path) -> None:
    shutil.copytree(DEMO_FOLDER, tmp_path / "own", ignore=shutil.ignore_patterns("*.safetensors"))
    finding = check_model(AROUND, str(tmp_path / "own"), silent(cache))
    assert finding.status == "problem"
    assert "has no weights" in finding.summary
    assert finding.mend


def test_a_folder_that_no_row_describes(cache: Path, tmp_path: Path) -> None:
    """The error says which architecture it is, and how to describe it."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text(json.dumps({"architectures": ["NewModel"], "model_type": "new"}))
    finding = check_model(AROUND, str(tmp_path / "own"), silent(cache))
    assert finding.status == "problem"
    assert "NewModel" in finding.summary


@pytest.mark.parametrize("name", ["no-such-model", "./no-such-folder", "~/no/such"])
def test_a_name_that_is_not_one_of_the_hub(cache: Path, name: str) -> None:
    """It is a problem of its own, whether the hub answers or not."""
    assert not needs_hub(name, silent(cache).hub)
    finding = check_model(AROUND, name, silent(cache))
    assert finding.status == "problem"
    assert "no such folder" in finding.summary


@pytest.mark.parametrize("name", ["some/finetune", "jinaai/jina-embeddings-v4"])
def test_a_model_in_the_cache(cache: Path, name: str) -> None:
    keep(cache, name, {"config.json": CONFIG, "model.safetensors": "x"})
    assert not needs_hub(name, silent(cache).hub)
    finding = check_model(AROUND, name, silent(cache))
    assert (finding.status, finding.details["place"]) == ("ok", "whole in the hub's cache")


def test_a_reranker_in_the_cache(cache: Path) -> None:
    keep(cache, "Qwen/Qwen3-Reranker-0.6B", {"config.json": {}, "model.safetensors": "x"})
    finding = check_model(AROUND, "Qwen/Qwen3-Reranker-0.6B", silent(cache))
    assert finding.status == "ok"
    assert "a reranker for JinaReranker" in finding.summary


@pytest.mark.parametrize(
    "files",
    [
        {"config.json": CONFIG},
        {"model.safetensors": "x"},
        {
            "config.json": CONFIG,
            "model-1.safetensors": "x",
            "model.safetensors.index.json": {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}},
        },
        {"config.json": CONFIG, "model.safetensors": "x", "model.safetensors.index.json": "half of a fi"},
    ],
    ids=["no weights", "no config", "a shard is missing", "a broken index"],
)
def test_a_model_that_is_in_the_cache_in_part_needs_the_hub(cache: Path, files: dict[str, Any]) -> None:
    """What is wrong is said in the line ``hub``."""
    keep(cache, "some/finetune", files)
    assert needs_hub("some/finetune", silent(cache).hub)
    finding = check_model(AROUND, "some/finetune", silent(cache))
    assert finding.status == "absent"
    assert finding.summary.endswith("see hub.")


def test_a_download_that_was_broken_off_needs_the_hub(cache: Path) -> None:
    """The cache holds links to blobs; one leads nowhere."""
    snapshot = keep(cache, "some/finetune", {"config.json": CONFIG})
    (snapshot / "model.safetensors").symlink_to(cache / "blobs" / "gone")
    assert needs_hub("some/finetune", silent(cache).hub)


class _Hub(BaseHTTPRequestHandler):
    """A hub that has one model."""

    def do_HEAD(self) -> None:
        content = json.dumps(CONFIG).encode() if self.path == "/hub/finetune/resolve/main/config.json" else b""
        self.send_response(200 if content else 404)
        if content:
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", '"0123456789"')
        else:
            known = self.path.startswith("/hub/finetune/")
            self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_GET = do_HEAD  # noqa: N815 - http.server's name

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def answering(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubAnswer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield HubAnswer(hub=Hub(endpoint=endpoint, folder=cache, is_offline=False), endpoint=endpoint)
        server.shutdown()


def test_a_model_on_the_hub(answering: HubAnswer) -> None:
    """Its config.json is fetched, and nothing else."""
    finding = check_model(AROUND, "hub/finetune", answering)
    assert (finding.status, finding.details["place"]) == ("ok", "on the hub, and downloaded by the first start")
    assert [path.name for path in answering.hub.folder.glob("models--*/snapshots/*/*")] == ["config.json"]


@pytest.mark.parametrize("name", ["BAAI/bge-m3", "nobody/nothing"])
def test_a_model_that_the_hub_does_not_have(answering: HubAnswer, name: str) -> None:
    """Also one of a published name, whose facts need no download."""
    finding = check_model(AROUND, name, answering)
    assert finding.status == "problem"
    assert "could not be fetched" in finding.summary
    assert finding.command.endswith(f"/{name}/resolve/main/config.json")
