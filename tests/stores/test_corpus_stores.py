"""A corpus in every store: the rows of the Parquet files whatever interrupts the run, found in the same order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.corpus_files import Expected, Failing, write_corpus
from tests.support.corpus_stores import STORES, Store
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import ConfigError, JinaEmbedder
from vllm_jina_embed.cli import main
from vllm_jina_embed.corpus import Columns, Corpus, Row, Summary, embed_corpus, open_corpus, search_corpus, work
from vllm_jina_embed.corpus.postgres import table_of
from vllm_jina_embed.errors import EngineError
from vllm_jina_embed.scoring.maxsim import maxsim

pytestmark = pytest.mark.wide

TEXTS = [f"text {number}" for number in range(60)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Expected]:
    folder = tmp_path_factory.mktemp("made") / "corpus"
    return folder, write_corpus(folder, 50)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JinaEmbedder]:
    with in_memory([])(write_folder(tmp_path_factory.mktemp("model")), dimensions=32) as embedder:
        yield embedder


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](tmp_path / "db")


@pytest.fixture
def run(
    made: tuple[Path, Expected], embedder: JinaEmbedder, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Summary]:
    monkeypatch.chdir(tmp_path)  # the journal of a server's table lies here

    def run(out: object = None, source: Path = made[0], **options: Any) -> Summary:
        given = {"columns": Columns(keep=("text", "image", "year")), "rows_per_file": 32, "embedder": embedder}
        return embed_corpus(source, str(out or store.out), **{**given, **options})

    return run


def rows_of(corpus: Corpus) -> dict[str, Row]:
    return {row.id: row for row in corpus}


def test_the_store_holds_the_rows_of_the_files(
    run: Callable[..., Summary],
    store: Store,
    made: tuple[Path, Expected],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After two interruptions: texts, images, kept columns and vectors; and nothing is computed again then."""
    monkeypatch.setattr(work, "WINDOW", 8)
    monkeypatch.setattr(work, "AHEAD", 8)
    run(tmp_path / "files", dtype="float32")
    for after in (20, 40):
        with pytest.raises(EngineError):
            run(report=Failing(after))
    summary = run()
    assert summary.known > 0
    assert dict(summary.errors) == made[1].kinds
    files = open_corpus(tmp_path / "files")
    with open_corpus(store.out) as corpus:
        assert rows_of(corpus) == rows_of(files)
        assert len(corpus) == corpus.store.count() == len(made[1].good)
    vectors = store.vectors()
    expected = np.concatenate(list(files.embeddings()))
    for row, vector in zip(files, expected, strict=True):
        assert np.allclose(vectors[row.id], vector, atol=1e-6)
    assert (run().rows, run().shards) == (0, 0)


def test_lost_rows_are_told_and_computed_again(run: Callable[..., Summary], store: Store) -> None:
    run()
    whole = store.vectors()
    store.remove(next(iter(whole)))
    with pytest.raises(ConfigError, match=rf"has {len(whole) - 1} rows; expected {len(whole)}"):
        open_corpus(store.out)
    assert run().shards == 1
    after = store.vectors()
    assert after.keys() == whole.keys()
    assert all(np.array_equal(after[name], whole[name]) for name in whole)


def test_a_table_of_another_program_is_left_alone(run: Callable[..., Summary], store: Store) -> None:
    store.foreign()
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="another program made it"):
            run(overwrite=overwrite)


def test_a_corpus_of_other_settings_is_refused_by_name(
    run: Callable[..., Summary], store: Store, tmp_path: Path
) -> None:
    """And begun anew where asked."""
    run()
    other = in_memory([])(write_folder(tmp_path / "other"), dimensions=16)
    with other, pytest.raises(ConfigError, match=r"dimensions=32 \(here 16\)"):
        run(embedder=other)
    with pytest.raises(ConfigError, match=r"keep=.*\(here"):
        run(columns=Columns(keep=("text",)))
    run(columns=Columns(keep=("text",)), overwrite=True)
    with open_corpus(store.out) as corpus:
        assert all(row.image is None for row in corpus)
    (corpus.folder / "manifest.json").unlink()
    with pytest.raises(ConfigError, match="is not a corpus: it has no manifest"):
        open_corpus(store.out)


# --- search -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Sixty texts with a number and a list, and twelve images."""
    folder = tmp_path / "in"
    folder.mkdir()
    write_rows(folder, {})
    for seed in range(12):
        (folder / f"{seed:02d}.png").write_bytes(encoded(noise(40, 30, seed=seed)))
    return folder


def write_rows(folder: Path, others: dict[str, str]) -> None:
    """Write the texts; an id in ``others`` gets the text of another."""
    rows = []
    for text in TEXTS:
        name = f"it's {text}"
        own = others.get(name, name).removeprefix("it's ")
        rows.append({"id": name, "text": own, "length": len(own), "words": own.split()})
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))


def ranked(source: Path, embedder: JinaEmbedder, query: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the ids and the cosines of all items, best first: one product in numpy."""
    images = sorted(source.glob("*.png"))
    rows = np.concatenate([embedder.embed_passages(TEXTS), embedder.embed_images(images)])
    names = [f"it's {text}" for text in TEXTS] + [path.name for path in images]
    scores = rows @ query
    order = np.argsort(-scores)
    return [names[at] for at in order], scores[order]


def test_a_search_has_the_order_of_brute_force(
    run: Callable[..., Summary], store: Store, source: Path, embedder: JinaEmbedder
) -> None:
    """By a text and by an image; two vectors that are swapped are seen."""
    run(source=source, columns=Columns(keep=("text", "length", "words")))
    text = embedder.embed_queries(["which one?"])[0]
    image = embedder.embed([{"image": str(source / "04.png")}], prompt_name="query")[0]
    with open_corpus(store.out) as corpus:
        for query, asked in ((text, {"query": "which one?"}), (image, {"image": source / "04.png"})):
            names, scores = ranked(source, embedder, query)
            found = search_corpus(corpus, embedder=embedder, count=20, **asked)
            assert [row.id for row in found] == names[:20]
            assert np.allclose([row.score for row in found], scores[:20], atol=1e-5)
        row = next(row for row in corpus if row.id == "it's text 7")
        assert (row.text, row.source, row.kind) == ("text 7", "rows.jsonl", "text")
        assert (row.kept["length"], row.page) == (6, None)
        (same,) = corpus.store.get([key_of(store, row.id)])
        assert same == row
        with pytest.raises(KeyError):
            corpus.store.get([key_of(store, "nothing")])
    (source / "04.png").unlink()  # the items behind it move to other shards
    texts = [name for name in ranked(source, embedder, text)[0][:20] if name.endswith(tuple("0123456789"))]
    first, last = texts[0], texts[-1]
    swapped = {first: last, last: first}
    write_rows(source, swapped)  # planted: each has the other's vector
    run(source=source, columns=Columns(keep=("text", "length", "words")))
    names, _ = ranked(source, embedder, text)
    with open_corpus(store.out) as corpus:
        found = [row.id for row in corpus.search(text, count=20)]
        assert "04.png" not in [row.id for row in corpus.search(image, count=72)]
    assert found != names[:20]
    assert found == [swapped.get(name, name) for name in names[:20]]


def test_the_command_searches_it(
    run: Callable[..., Summary],
    store: Store,
    source: Path,
    embedder: JinaEmbedder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same fields as for files, and the image found by itself."""
    monkeypatch.setattr(JinaEmbedder, "_pool", type(embedder)._pool)
    run(source=source, columns=Columns(keep=("text", "length")))
    assert main(["search", store.out, "text 7", "--json", "-n", "3"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 3
    assert {"id", "score", "text", "source", "kind", "length"} >= set(lines[0])
    assert main(["search", store.out, "--image", str(source / "04.png"), "-n", "1"]) == 0
    assert "04.png  (image, 04.png)" in capsys.readouterr().out
    assert main(["search", store.out.replace("pages", "others"), "a"]) == 2
    assert "is not a corpus: it has no manifest.json" in capsys.readouterr().err


def key_of(store: Store, name: str) -> str:
    """Return what the store itself calls a row."""
    from vllm_jina_embed.corpus.qdrant import point_id

    return point_id(name) if store.out.startswith("qdrant") else name


def test_multi_vectors_are_ranked_by_maxsim(
    run: Callable[..., Summary], store: Store, source: Path, embedder: JinaEmbedder
) -> None:
    """Alone over everything, with embeddings over their candidates; Chroma has none and says so.

    Texts with the same digits have the same score, so each is held to its own.
    """
    for path in source.glob("*.png"):
        path.unlink()
    if not store.has_tokens:
        with pytest.raises(ConfigError, match="Chroma has no multi-vectors: embed with vectors='embedding'"):
            run(source=source, columns=Columns(), vectors="both")
        return
    query = embedder.embed_multi_vector(["which one?"], prompt_name="query")[0]
    scores = maxsim([query], embedder.embed_multi_vector(TEXTS))[0]
    own = {f"it's {text}": score for text, score in zip(TEXTS, scores, strict=True)}
    embedding = embedder.embed_queries(["which one?"])[0]
    halves = [("both", "float16", 2e-2)] if not store.out.startswith("postgresql") or has_halfvec(store) else []
    for vectors, dtype, most in [("multi-vector", "float32", 1e-4), ("both", "float32", 1e-4), *halves]:
        run(source=source, columns=Columns(), vectors=vectors, dtype=dtype, overwrite=True)
        with open_corpus(store.out) as corpus:
            found = search_corpus(corpus, embedder=embedder, query="which one?", count=9)
            assert np.allclose([row.score for row in found], np.sort(scores)[::-1][:9], atol=most)
            assert np.allclose([row.score for row in found], [own[row.id] for row in found], atol=most)
            if vectors == "both":
                few = corpus.search(embedding, multi_vector=query, count=5, candidates=5)
                near = {row.id for row in corpus.search(embedding, count=5)}
                assert {row.id for row in few} == near
                assert np.allclose(
                    [row.score for row in few], sorted((own[name] for name in near), reverse=True), atol=most
                )


REFUSED = {
    ("chroma", "float16"): "Chroma stores float32 alone",
    ("chroma", "int8"): "Chroma stores float32 alone",
    ("chroma", "binary"): "Chroma stores float32 alone",
    ("qdrant", "int8"): "Qdrant makes such numbers itself",
    ("qdrant", "binary"): "Qdrant makes such numbers itself",
    ("postgresql", "int8"): "pgvector has no such numbers. Choose one of float32, float16, binary",
}
"""What a store says of numbers that it does not hold."""


@pytest.mark.parametrize("dtype", ["float16", "int8", "binary"])
def test_shorter_numbers_are_searched_or_refused(
    dtype: str, run: Callable[..., Summary], store: Store, source: Path, embedder: JinaEmbedder, tmp_path: Path
) -> None:
    """The order is that of the Parquet files with the same numbers; a refusal says what the store takes."""
    kind = store.out.partition(":")[0]
    options: dict[str, Any] = {"source": source, "columns": Columns(), "dtype": dtype}
    refused = REFUSED.get((kind, dtype))
    if (kind, dtype) == ("postgresql", "float16") and not has_halfvec(store):
        refused = r"float16 needs pgvector 0\.7 \(here 0\.6"
    if refused is not None:
        with pytest.raises(ConfigError, match=refused):
            run(**options)
        return
    run(**options)
    run(tmp_path / "files", **options)
    query = embedder.embed_queries(["which one?"])[0]
    expected = open_corpus(tmp_path / "files").search(query, count=9)
    with open_corpus(store.out) as corpus:
        found = corpus.search(query, count=9)
    assert np.allclose([row.score for row in found], [row.score for row in expected], atol=2e-3)
    if dtype != "float16":  # Qdrant normalises its half floats once more
        assert [row.id for row in found] == [row.id for row in expected]


def has_halfvec(store: Store) -> bool:
    """Tell whether a server's pgvector has half floats."""
    import psycopg

    url, _ = table_of(store.out)
    with psycopg.connect(url) as connection:
        query = "SELECT count(*) FROM pg_available_extension_versions WHERE name = 'vector' AND version >= '0.7'"
        return bool(connection.execute(query).fetchone() != (0,))
