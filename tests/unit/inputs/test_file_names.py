"""Names of files: valid Unicode wherever they are handed on, and file: URIs that are paths."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import noise
from vllm_jina_embed.errors import InputError
from vllm_jina_embed.inputs.file_names import (
    is_path_key,
    local_path,
    readable_path,
    shown_name,
    valid_metadata,
    valid_unicode,
)
from vllm_jina_embed.inputs.images import MediaPolicy, open_image
from vllm_jina_embed.inputs.sources import reference

pytestmark = pytest.mark.fire

LATIN = os.fsdecode(b"caf\xe9 #%.png")


def image(folder: Path, name: str) -> Path:
    """Write an image of that name."""
    try:
        (folder / name).write_bytes(b"")
    except OSError:
        pytest.skip("this file system refuses such names")
    with (folder / name).open("wb") as file:
        noise(40, 30).save(file, "PNG")
    return folder / name


@pytest.mark.parametrize("name", ["a.png", "ü b#%?.png", "100%.png", LATIN])
@pytest.mark.parametrize("form", ["{}", "file://{}", "FILE://localhost{}", "file:{}"])
def test_a_file_uri_is_the_path_that_it_names(tmp_path: Path, name: str, form: str) -> None:
    """In any of its spellings, below the same policy."""
    path = image(tmp_path, name)
    source = form.format(path if form == "{}" else path.as_uri().removeprefix("file://"))
    assert local_path(source) == str(path)
    assert open_image(source, MediaPolicy(allowed_root=tmp_path)).size == (40, 30)
    assert reference(source, MediaPolicy(allowed_root=tmp_path)) == reference(path, MediaPolicy(allowed_root=tmp_path))
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="outside the media policy's allowed_root"):
        open_image(source, MediaPolicy(allowed_root=tmp_path / "other"))
    with pytest.raises(InputError, match="no local files"):
        open_image(source, MediaPolicy(allow_local_files=False))


def test_an_encoded_file_uri_leaves_the_root_by_no_way(tmp_path: Path) -> None:
    """Dots that only decoding shows."""
    image(tmp_path, "secret.png")
    root = tmp_path / "root"
    root.mkdir()
    for path in ("%2e%2e/secret.png", "x/..%2F..%2Fsecret.png"):
        with pytest.raises(InputError, match="outside"):
            open_image(f"file://{root}/{path}", MediaPolicy(allowed_root=root))


@pytest.mark.parametrize(
    "uri", ["file://host/a.png", "file://a.png", "file:///a.png?x=1", "file:///a#b.png", "FILE:////host/../a?"]
)
def test_other_file_uris_say_what_to_write(uri: str) -> None:
    """Of another machine, without a path, or with an end that is no path."""
    with pytest.raises(InputError, match=r"file:///absolute/path.*Or pass its path"):
        open_image(uri, MediaPolicy())


def test_a_file_uri_of_no_name_is_refused() -> None:
    with pytest.raises(InputError, match="names no file"):
        local_path("file:///\ud800.png")
    for name in ("a\0b", "%00", "~", "", "file:", "file:a.png"):
        with pytest.raises(InputError):
            open_image(f"file:///{name}", MediaPolicy())


@pytest.mark.parametrize("name", ["a.png", "ü b#%.png", "日本.png"])
def test_valid_names_stay(tmp_path: Path, name: str) -> None:
    assert readable_path(tmp_path / name) == str(tmp_path / name)
    assert valid_unicode(name) == name


def test_other_names_are_percent_encoded_and_still_lead_to_the_file(tmp_path: Path) -> None:
    """The whole path as a URI, which opens again."""
    path = image(tmp_path, LATIN)
    uri = readable_path(path)
    assert uri == f"file://{tmp_path}/caf%E9%20%23%25.png"
    assert uri.encode()
    assert local_path(uri) == str(path)
    assert open_image(uri, MediaPolicy()).size == (40, 30)
    assert readable_path(f"deep/{LATIN}") == "deep/caf%E9%20%23%25.png"


def test_a_lone_surrogate_that_no_file_has_is_encoded_too() -> None:
    assert readable_path("/a/\ud800.png") == "/a/%ED%A0%80.png"
    assert valid_unicode("\ud83d x \udce9 ü") == "%ED%A0%BD x %E9 ü"


def test_metadata_is_valid_unicode_however_deep() -> None:
    """Keys too; what is no string stays the same object's value."""
    given: dict[str, Any] = {"a\udce9": ["\udcff", {"b": "\udc80"}, 3, None, b"x"], "c": "ü"}
    found = valid_metadata(given)
    assert found == {"a%E9": ["%FF", {"b": "%80"}, 3, None, b"x"], "c": "ü"}
    assert given == {"a\udce9": ["\udcff", {"b": "\udc80"}, 3, None, b"x"], "c": "ü"}, "the caller's own is not changed"
    json.dumps(found["a%E9"][:2], ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/home/somebody/a b.png", "a b.png"),
        ("/a.png", "a.png"),
        ("file:///home/somebody/a.png", "a.png"),
        ("~/a.png", "a.png"),
        ("C:\\users\\somebody\\a.png", "a.png"),
        ("\\\\host\\share\\a.png", "a.png"),
        ("/home/somebody/", "somebody"),
        ("deep/a.png", "deep/a.png"),
        ("report.pdf", "report.pdf"),
        ("https://example.org/a.png", "https://example.org/a.png"),
        ("/ by zero", "/ by zero"),
        ("/home/caf\udce9.png", "caf%E9.png"),
    ],
)
def test_a_chat_model_sees_no_folder_of_the_host(value: str, shown: str) -> None:
    assert shown_name(value) == shown


def test_metadata_keys_of_paths_are_known() -> None:
    for key in ("source", "file_path", "image_path", "path", "file_name", "directory", "filename"):
        assert is_path_key(key), key
    for key in ("page", "author", "image_sha256", "route"):
        assert not is_path_key(key), key
