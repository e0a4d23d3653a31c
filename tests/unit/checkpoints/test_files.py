"""A name means a folder or a repository of the hub; both give files by name, and one place downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vllm_jina_embed.checkpoints import files
from vllm_jina_embed.checkpoints.files import Folder, Repository, locate, optional_json
from vllm_jina_embed.errors import ConfigError


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """File names of a repository, each with its content or the error that the hub raises for it."""
    library = pytest.importorskip("huggingface_hub")
    content: dict[str, Any] = {}

    def download(repository: str, name: str, *, revision: str | None) -> str:
        found = content.get(name, library.errors.EntryNotFoundError(name))
        if isinstance(found, Exception):
            raise found
        (tmp_path / name).write_text(found)
        return str(tmp_path / name)

    monkeypatch.setattr(library, "hf_hub_download", download)
    files._downloaded.cache_clear()
    return content


def test_a_folder_that_is_there_is_a_folder_and_any_other_name_a_repository(tmp_path: Path) -> None:
    """With the revision that the name stands for."""
    assert locate(str(tmp_path)) == Folder(tmp_path)
    assert locate("some/name", "v1") == Repository("some/name", "v1")


def test_a_folder_gives_its_files(tmp_path: Path) -> None:
    """One that is missing is None, or an error that names it."""
    (tmp_path / "a.json").write_text("[1]")
    folder = Folder(tmp_path)
    assert (folder.find("a.json"), folder.find("b.json")) == (tmp_path / "a.json", None)
    assert (optional_json(folder, "a.json"), optional_json(folder, "b.json")) == ([1], None)
    with pytest.raises(ConfigError, match=r"has no b\.json"):
        folder.file("b.json")


def test_a_repository_gives_the_same(hub: dict[str, Any], tmp_path: Path) -> None:
    """Downloaded."""
    hub["a.json"] = "[1]"
    repository = Repository("some/name", None)
    assert (repository.find("a.json"), repository.find("b.json")) == (tmp_path / "a.json", None)
    assert (optional_json(repository, "a.json"), optional_json(repository, "b.json")) == ([1], None)
    assert (repository.state(), repository.has_adapters) == ("", False)
    with pytest.raises(ConfigError, match=r"'some/name': b\.json could not be fetched \(EntryNotFoundError"):
        repository.file("b.json")


def test_a_hub_that_fails_is_not_a_file_that_is_missing(hub: dict[str, Any]) -> None:
    """What a file would have said is not known then."""
    hub["modules.json"] = OSError("no route")
    with pytest.raises(ConfigError, match=r"'some/name': modules\.json could not be fetched \(OSError: no route"):
        optional_json(Repository("some/name", None), "modules.json")


def test_a_file_that_the_repository_gets_later_is_found(hub: dict[str, Any]) -> None:
    """Only what was found is remembered."""
    repository = Repository("some/name", None)
    assert repository.find("a.json") is None
    hub["a.json"] = "[1]"
    assert optional_json(repository, "a.json") == [1]


def test_a_folder_named_like_a_repository_has_no_say_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder ``adapters`` in the working directory makes no repository native."""
    (tmp_path / "some" / "name" / "adapters").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert not Repository("some/name", None).has_adapters
