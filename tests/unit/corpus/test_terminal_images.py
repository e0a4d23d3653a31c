"""Images in a terminal: only where it shows them, and what is sent decodes to the image."""

from __future__ import annotations

import base64
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.support.images import noise
from vllm_jina_embed.corpus.terminal_images import CHUNK, iterm, kitty, shown_by


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-kitty"}, kitty),
        ({"TERM": "xterm-ghostty", "TERM_PROGRAM": "ghostty"}, kitty),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, kitty),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, iterm),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, iterm),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "tmux-256color", "TERM_PROGRAM": "iTerm.app"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, None),
        ({"TERM": "dumb", "KITTY_WINDOW_ID": "1"}, None),
        ({}, None),
    ],
)
def test_the_environment_says_what_the_terminal_shows(environment: dict[str, str], expected: object) -> None:
    assert shown_by(environment) is expected


def test_kitty_gets_the_pixels_in_chunks() -> None:
    """Every chunk but the last says that more follows; together they are a PNG of the same pixels."""
    image = noise(200, 100)
    parts = re.findall(r"\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\", kitty(image))
    assert len(parts) > 2
    assert parts[0][0] == "a=T,f=100,r=12,q=2,m=1"
    assert [keys for keys, _ in parts[1:]] == ["m=1"] * (len(parts) - 2) + ["m=0"]
    assert all(len(chunk) <= CHUNK for _, chunk in parts)
    assert "".join(f"\x1b_G{keys};{chunk}\x1b\\" for keys, chunk in parts) == kitty(image)
    sent = Image.open(BytesIO(base64.b64decode("".join(chunk for _, chunk in parts))))
    assert (sent.format, sent.tobytes()) == ("PNG", image.tobytes())


def test_iterm_gets_a_file_of_the_size_that_it_is_told() -> None:
    image = Image.new("RGB", (900, 300), "red")
    match = re.fullmatch(
        r"\x1b]1337;File=inline=1;size=(\d+);height=12;preserveAspectRatio=1:([^\x07]*)\x07", iterm(image)
    )
    assert match is not None
    data = base64.b64decode(match[2])
    assert len(data) == int(match[1])
    sent = Image.open(BytesIO(data))
    assert (sent.format, sent.size) == ("JPEG", (480, 160))
    assert np.abs(np.asarray(sent, dtype=int) - np.array([255, 0, 0])).max() < 8
