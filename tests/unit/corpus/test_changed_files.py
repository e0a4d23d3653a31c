"""A file that changed between two runs is computed again, though its size and the ids of its items stayed the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.images import encoded, noise
from tests.support.pdfs import text_pdf
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.corpus.embed import embed_corpus
from vllm_jina_embed.corpus.entries import Columns
from vllm_jina_embed.corpus.reports import Silent


class Lines(Silent):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def tell(self, message: str) -> None:
        self.told.append(message)


def write(folder: Path, kind: str, version: int) -> None:
    """Write the sources of a kind: every version has files of the same sizes."""
    image = encoded(noise(20, 20, seed=version), "BMP")
    if kind == "image":
        (folder / "a.bmp").write_bytes(image)
    elif kind == "pdf":
        (folder / "a.pdf").write_bytes(text_pdf(f"text {version}"))
    elif kind == "text":
        (folder / "a.txt").write_text(f"text {version}")
    elif kind == "parquet":
        table = pa.table({"id": ["a"], "text": [f"text {version}"]})
        pq.write_table(table, folder / "a.parquet", compression="none", use_dictionary=False)
    else:  # a table that names a file, which is not below the source
        (folder.parent / "images").mkdir(exist_ok=True)
        (folder.parent / "images" / "a.bmp").write_bytes(image)
        if kind == "jsonl":
            (folder / "a.jsonl").write_text('{"id": "a", "image": "a.bmp"}\n')
        elif kind == "jsonl of datasets":
            (folder / "a.jsonl").write_text('{"id": "a", "image": {"bytes": null, "path": "a.bmp"}}\n')
        elif kind == "csv":
            (folder / "a.csv").write_text("id,image\na,a.bmp\n")
        elif version == 1:  # the table itself stays as it is
            pq.write_table(pa.table({"id": ["a"], "image": ["a.bmp"]}), folder / "a.parquet")


def vectors(out: Path) -> Any:
    return pq.read_table(out / "part-00000.parquet").column("embedding").to_pylist()


@pytest.mark.parametrize(
    "kind", ["image", "pdf", "text", "parquet", "jsonl", "jsonl of datasets", "csv", "parquet of images"]
)
def test_a_file_of_the_same_size_that_changed_is_computed_again(
    embedder: JinaEmbedder, tmp_path: Path, kind: str
) -> None:
    """The result is that of a new run, and a line says so; what did not change is not computed again."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    columns = Columns(image_root=str(tmp_path / "images"))
    report = Lines()
    run = {"embedder": embedder, "columns": columns, "report": report}
    write(folder, kind, 1)
    embed_corpus(folder, out, **run)  # type: ignore[arg-type]
    first = vectors(out)
    assert embed_corpus(folder, out, **run).rows == 0  # type: ignore[arg-type]
    sizes = {path: path.stat().st_size for path in tmp_path.rglob("a.*")}
    write(folder, kind, 2)
    assert {path: path.stat().st_size for path in tmp_path.rglob("a.*")} == sizes
    for path in sizes:  # as after a second: some disks keep no finer times
        if not (kind == "parquet of images" and path.suffix == ".parquet"):
            os.utime(path, (1, 1))
    assert embed_corpus(folder, out, **run).rows == 1  # type: ignore[arg-type]
    assert report.told == ["shard 0: its items or their files are others now; it is computed again."]
    embed_corpus(folder, tmp_path / "new", **run)  # type: ignore[arg-type]
    assert vectors(out) == vectors(tmp_path / "new") != first


def test_a_name_that_is_no_file_is_an_error_of_its_row_alone(embedder: JinaEmbedder, tmp_path: Path) -> None:
    """Names that no system opens are looked at too when a file's date is asked for."""
    (tmp_path / "a.csv").write_text("id,image,text\na,missing.png,\nb," + "x" * 5000 + ",\nc,,text\n")
    (tmp_path / "b.jsonl").write_text('{"id": "d", "image": "a\\u0000b"}\n{"id": "e", "image": 7}\n')
    summary = embed_corpus([tmp_path / "a.csv", tmp_path / "b.jsonl"], tmp_path / "out", embedder=embedder)
    assert summary.rows == 1
    assert sum(summary.errors.values()) == 4
