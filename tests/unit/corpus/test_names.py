"""Names of files: valid Unicode on one line, and still the file's."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from vllm_jina_embed.corpus.names import escape, unescape
from vllm_jina_embed.frameworks.shown_text import visible, without_paths

pytestmark = pytest.mark.fire


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"na\xff\xfeme.txt", r"na\xff\xfeme.txt"),
        (b"caf\xe9.png", r"caf\xe9.png"),
        ("café %41 安\u3000x.png", "café %41 安\u3000x.png"),
        ("a\n[2] b.png", r"a\u000a[2] b.png"),
        ("\x1b[31mred.md", r"\u001b[31mred.md"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\u2028b\x85c", r"a\u2028b\u0085c"),
        (r"a\xffb", r"a\\xffb"),
    ],
)
def test_a_name_is_text_on_one_line(name: str | bytes, text: str) -> None:
    assert escape(name) == visible(escape(name)) == text
    assert os.fsencode(unescape(text)) == os.fsencode(name)


def test_every_name_comes_back() -> None:
    rng = random.Random(0)
    parts = [b"a", b"\\", b"\\x", b"u00", b"ff", b"\n", b"\xff", "é\u2028\x85\u202e".encode(), rng.randbytes(3)]
    for _ in range(5000):
        name = b"".join(rng.choices(parts, k=rng.randrange(8))) + rng.randbytes(rng.randrange(4))
        text = escape(name)
        assert os.fsencode(unescape(text)) == name
        assert text.encode().decode() == visible(text) == text
        assert len(text.splitlines()) <= 1


def test_the_stored_name_opens_the_file(tmp_path: Path) -> None:
    for number, name in enumerate([b"na\xff\xfeme.txt", b"a\nb", b"a\\xff", b"\xe2\x80\xae"]):
        (tmp_path / os.fsdecode(name)).write_text(str(number))
        assert (tmp_path / unescape(escape(name))).read_text() == str(number)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the file '/home/me/my docs/a b.png' does not exist.", "the file 'a b.png' does not exist."),
        ("vLLM could not start on /home/me/model: no", "vLLM could not start on model: no"),
        ("(/tmp/x/y.log) and ~/secret/z", "(y.log) and z"),
        ("it's at /mnt/it's mine/x.png", "it's at it's mine/x.png"),
        ("file:///home/me/x.png", "x.png"),
        (r"C:\Users\me\x.png", "x.png"),
        ("see https://docs.vllm.ai/en/latest/a, and/or images/0.png", None),
    ],
)
def test_no_path_of_the_machine_is_left(text: str, shown: str | None) -> None:
    assert without_paths(text, "/mnt/it's mine", "demo", "/") == (text if shown is None else shown)
