"""A folder of generated items of every form, and bad ones of every kind among them, which are known by their ids."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.images import encoded, noise
from tests.support.pdfs import locked, make_pdf
from vllm_jina_embed.errors import EngineError


class Failing:
    """A report that raises after so many rows."""

    def __init__(self, after: int) -> None:
        self._after = after

    def update(self, progress: Any) -> None:
        if progress.rows >= self._after:
            raise EngineError("the engine is lost")

    def tell(self, text: str) -> None: ...

    def close(self) -> None: ...


@dataclass
class Expected:
    """What a run must say of a generated folder."""

    good: set[str] = field(default_factory=set)
    bad: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def kinds(self) -> dict[str, int]:
        """The number of bad items of each kind."""
        counts: Counter[str] = Counter()
        for (_, kind), count in self.bad.items():
            counts[kind] += count
        return dict(counts)


def write_corpus(folder: Path, count: int = 500, *, parquet: bool = True) -> Expected:
    """Write about ``count`` good items and the bad ones of 28 kinds; return what is which."""
    folder.mkdir(parents=True)
    expected = Expected()
    each = count // 5
    _images(folder / "images", each, expected)
    _texts(folder / "texts", each, expected)
    _pdfs(folder / "pdfs", each, expected)
    _json(folder / "rows.jsonl", folder, each, expected)
    _csv(folder / "table.csv", each, expected)
    if parquet:
        _parquet(folder / "table.parquet", each, expected)
    return expected


def _images(folder: Path, count: int, expected: Expected) -> None:
    folder.mkdir()
    for number in range(count):
        name = f"{number:05d}.png"
        (folder / name).write_bytes(encoded(noise(28 + number % 40, 30, seed=number)))
        expected.good.add(f"images/{name}")
    file = encoded(noise(60, 40, seed=7))
    bad = {
        "text.png": b"this is a text",
        "cut.png": file[: len(file) // 2],
        "nothing.jpg": b"",
        "long.png": encoded(noise(900, 2)),
        "pdf.png": make_pdf((100, 100)),
        os.fsdecode(b"caf\xe9.png"): b"no image either",
    }
    for name, data in bad.items():
        (folder / name).write_bytes(data)
        expected.bad[f"images/{name}".replace("\udce9", "\\xe9"), "image"] += 1
    (folder / os.fsdecode(b"na\xefve.png")).write_bytes(file)
    expected.good.add("images/na\\xefve.png")
    (folder / "dangling.png").symlink_to(folder / "gone.png")
    (folder / "outside.png").symlink_to("/etc/hostname")
    os.mkfifo(folder / "pipe.png")
    for name in ("dangling", "outside", "pipe"):
        expected.bad[f"images/{name}.png", "unreadable"] += 1


def _texts(folder: Path, count: int, expected: Expected) -> None:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:05d}.md").write_text(f"Note {number}\n\nabout {number * 17 % 101} things.")
        expected.good.add(f"texts/{number:05d}.md#L1-3")
    (folder / "empty.txt").write_text(" \n\n")
    (folder / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    with (folder / "giant.txt").open("wb") as file:
        file.truncate(70_000_000)
    for name, kind in (("empty", "empty"), ("latin", "encoding"), ("giant", "long")):
        expected.bad[f"texts/{name}.txt", kind] += 1


def _pdfs(folder: Path, count: int, expected: Expected) -> None:
    folder.mkdir()
    for start in range(0, count, 10):
        pages = min(10, count - start)
        (folder / f"{start:05d}.pdf").write_bytes(make_pdf(*[(60 + start % 50 + n, 90) for n in range(pages)]))
        expected.good |= {f"pdfs/{start:05d}.pdf#page={number + 1}" for number in range(pages)}
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing")
    (folder / "locked.pdf").write_bytes(locked())
    (folder / "thin.pdf").write_bytes(make_pdf((100, 100), (9000, 10)))
    expected.good.add("pdfs/thin.pdf#page=1")
    expected.bad["pdfs/broken.pdf", "pdf"] += 1
    expected.bad["pdfs/locked.pdf", "locked"] += 1
    expected.bad["pdfs/thin.pdf#page=2", "page"] += 1


def _json(path: Path, folder: Path, count: int, expected: Expected) -> None:
    (folder / "pictures").mkdir()
    (folder / "pictures" / "one.bin").write_bytes(encoded(noise(50, 33, seed=3)))
    lines: list[bytes] = []
    for number in range(count):
        row = {"id": f"json-{number}", "text": f"Row {number} says {number * 31 % 97}.", "year": 1900 + number}
        if number % 4 == 0:
            row = {"id": f"json-{number}", "image": "pictures/one.bin", "year": None}
        lines.append(json.dumps(row).encode())
        expected.good.add(str(row["id"]))
    bad: list[tuple[object, str]] = [
        ({"id": "j-empty", "text": ""}, "empty"),
        ({"id": "j-none", "text": None, "image": None}, "empty"),
        ({"id": "j-blank", "text": " \t\n"}, "empty"),
        ({"id": "j-number", "text": 12}, "column"),
        ({"id": "j-list", "text": ["a"]}, "column"),
        ({"id": "j-surrogate", "text": "a\ud800b"}, "encoding"),
        ({"id": "j-others", "title": "a"}, "column"),
        ({"id": "j-year", "text": "a", "year": "last"}, "column"),
        ({"id": "j-base64", "image": "data:image/png;base64,AAA"}, "image"),
        ({"id": "j-outside", "image": "/etc/hostname"}, "image"),
        ({"id": "j-missing", "image": "pictures/two.bin"}, "image"),
        ({"id": "json-1", "text": "the same id"}, "duplicate"),
    ]
    for row, kind in bad:
        lines.append(json.dumps(row).encode())
        assert isinstance(row, dict)
        expected.bad[str(row["id"]), kind] += 1
    raw = [
        (b'{"id": "broken', "row"),
        (b"[1, 2]", "row"),
        (b"[" * 100_000, "row"),
        (b'{"id": "latin", "text": "\xe9"}', "encoding"),
        (b'{"id": ["a"], "text": "a"}', "id"),
    ]
    for line, kind in raw:
        lines.append(line)
        expected.bad[f"rows.jsonl#L{len(lines)}", kind] += 1
    path.write_bytes(b"\n".join(lines) + b"\n")


def _csv(path: Path, count: int, expected: Expected) -> None:
    lines = ["id,text,year"]
    for number in range(count):
        lines.append(f'csv-{number},"Line {number}, with a comma",{1900 + number}')
        expected.good.add(f"csv-{number}")
    lines.append("csv-more,a,1,2")
    expected.bad[f"table.csv#L{len(lines)}", "row"] += 1
    lines.append("csv-empty,,1")
    expected.bad["csv-empty", "empty"] += 1
    path.write_text("\n".join(lines) + "\n")


def _parquet(path: Path, count: int, expected: Expected) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [f"parquet-{number}" for number in range(count)] + [None]
    texts = [f"Cell {number}" if number % 3 else None for number in range(count)] + ["without an id"]
    file = encoded(noise(44, 31, seed=11))
    images = [None if number % 3 else file for number in range(count)] + [None]
    expected.good |= {name for name in names if name is not None} | {f"table.parquet#row={count}"}
    names += ["parquet-bad", "parquet-null"]
    texts += [None, None]
    images += [b"no image", None]
    expected.bad["parquet-bad", "image"] += 1
    expected.bad["parquet-null", "empty"] += 1
    years = pa.array([None] * len(names), pa.int64())
    table = pa.table({"id": names, "text": texts, "image": pa.array(images, pa.binary()), "year": years})
    pq.write_table(table, path, row_group_size=70)
    (path.parent / "broken.parquet").write_bytes(b"PAR1 and nothing")
    expected.bad["broken.parquet", "row"] += 1


def write_small(folder: Path) -> Path:
    """Write an image and five rows with a year."""
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(noise(40, 30)))
    rows = [{"id": f"r{number}", "text": f"row {number}", "year": 1990 + number} for number in range(5)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder
