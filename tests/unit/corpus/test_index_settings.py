"""What the index of ``mcp`` asks of a corpus: pages with the pieces of their texts, other settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.images import encoded, noise
from tests.support.pdfs import text_pdf
from vllm_jina_embed import ConfigError, JinaEmbedder
from vllm_jina_embed.corpus.embed import embed_corpus
from vllm_jina_embed.corpus.entries import Columns
from vllm_jina_embed.corpus.files import read_json
from vllm_jina_embed.corpus.places import best_of
from vllm_jina_embed.corpus.sources import sources_of
from vllm_jina_embed.corpus.walking import IMAGES, PDF

LINES = [f"{'word ' * 12}{number}" for number in range(40)]


def rows(out: Path) -> list[dict[str, Any]]:
    return [row for part in sorted(out.glob("part-*.parquet")) for row in pq.read_table(part).to_pylist()]


def test_a_page_is_an_image_and_the_pieces_of_its_text(embedder: JinaEmbedder, tmp_path: Path) -> None:
    """Each piece has a vector of its own; a page without a text has none of them."""
    (tmp_path / "a.pdf").write_bytes(text_pdf("\n".join(LINES), "", "short"))
    embed_corpus(tmp_path / "a.pdf", tmp_path / "out", embedder=embedder, columns=Columns(pages="pieces"))
    found = {row["id"]: row for row in rows(tmp_path / "out")}
    assert list(found) == [
        *["a.pdf#page=1", "a.pdf#page=1/text", "a.pdf#page=1/text.2", "a.pdf#page=1/text.3"],
        *["a.pdf#page=2", "a.pdf#page=3", "a.pdf#page=3/text"],
    ]
    pieces = [found[f"a.pdf#page=1/text{end}"]["text"] for end in ("", ".2", ".3")]
    assert "".join(pieces).replace("\n", "") == "".join(LINES)
    assert found["a.pdf#page=1"]["text"] == "\n".join(LINES)
    assert {row["page"] for row in found.values()} == {1, 2, 3}
    expected = embedder.embed_passages(pieces)
    assert np.array_equal(expected, [found[f"a.pdf#page=1/text{end}"]["embedding"] for end in ("", ".2", ".3")])


def test_only_a_corpus_with_other_settings_is_begun_anew(embedder: JinaEmbedder, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("a")
    for options, count in (({}, 1), ({}, 0), ({"rows_per_file": 9}, 1), ({"columns": Columns(dpi=90)}, 1)):
        summary = embed_corpus(tmp_path / "a.md", tmp_path / "out", embedder=embedder, overwrite="others", **options)
        assert (summary.rows, summary.known) == (count, 1 - count)


def test_a_folder_is_read_for_some_suffixes(embedder: JinaEmbedder, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a.md", "b.csv", "c.jsonl"):
        (folder / name).write_text("id,text\n1,a\n")
    (folder / "d.png").write_bytes(encoded(noise(20, 20)))
    embed_corpus(sources_of(folder, suffixes=(*IMAGES, PDF)), tmp_path / "out", embedder=embedder)
    assert [row["id"] for row in rows(tmp_path / "out")] == ["d.png"]


def test_a_score_that_is_not_finite_is_never_among_the_best() -> None:
    scores = np.array([np.nan, 0.5, np.inf, 0.7, -np.inf, np.nan], dtype=np.float32)
    assert [at for _, (_, _, at) in best_of([], scores, 0, 0, 10)] == [3, 1]
    assert [at for _, (_, _, at) in best_of([(0.6, (0, 0, 9))], scores, 0, 1, 10)] == [3, 9, 1]


@pytest.mark.fire
@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["pipe", "device", "deep", "giant", "list"])
def test_a_file_of_json_from_anybody_is_one_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "manifest.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "giant":
        with path.open("wb") as file:
            file.truncate(1 << 35)
    else:
        path.write_text("[" * 200_000 if kind == "deep" else "[]")
    with pytest.raises(ConfigError, match=r"manifest\.json' (is|holds)"):
        read_json(path)
