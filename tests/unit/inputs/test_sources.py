"""References: images as short strings that lead nowhere but to the file and content they were made of."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.support.images import encoded, noise
from vllm_jina_embed.errors import InputError
from vllm_jina_embed.inputs.images import MediaPolicy, open_image
from vllm_jina_embed.inputs.sources import SCHEME, image_string, is_reference, reference


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with an image, beside an image that lies outside."""
    folder = tmp_path / "root"
    (folder / "deep").mkdir(parents=True)
    noise(40, 30, seed=1).save(folder / "a.png")
    noise(30, 40, seed=2).save(folder / "deep" / "ü b#%.png")
    noise(20, 20, seed=3).save(tmp_path / "secret.png")
    return folder


def forged(path: str, data: bytes) -> str:
    """A reference that somebody else made of content that he knows."""
    return f"{SCHEME}{path}#{hashlib.sha256(data).hexdigest()[:32]}"


@pytest.mark.parametrize("name", ["a.png", "deep/ü b#%.png"])
def test_a_reference_leads_back_to_its_image(root: Path, name: str) -> None:
    """One line of ASCII without spaces, whatever the file is called."""
    policy = MediaPolicy(allowed_root=root)
    made = reference(root / name, policy)
    assert is_reference(made)
    assert made.isascii()
    assert not any(map(str.isspace, made))
    assert len(made) < 120
    with open_image(root / name, policy) as expected:
        assert open_image(made, policy).tobytes() == expected.tobytes()
        assert open_image(f"\n {made} ", policy).tobytes() == expected.tobytes()
    assert image_string(f"\n {made} ") == made


@pytest.mark.skipif(os.name != "posix", reason="names of bytes exist on POSIX systems alone")
def test_a_file_name_that_is_no_unicode_has_a_reference_too(root: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    try:
        (root / name).write_bytes((root / "a.png").read_bytes())
    except OSError:
        pytest.skip("this file system refuses such names")
    policy = MediaPolicy(allowed_root=root)
    assert open_image(reference(root / name, policy), policy).size == (40, 30)


def test_the_same_reference_works_where_the_folder_was_moved(root: Path, tmp_path: Path) -> None:
    """It holds the path inside the root alone."""
    made = reference(root / "a.png", MediaPolicy(allowed_root=root))
    root.rename(tmp_path / "moved")
    assert str(tmp_path) not in made
    assert open_image(made, MediaPolicy(allowed_root=tmp_path / "moved")).size == (40, 30)


def test_without_a_root_references_are_refused(root: Path) -> None:
    """Both to make and to follow; the error says what to pass."""
    made = reference(root / "a.png", MediaPolicy(allowed_root=root))
    with pytest.raises(InputError, match=r"allowed_root=\.\.\."):
        open_image(made, MediaPolicy())
    with pytest.raises(InputError, match=r"allowed_root=\.\.\."):
        reference(root / "a.png", MediaPolicy())
    with pytest.raises(InputError, match="no local files"):
        open_image(made, MediaPolicy(allowed_root=root, allow_local_files=False))


@pytest.mark.parametrize(
    "path",
    ["../secret.png", "%2e%2e/secret.png", "deep/../../secret.png", "link.png", "folder/secret.png", "{absolute}"],
)
def test_a_forged_reference_leaves_the_root_by_no_way(root: Path, tmp_path: Path, path: str) -> None:
    """Not by dots, encoded dots, links to files and folders, or an absolute path, though the hash is right."""
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "folder").symlink_to(tmp_path)
    secret = tmp_path / "secret.png"
    text = forged(path.format(absolute=secret), secret.read_bytes())
    assert is_reference(text)
    with pytest.raises(InputError, match="lies outside the media policy's allowed_root"):
        open_image(text, MediaPolicy(allowed_root=root))


@pytest.mark.fire
def test_a_made_up_reference_tells_nothing_about_any_file(root: Path, tmp_path: Path) -> None:
    """Not there, a folder, unreadable, outside, another content: the same words, and no path but its own."""
    policy = MediaPolicy(allowed_root=root)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "locked.png").write_bytes(b"x")
    (root / "locked.png").chmod(0)
    paths = [
        "none.png",
        "deep",
        "a.png%00",
        "a.png",
        "link.png",
        "../secret.png",
        "../none.png",
        "locked.png",
        "a.png/b",
    ]
    told = set()
    for path in [*paths, "a" * 5000, "~nobody-here/a.png", "%FF.png", str(tmp_path / "secret.png"), "/etc/passwd"]:
        text = forged(path, b"guessed")
        with pytest.raises(InputError) as caught:
            open_image(text, policy)
        message = str(caught.value)
        assert caught.value.__cause__ is caught.value.__context__ is None or str(root) not in message
        told.add(message.replace(repr(text[:200]), "IT"))
        assert str(tmp_path) not in message.replace(text[:200], "")
    assert len(told) == 1, told


def test_a_file_that_changed_is_not_what_was_indexed(root: Path) -> None:
    """Nor is any file to somebody who does not know its content."""
    policy = MediaPolicy(allowed_root=root)
    made = reference(root / "a.png", policy)
    (root / "a.png").write_bytes(encoded(noise(40, 30, seed=9)))
    with pytest.raises(InputError, match="another content"):
        open_image(made, policy)
    with pytest.raises(InputError, match="another content"):
        open_image(forged("a.png", b"guessed"), policy)


def test_a_reference_outside_the_root_cannot_be_made(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="outside"):
        reference(tmp_path / "secret.png", MediaPolicy(allowed_root=root))
