"""Show images in terminals that can: by kitty's protocol or iTerm2's, which others have taken over.

The environment says which terminal it is; nothing is asked of the terminal itself, whose answer could be read as input.
Source: https://sw.kovidgoyal.net/kitty/graphics-protocol and https://iterm2.com/documentation-images.html
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

from PIL import Image

from ..inputs.encoding import jpeg, png

LINES = 12
"""Height of an image, in lines of text."""
SIDE = 480
"""Longest side of what is sent, in pixels."""
CHUNK = 4096
"""Characters of base64 that kitty takes at once."""
_ITERM = ("iTerm.app", "WezTerm", "vscode", "mintty")
_KITTY = ("xterm-kitty", "xterm-ghostty")


def shown_by(environment: Mapping[str, str]) -> Callable[[Image.Image], str] | None:
    """Return what turns an image into the characters that show it; None where the terminal shows none.

    Args:
        environment: As ``os.environ``. Inside tmux and screen nothing is shown: they pass no images on.
    """
    terminal, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "TMUX" in environment or terminal.startswith(("screen", "tmux", "dumb")):
        return None
    if terminal in _KITTY or "KITTY_WINDOW_ID" in environment:
        return kitty
    return iterm if program in _ITERM else None


def kitty(image: Image.Image) -> str:
    """Return an image by kitty's protocol: a PNG in chunks, ``LINES`` high."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    data = base64.b64encode(png(small)).decode()
    chunks = [data[first : first + CHUNK] for first in range(0, len(data), CHUNK)]
    parts = []
    for number, chunk in enumerate(chunks):
        keys = f"a=T,f=100,r={LINES},q=2," if number == 0 else ""
        parts.append(f"\x1b_G{keys}m={int(number + 1 < len(chunks))};{chunk}\x1b\\")
    return "".join(parts)


def iterm(image: Image.Image) -> str:
    """Return an image by iTerm2's protocol: a JPEG, ``LINES`` high."""
    data = jpeg(image, max_side=SIDE)
    keys = f"inline=1;size={len(data)};height={LINES};preserveAspectRatio=1"
    return f"\x1b]1337;File={keys}:{base64.b64encode(data).decode()}\x07"
