"""Folders of files, and indexes of ``mcp`` that are made of them by an engine in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.fake_engine import FakeEngine
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.corpus import Row
from vllm_jina_embed.corpus.entries import Content
from vllm_jina_embed.corpus.folders import PdfEntries
from vllm_jina_embed.corpus.lookup import lookup_of
from vllm_jina_embed.corpus.sources import entries, sources_of
from vllm_jina_embed.corpus.walking import IMAGES, PDF, TEXTS
from vllm_jina_embed.mcp.building import COLUMNS, build
from vllm_jina_embed.mcp.opening import opened


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files by their names; what was in the folder goes."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def indexed(tmp_path: Path, files: Mapping[str, str | bytes], **options: Any) -> Path:
    """Return the index of a folder with these files; the model is in ``tmp_path / "model"``."""
    folder = write_files(tmp_path / "folder", files)
    with maker([])(write_folder(tmp_path / "model"), dimensions=32, **options) as embedder:
        build(folder, tmp_path / "index", embedder)
    return tmp_path / "index"


def maker(engines: list[FakeEngine], **options: Any) -> type[JinaEmbedder]:
    """Return the class of embedders with an engine in memory."""
    return in_memory(engines, **options)


def rows_of(index: Path) -> dict[str, Row]:
    """Return the rows of an index by their ids."""
    with opened(index) as corpus:
        found = list(lookup_of(corpus).rows())
    rows = {row.id: row for row in found}
    assert len(rows) == len(found)
    return rows


def vector(index: Path, id_: str) -> np.ndarray:
    """Return the stored embedding of a row."""
    with opened(index) as corpus:
        embedding, _ = lookup_of(corpus).vectors(id_)
    assert embedding is not None
    return embedding


def replace_vectors(index: Path, factor: float) -> None:
    """Multiply every stored embedding; LanceDB itself refuses NaN."""
    import lancedb
    import pyarrow as pa

    table = lancedb.connect(index).open_table("places")
    rows = table.to_arrow()
    field = rows.schema.field("embedding")
    numbers = rows.column("embedding").combine_chunks().flatten().to_numpy() * np.float32(factor)
    column = pa.FixedSizeListArray.from_arrays(pa.array(numbers), type=field.type)
    rows = rows.set_column(rows.schema.get_field_index("embedding"), field, column)
    table.delete("true")
    table.add(rows)


def read(folder: Path) -> tuple[dict[str, Content], dict[str, str]]:
    """Return what an index embeds of a folder, and the reasons of what it leaves out."""
    found: dict[str, Content] = {}
    left_out: dict[str, str] = {}
    with PdfEntries() as pdfs:
        for entry in entries(sources_of(folder, suffixes=(*IMAGES, *TEXTS, PDF)), COLUMNS, pdfs):
            try:
                if entry.error is not None:
                    raise entry.error
                assert entry.load is not None
                content = entry.load()
                assert content is not None
                found[entry.id] = content
            except Exception as error:
                left_out[entry.id] = str(error)
    return found, left_out
