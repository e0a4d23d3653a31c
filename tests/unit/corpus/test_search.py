"""A corpus is opened and searched: what comes back is the best there is, with its text, image and columns."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory
from tests.support.pdfs import make_pdf
from vllm_jina_embed import ConfigError, InputError, JinaEmbedder
from vllm_jina_embed.cli import main
from vllm_jina_embed.corpus import (
    Columns,
    Corpus,
    embed_corpus,
    embedder_of,
    open_corpus,
    parquet_search,
    search_corpus,
)
from vllm_jina_embed.scoring.maxsim import maxsim

TEXTS = [f"text {number}" for number in range(60)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "rows.jsonl"
    path.parent.mkdir()
    path.write_text("\n".join(json.dumps({"id": text, "text": text, "length": len(text)}) for text in TEXTS))
    return path


def made(source: Path, embedder: JinaEmbedder, **options: Any) -> Corpus:
    out = source.parent.parent / "out"
    columns = options.pop("columns", Columns(keep=("text", "length")))
    embed_corpus(source, out, embedder=embedder, rows_per_file=16, columns=columns, overwrite=True, **options)
    return open_corpus(out)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_best_of_all_are_found(dtype: str, source: Path, embedder: JinaEmbedder) -> None:
    """The order of numpy over all vectors, across files and row groups."""
    corpus = made(source, embedder, dtype=dtype)
    vectors = embedder.embed_passages(TEXTS)
    query = embedder.embed_queries(["which one?"])[0]
    scores = vectors @ query
    best = np.argsort(-scores)[:7]
    found = corpus.search(query, count=7)
    assert [row.id for row in found] == [TEXTS[at] for at in best]
    assert np.allclose([row.score for row in found], scores[best], atol=1e-6 if dtype == "float32" else 1e-3)
    assert (found[0].text, found[0].kept["length"]) == (found[0].id, len(found[0].id))
    assert len(corpus) == len(TEXTS)
    assert [row.id for row in corpus] == TEXTS


@pytest.mark.parametrize("dtype", ["int8", "binary"])
def test_short_numbers_find_the_item_itself(dtype: str, source: Path, embedder: JinaEmbedder) -> None:
    """The score is about the cosine of what was stored."""
    corpus = made(source, embedder, dtype=dtype)
    vectors = embedder.embed_passages(TEXTS)
    assert {corpus.search(row, count=1)[0].id: None for row in vectors}.keys() == set(TEXTS)
    least = {"int8": 0.995, "binary": 0.6}[dtype]
    assert all((corpus.search(row, count=1)[0].score or 0) > least for row in vectors)


def test_multi_vectors_are_compared_by_maxsim(source: Path, embedder: JinaEmbedder) -> None:
    """Alone over everything, with embeddings over their candidates."""
    query = embedder.embed_multi_vector(["which one?"], prompt_name="query")[0]
    scores = maxsim([query], embedder.embed_multi_vector(TEXTS))[0]
    best = [TEXTS[at] for at in np.argsort(-scores, kind="stable")[:5]]
    for vectors in ("multi-vector", "both"):
        corpus = made(source, embedder, vectors=vectors, dtype="float32")
        assert [row.id for row in corpus.search(multi_vector=query, count=5)] == best
        found = search_corpus(corpus, embedder=embedder, query="which one?", count=5)
        assert [row.id for row in found] == best
        assert np.allclose([row.score for row in found], np.sort(scores)[::-1][:5], atol=1e-4)
    embedding = embedder.embed_queries(["which one?"])[0]
    few = corpus.search(embedding, multi_vector=query, count=5, candidates=5)
    assert {row.id for row in few} == {row.id for row in corpus.search(embedding, count=5)}


def test_pooled_multi_vectors_are_shorter(source: Path, embedder: JinaEmbedder) -> None:
    corpus = made(source, embedder, vectors="multi-vector", pool_factor=3)
    query = embedder.embed_multi_vector(["text 7"])[0]
    assert len(corpus.search(multi_vector=query, count=3)) == 3


def test_an_equal_score_keeps_the_order_of_the_corpus(tmp_path: Path, embedder: JinaEmbedder) -> None:
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": "the same"}) for _ in range(20)))
    embed_corpus(tmp_path / "rows.jsonl", tmp_path / "out", embedder=embedder, rows_per_file=4)
    found = open_corpus(tmp_path / "out").search(embedder.embed_queries(["a"])[0], count=7)
    assert [row.id for row in found] == [f"rows.jsonl#L{number}" for number in range(1, 8)]


@pytest.mark.parametrize("query", [np.zeros(31), np.full(32, np.nan), np.zeros((1, 32))])
def test_a_query_of_another_shape_is_refused(query: np.ndarray, source: Path, embedder: JinaEmbedder) -> None:
    with pytest.raises(InputError, match=r"expected \(32,\) finite numbers"):
        made(source, embedder).search(query)


def test_vectors_that_are_not_there_are_told(source: Path, embedder: JinaEmbedder) -> None:
    with pytest.raises(ConfigError, match="has no column 'multi_vector'"):
        made(source, embedder).search(multi_vector=np.ones((2, 64)))
    with pytest.raises(ConfigError, match="has multi-vectors alone"):
        made(source, embedder, vectors="multi-vector").search(np.ones(32))
    with pytest.raises(InputError, match="neither an embedding nor a multi-vector"):
        made(source, embedder).search()


def test_images_are_opened_from_where_they_came(tmp_path: Path, embedder: JinaEmbedder) -> None:
    """A file, a page of a PDF, and what the corpus keeps itself."""
    folder = tmp_path / "in"
    folder.mkdir()
    image = noise(40, 30)
    (folder / "a b.png").write_bytes(encoded(image))
    (folder / "c.pdf").write_bytes(make_pdf((100, 50), (50, 100)))
    (folder / "d.txt").write_text("a text")
    for keep in ((), ("image",)):
        embed_corpus(folder, tmp_path / "out", embedder=embedder, columns=Columns(keep=keep), overwrite=True)
        corpus = open_corpus(tmp_path / "out")
        rows = {row.id: row for row in corpus}
        opened = corpus.image(rows["a b.png"])
        assert opened is not None
        assert opened.pixels.tobytes() == image.tobytes()
        page = corpus.image(rows["c.pdf#page=2"])
        assert page is not None
        assert page.pixels.size == (100, 200)
        assert corpus.image(rows["d.txt#L1-1"]) is None
        if keep:
            (folder / "a b.png").unlink()
            assert corpus.image(rows["a b.png"]) is not None
        else:
            (folder / "a b.png").rename(folder / "moved.png")
            with pytest.raises(InputError, match=r"a b\.png: its image is not in the corpus"):
                corpus.image(rows["a b.png"])
            (folder / "moved.png").rename(folder / "a b.png")


def test_an_image_finds_itself(tmp_path: Path, embedder: JinaEmbedder) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in range(9):
        (folder / f"{seed}.png").write_bytes(encoded(noise(40, 30, seed=seed)))
    embed_corpus(folder, tmp_path / "out", embedder=embedder)
    corpus = open_corpus(tmp_path / "out")
    (found,) = search_corpus(corpus, embedder=embedder, image=folder / "4.png", count=1)
    assert (found.id, found.kind) == ("4.png", "image")
    for wrong in ({}, {"query": "a", "image": folder / "4.png"}):
        with pytest.raises(InputError, match="pass exactly one"):
            search_corpus(corpus, embedder=embedder, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"query": " "}, "^query: got an empty text"), ({"image": b"no image"}, "^image: .* is not an image")],
)
def test_a_query_that_cannot_be_embedded_is_named(
    asked: dict[str, Any], message: str, source: Path, embedder: JinaEmbedder
) -> None:
    """Not as items[0] of a list, which nobody passed."""
    embed_corpus(source, source.parent / "out", embedder=embedder)
    with pytest.raises(InputError, match=message):
        search_corpus(open_corpus(source.parent / "out"), embedder=embedder, **asked)


def test_the_embedder_of_a_corpus_has_its_settings(source: Path, embedder: JinaEmbedder, tmp_path: Path) -> None:
    """And another one is refused: other weights in the same folder."""
    corpus = made(source, embedder)
    make = in_memory([])
    with embedder_of(corpus, make=make) as same:
        assert same.fingerprint == embedder.fingerprint
    (tmp_path / "model" / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ConfigError, match="was made with fingerprint="):
        embedder_of(corpus, make=make)


def test_a_part_that_was_cut_or_lost_is_told(source: Path, embedder: JinaEmbedder) -> None:
    corpus = made(source, embedder)
    corpus.parts[1].write_bytes(corpus.parts[1].read_bytes()[:-1])
    with pytest.raises(ConfigError, match=r"part-00001\.parquet' has \d+ bytes; expected \d+"):
        open_corpus(corpus.folder)
    with pytest.raises(ConfigError, match="is not a corpus"):
        open_corpus(source.parent)


def test_only_a_row_group_is_in_memory(source: Path, embedder: JinaEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call reads two parts at a time."""
    corpus = made(source, embedder)
    assert [len(rows) for rows in corpus.embeddings()] == [16, 16, 16, 12]
    seen: list[int] = []
    real = parquet_search.best_of

    def best(*arguments: Any) -> Any:
        seen.append(len(arguments[1]))
        return real(*arguments)

    monkeypatch.setattr(parquet_search, "best_of", best)
    corpus.search(np.ones(32), count=3)
    assert seen == [16, 16, 16, 12]


# --- the commands -----------------------------------------------------------------------------------------------------


@pytest.fixture
def model(embedder: JinaEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments that name the checkpoint in memory."""
    monkeypatch.setattr(JinaEmbedder, "_pool", type(embedder)._pool)
    return ["--model", str(tmp_path / "model"), "--dimensions", "32"]


def test_the_commands_embed_and_search(
    model: list[str], source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    Image.new("RGB", (40, 40), "red").save(source.parent / "red.png")
    assert main(["embed", str(source.parent), "--out", out, *model, "--keep", "text", "length"]) == 0
    end = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (end["event"], end["rows"], end["errors"], end["complete"]) == ("end", 61, {}, True)
    assert main(["search", out, "text 7", "--json", "-n", "3"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 3
    assert {"id", "score", "text", "source", "kind", "length"} >= set(lines[0])
    page = tmp_path / "page.html"
    assert main(["search", out, "--image", str(source.parent / "red.png"), "-n", "2", "--html", str(page)]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[0].split()[2] == "red.png"
    assert 'src="data:image/jpeg;base64,' in page.read_text()


def test_a_terminal_that_can_shows_the_images(
    model: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for each image that is found and still there; none in a file, in JSON, or where not wanted."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("red", "blue", "gone"):
        Image.new("RGB", (40, 40), "red" if name == "gone" else name).save(folder / f"{name}.png")
    (folder / "a.txt").write_text("a text")
    out = str(tmp_path / "out")
    assert main(["embed", str(folder), "--out", out, *model]) == 0
    (folder / "gone.png").unlink()
    monkeypatch.setenv("TERM", "xterm-kitty")
    monkeypatch.delenv("TMUX", raising=False)
    for is_terminal, options, count in (
        (True, [], 2),
        (True, ["--no-images"], 0),
        (True, ["--json"], 0),
        (False, [], 0),
    ):
        capsys.readouterr()
        monkeypatch.setattr(sys.stdout, "isatty", lambda is_terminal=is_terminal: is_terminal, raising=False)
        assert main(["search", out, "red", *options]) == 0
        shown = capsys.readouterr().out
        assert shown.count("\x1b_Ga=T,f=100") == count
        assert "gone.png" in shown


def test_exit_codes(model: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out"), *model]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a")
    (tmp_path / "in" / "b.txt").write_text("")
    assert main(["embed", str(tmp_path / "in"), *out]) == 0
    assert main(["embed", str(tmp_path / "in"), *out, "--strict"]) == 1
    assert main(["embed", str(tmp_path / "in" / "b.txt"), "--out", str(tmp_path / "bad"), *model]) == 1
    assert main(["embed", str(tmp_path / "nothing"), *out]) == 2
    assert main(["embed", str(tmp_path / "in"), *out, "--pages", "both"]) == 2
    assert main(["search", str(tmp_path / "out")]) == 2
    assert main(["search", str(tmp_path / "in"), "a"]) == 2
    assert "pages='image' (here 'both')" in capsys.readouterr().err


def test_a_dry_run_counts_and_writes_nothing(
    model: list[str], source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source.parent / "empty.txt").write_text("")
    Image.new("RGB", (56, 56)).save(source.parent / "a.png")
    assert main(["embed", str(source.parent), "--out", str(tmp_path / "out"), *model, "--dry-run"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert (counted["items"], counted["errors"], counted["bytes"]) == (61, {"empty": 1}, 61 * 32 * 4)
    assert counted["kinds"] == {"image": 1, "text": 60}
    assert counted["tokens"] > 61
    assert not (tmp_path / "out").exists()


def test_a_corpus_from_elsewhere_runs_no_code_and_opens_no_other_file(source: Path, embedder: JinaEmbedder) -> None:
    """Its manifest names arguments for vLLM, and its rows files: neither is believed."""
    corpus = made(source, embedder)
    corpus.manifest["vectors"]["engine_kwargs"] = '{"trust_remote_code": true}'
    with pytest.raises(ConfigError, match="They may run code"):
        embedder_of(corpus, make=in_memory([]))
    with embedder_of(corpus, engine_kwargs={"max_num_seqs": 4}, make=in_memory([])) as asked:
        assert asked.settings.engine.options == {"max_num_seqs": 4}
    (source.parent.parent / "secret.png").write_bytes(encoded(noise(8, 8)))
    (source.parent / "shown.png").write_bytes(encoded(noise(8, 8)))
    row = next(iter(corpus))
    corpus.manifest["items"]["sources"] = [{"prefix": "", "root": str(source.parent)}]
    assert corpus.image(replace(row, kind="image", source="shown.png", image=None)) is not None
    with pytest.raises(InputError, match="its file is not there"):
        corpus.image(replace(row, kind="image", source="../secret.png", image=None))
