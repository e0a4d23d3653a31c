"""Text as a chat model or a terminal may see it: on one line, valid Unicode, without paths of this machine."""

from __future__ import annotations

import os
import re
import unicodedata

_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of what follows, and so how it looks. Source: Unicode Standard Annex 9."""
_QUOTED_PATH = re.compile(r"""(['"])(?:/|[A-Za-z]:\\)(?:(?!\1)[^\n])*?([^/\\\n'"]*)\1""")
_PATH = re.compile(r"""(?<![\w.:/~-])(?:/|~/|[A-Za-z]:\\)(?:[^\s'"/\\:;,()]+[/\\])+([^\s'"/\\:;,()]*)""")
_MOST = 4000


def visible(text: str) -> str:
    """Return ``text`` on one line, valid Unicode, without control codes of terminals; backslashes stay as they are."""
    return "".join(map(_shown, text))


def without_paths(text: str, *paths: str) -> str:
    """Return ``text`` with each absolute path cut to its last part; ``paths`` are cut even if they hold spaces."""
    text = text[:_MOST].replace("file://", "")
    for path in sorted((path for path in paths if len(path) > 1 and os.path.isabs(path)), key=len, reverse=True):  # noqa: PTH117
        text = text.replace(path, os.path.basename(path) or "...")  # noqa: PTH119
    text = _QUOTED_PATH.sub(lambda match: f"{match[1]}{match[2]}{match[1]}", text)
    return _PATH.sub(lambda match: match[1], text)


def _shown(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that is not UTF-8, as os.fsdecode gives it
        return f"\\x{ord(character) - 0xDC00:02x}"
    if unicodedata.category(character) in _CATEGORIES or character in _DIRECTIONS:
        return f"\\u{ord(character):04x}"
    return character
