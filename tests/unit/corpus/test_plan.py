"""Shards cross processes: what is loaded of an entry that came out of a pickle is what its own would load."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from tests.support.corpus_files import write_corpus
from vllm_jina_embed.corpus.entries import Columns, Entry
from vllm_jina_embed.corpus.folders import PdfEntries
from vllm_jina_embed.corpus.kinds import ItemError
from vllm_jina_embed.corpus.sources import entries, sources_of
from vllm_jina_embed.corpus.work import loaded

COLUMNS = Columns(keep=("text", "image", "year"), pages="both")


def told(part: Any) -> tuple[Any, ...]:
    """Return what a loaded entry says, as far as it can be compared."""
    entry, content = part
    if isinstance(content, ItemError):
        return entry.id, content.kind, str(content)
    if content is None:
        return entry.id, None
    pixels = None if content.image is None else content.image.pixels.tobytes()
    return entry.id, entry.source, entry.page, content.text, pixels, content.file, content.kept, content.kind


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "corpus"
    write_corpus(folder, 150)
    (folder / "long.jsonl").write_text(f'{{"id": "long", "text": "{"word " * 20_000}"}}\n')  # is read again
    return folder


def test_a_pickled_shard_loads_the_same(made: Path) -> None:
    """Entries of every form and bad ones, in shards of 40, each pickled with what reads its PDFs."""
    with PdfEntries() as pdfs:
        listed = list(entries(sources_of([made]), COLUMNS, pdfs))
        own = [told(part) for part in loaded(listed)]
    theirs: list[tuple[Any, ...]] = []
    with PdfEntries() as pdfs:
        listed = list(entries(sources_of([made]), COLUMNS, pdfs))
        for start in range(0, len(listed), 40):
            shard, other = pickle.loads(pickle.dumps((listed[start : start + 40], pdfs)))
            with other:
                theirs += [told(part) for part in loaded(shard)]
    assert theirs == own
    assert {len(part) for part in own} == {2, 3, 8}


def test_the_pdfs_of_a_pickled_shard_are_those_that_are_closed(made: Path) -> None:
    """An open file of a shard would otherwise stay open for as long as the process runs."""
    with PdfEntries() as pdfs:
        pages = [entry for entry in entries(sources_of([made / "pdfs"]), COLUMNS, pdfs) if entry.load is not None]
        shard, other = pickle.loads(pickle.dumps((pages[:4], pdfs)))
        assert other is not pdfs
        assert all(isinstance(entry, Entry) and entry.load._pdfs is other for entry in shard)
