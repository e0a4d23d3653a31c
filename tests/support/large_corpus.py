"""5,000 good items of every form and 200 bad ones of 20 kinds, each with the reason that it must be given."""

from __future__ import annotations

import json
import os
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.corpus_files import Expected, write_corpus
from tests.support.images import encoded, noise
from tests.support.pdfs import locked, make_pdf

GOOD, EACH = 5_000, 10
"""About how many good items there are; how many bad ones of each kind."""
PLACES = ("a", "k", "q", "sh", "wrong")
"""Folders of the bad files, in front of, between and behind what is good."""
LONGEST = 256
"""Tokens that a text may have: a run of the whole folder passes ``max_length=LONGEST, truncate="error"``."""


@dataclass
class Reasons:
    """What must be said of bad items.

    Attributes:
        expected: What is good and what is bad, as of ``write_corpus``.
        words: By the id of a bad item words of its reason, as a regular expression.
        kinds: The kinds of bad items.
    """

    expected: Expected
    words: dict[str, str] = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)

    def add(self, what: str, name: str, kind: str, words: str) -> None:
        """Note a bad item.

        Args:
            what: Which of the 20 kinds of this module it is.
            name: Its id.
            kind: The kind of its error.
            words: Words of its reason, as a regular expression.
        """
        self.kinds.add(what)
        self.expected.bad[name, kind] += 1
        self.words[name] = words


def write_large(folder: Path) -> Reasons:
    """Write the items into a new folder; return what is which.

    Bad files stand everywhere among the good ones; tables with bad rows at the end, since the first table says what
    types the columns have.
    """
    reasons = Reasons(write_corpus(folder, GOOD * 5 // 6))  # it writes six forms
    for name in PLACES:
        (folder / name).mkdir()
    lines: list[bytes] = []
    table = ["id,text,year"]
    for number in range(EACH):
        _files(folder, PLACES[number % len(PLACES)], number, reasons)
        lines += _lines(number, len(lines), reasons)
        table.append(f"more-{number},a,1,2")
        reasons.add("too many fields", f"wrong/table.csv#L{len(table)}", "row", "has 4 fields; the first line has 3")
    (folder / "wrong" / "rows.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    (folder / "wrong" / "table.csv").write_text("\n".join(table) + "\n")
    assert (len(reasons.words), len(reasons.kinds)) == (20 * EACH, 20)
    return reasons


def _files(root: Path, place: str, number: int, reasons: Reasons) -> None:
    """Write a file of each kind into a folder."""
    folder = root / place
    image = noise(60, 40, seed=number)
    jpeg = encoded(image, "JPEG")
    strange = os.fsdecode(b"caf\xe9-%d.png" % number)
    files: list[tuple[str, str, bytes, str, str]] = [
        ("broken image", f"text-{number}.png", b"no image", "image", "is not an image"),
        ("name that is not UTF-8", strange, b"no image", "image", "is not an image"),
        ("truncated JPEG", f"cut-{number}.jpg", jpeg[: len(jpeg) // 2], "image", "(?i)truncated"),
        ("decompression bomb", f"bomb-{number}.png", _bomb(), "image", "pixels"),
        ("zero bytes", f"zero-{number}.webp", b"", "image", "is not an image"),
        ("locked PDF", f"locked-{number}.pdf", locked(), "locked", "password"),
        ("PDF without pages", f"none-{number}.pdf", make_pdf(), "empty", "no page"),
        ("text that is not UTF-8", f"latin-{number}.txt", "Grüße".encode("latin-1"), "encoding", "not valid UTF-8"),
    ]
    for what, name, data, kind, words in files:
        (folder / name).write_bytes(data)
        reasons.add(what, f"{place}/{name}".replace("\udce9", "\\xe9"), kind, words)
    (folder / f"out-{number}.png").symlink_to("/etc/hostname")
    reasons.add("link out of the folder", f"{place}/out-{number}.png", "unreadable", "leads out of the folder")
    (folder / f"loop-{number}.png").symlink_to(f"loop-{number}.png")  # unreadable for root too
    reasons.add("unreadable file", f"{place}/loop-{number}.png", "unreadable", "cannot be read")


def _lines(number: int, before: int, reasons: Reasons) -> list[bytes]:
    """Return a row of JSONL of each kind; ``before`` stand before them."""
    rows: list[tuple[str, dict[str, object], str, str]] = [
        ("empty cell", {"id": f"empty-{number}", "text": " "}, "empty", "neither a text nor an image"),
        ("duplicate", {"id": f"csv-{number}", "text": "again"}, "duplicate", f"before it has the id 'csv-{number}'"),
        ("missing column", {"id": f"title-{number}", "title": "a"}, "column", "neither a column 'text' nor 'image'"),
        ("broken data URI", {"id": f"uri-{number}", "image": "data:image/png;base64,AAA"}, "image", "base64"),
        ("NUL bytes", {"id": f"nul-{number}", "image": "one\0.png"}, "image", "null byte"),
        ("outside", {"id": f"root-{number}", "image": "../../../etc/hostname"}, "image", "lies outside"),
        ("too long", {"id": f"long-{number}", "text": "word " * LONGEST}, "long", f"max_length is {LONGEST}"),
        ("another type", {"id": f"year-{number}", "text": "a", "year": "last"}, "column", "'year' is 'last'"),
    ]
    lines = [json.dumps(row).encode() for _, row, _, _ in rows]
    for what, row, kind, words in rows:
        reasons.add(what, str(row["id"]), kind, words)
    lines.append(b'{"id": "half')
    reasons.add("no JSON", f"wrong/rows.jsonl#L{before + len(lines)}", "row", "is not JSON")
    return lines


def _bomb() -> bytes:
    """Return a PNG of 50,000 x 50,000 pixels in a few bytes."""
    file = encoded(noise(8, 8))
    head = b"IHDR" + struct.pack(">2I", 50_000, 50_000) + file[24:29]
    return file[:12] + head + struct.pack(">I", zlib.crc32(head)) + file[33:]
