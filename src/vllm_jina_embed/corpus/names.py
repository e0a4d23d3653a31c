r"""Write names of files as text that is valid Unicode, stays on one line and still opens the file.

A file's name on Linux is bytes, which may not be UTF-8 and may hold a line break or a control code of terminals. An
index and an answer write such a name with backslashes: ``\xff`` is the byte FF, ``\u000a`` the character U+000A, and
``\\`` a backslash. Every other name stays as it is.
"""

from __future__ import annotations

import os
import re

from ..frameworks.shown_text import visible

_ESCAPED = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|(\\))")


def escape(name: str | bytes | os.PathLike[str]) -> str:
    """Return a file's name or path as text; ``unescape`` gives it back, and no two names have the same text."""
    return "".join("\\\\" if character == "\\" else visible(character) for character in os.fsdecode(name))


def unescape(text: str) -> str:
    """Return the name that ``escape`` was given, as ``open`` takes it."""
    return _ESCAPED.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    byte, number, backslash = match.groups()
    if backslash:
        return "\\"
    return chr(0xDC00 + int(byte, 16)) if byte else chr(int(number, 16))
