"""A corpus in a Qdrant collection: the rows of the Parquet files, and LangChain's store opens it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from tests.support.corpus_files import Expected, Failing, write_corpus
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import ConfigError, JinaEmbedder
from vllm_jina_embed.corpus import Columns, Summary, embed_corpus, open_corpus, work
from vllm_jina_embed.corpus.entries import Content, Entry
from vllm_jina_embed.corpus.parquet_parts import Shape
from vllm_jina_embed.corpus.qdrant import SERVER_BYTES, QdrantPoints
from vllm_jina_embed.corpus.work import Result
from vllm_jina_embed.errors import EngineError, WriteError
from vllm_jina_embed.inputs.images import open_image
from vllm_jina_embed.inputs.policy import MediaPolicy

pytestmark = pytest.mark.wide


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Expected]:
    folder = tmp_path_factory.mktemp("made") / "corpus"
    return folder, write_corpus(folder, 100)


@pytest.fixture
def embedder(tmp_path: Path) -> Iterator[JinaEmbedder]:
    with in_memory([])(write_folder(tmp_path / "model"), dimensions=32) as embedder:
        yield embedder


@pytest.fixture
def run(made: tuple[Path, Expected], embedder: JinaEmbedder, tmp_path: Path) -> Callable[..., Summary]:
    def run(out: object = None, **options: Any) -> Summary:
        options = {"columns": Columns(keep=("text", "image", "year")), "rows_per_file": 64, **options}
        return embed_corpus(made[0], str(out or f"qdrant://{tmp_path}/db/pages"), embedder=embedder, **options)

    return run


def stored(tmp_path: Path, *, vectors: bool = True) -> dict[str, Any]:
    """Return all points by their rows' ids; none is there twice."""
    client = QdrantClient(path=str(tmp_path / "db"))
    try:
        points, _ = client.scroll("pages", limit=100_000, with_vectors=vectors)
    finally:
        client.close()
    found = {point.payload["id"]: point for point in points if point.payload is not None}
    assert len(found) == len(points)
    return found


def test_the_collection_holds_the_rows_of_the_files(
    run: Callable[..., Summary], made: tuple[Path, Expected], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After two interruptions; images are data URIs, which open as what they were."""
    monkeypatch.setattr(work, "WINDOW", 8)
    monkeypatch.setattr(work, "AHEAD", 8)
    run(tmp_path / "files", vectors="both", dtype="float32")
    for after in (40, 80):
        with pytest.raises(EngineError):
            run(vectors="both", dtype="float32", report=Failing(after))
    summary = run(vectors="both", dtype="float32")
    assert summary.known > 0
    assert dict(summary.errors) == made[1].kinds
    points = stored(tmp_path)
    assert set(points) == made[1].good
    corpus = open_corpus(tmp_path / "files")
    rows = np.concatenate(list(corpus.embeddings()))
    for row, vector in zip(corpus, rows, strict=True):
        point = points[row.id]
        assert np.allclose(point.vector["embedding"], vector, atol=1e-6)
        assert point.payload["metadata"] == row.metadata
        content = point.payload["page_content"]
        if row.image is not None:
            image = corpus.image(row)
            assert image is not None
            assert open_image(content, MediaPolicy()).tobytes() == image.pixels.tobytes()
        else:
            assert content == row.text
    assert (run(vectors="both", dtype="float32").rows, summary.complete) == (0, True)


def test_langchain_opens_it_in_three_lines(run: Callable[..., Summary], tmp_path: Path, embedder: JinaEmbedder) -> None:
    langchain_qdrant = pytest.importorskip("langchain_qdrant")
    from vllm_jina_embed.langchain import VllmJinaEmbeddings

    run()
    client = QdrantClient(path=str(tmp_path / "db"))
    store = langchain_qdrant.QdrantVectorStore(
        client, "pages", VllmJinaEmbeddings(embedder=embedder), vector_name="embedding"
    )
    (row,) = embedder.embed_passages(["Line 3, with a comma"])
    ((found, score),) = store.similarity_search_with_score_by_vector(row.tolist(), k=1)
    client.close()
    assert (found.page_content, found.metadata["year"]) == ("Line 3, with a comma", 1903)
    assert score == pytest.approx(1, abs=1e-5)


def test_a_collection_of_another_program_is_left_alone(run: Callable[..., Summary], tmp_path: Path) -> None:
    from qdrant_client import models

    client = QdrantClient(path=str(tmp_path / "db"))
    client.create_collection("pages", models.VectorParams(size=2, distance=models.Distance.DOT))
    client.close()
    with pytest.raises(ConfigError, match="another program made it"):
        run(overwrite=True)
    with pytest.raises(ConfigError, match="dtype='int8': Qdrant makes such numbers itself"):
        run(dtype="int8")


def test_a_server_that_is_not_there_is_told(run: Callable[..., Summary], tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"Qdrant at 'http://127\.0\.0\.1:9': .*refused\. Every finished shard is kept"):
        run("qdrant://127.0.0.1:9/pages", journal=tmp_path / "journal")


def test_a_password_is_not_taken(run: Callable[..., Summary]) -> None:
    with pytest.raises(ConfigError, match="QDRANT_API_KEY") as error:
        run("qdrants://me:secret@host/pages")
    assert "secret" not in str(error.value)


def test_a_request_is_shorter_than_what_a_server_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 1,000 tokens, and images of 6 MB, in JSON as the client sends them; Qdrant's own limit is 32 MB."""
    sizes: list[int] = []

    def noted(self: QdrantPoints, method: str, **arguments: Any) -> Any:
        if method == "upsert":
            sizes.append(len(models.PointsList(points=arguments["points"]).model_dump_json()))

    monkeypatch.setattr(QdrantPoints, "_call", noted)
    table = QdrantPoints("pages", Shape(dimensions=None, token_dimensions=128, image=True, kept={}), path=str(tmp_path))
    tokens = np.random.default_rng(0).standard_normal((1000, 128)).astype(np.float32) / 1000
    pages = [Content(text="a" * 1000)] * 12 + [Content(file=b"x" * 6_000_000)] * 4
    table.begin(0)
    table.add(
        [
            Result(entry=Entry(id=str(at), source="a"), content=content, multi_vector=tokens, kind="image")
            for at, content in enumerate(pages)
        ]
    )
    table.finish()
    table.close()
    assert max(sizes) < SERVER_BYTES
    assert len(sizes) == 7  # 5, 5, 2 of tokens, and each image alone


def test_an_item_that_no_request_holds_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: QdrantPoints, method: str, **arguments: Any) -> Any:
        if method == "upsert":
            raise WriteError("Qdrant: 413 Payload Too Large.")

    monkeypatch.setattr(QdrantPoints, "_call", refused)
    table = QdrantPoints("pages", Shape(dimensions=4, token_dimensions=None, image=True, kept={}), path=str(tmp_path))
    table.begin(0)
    table.add([Result(entry=Entry(id="scan.png", source="a"), content=Content(file=b"x" * 30_000_000))])
    with pytest.raises(WriteError, match=r"item 'scan\.png' has about 40 MB .* takes 34 MB .*413 Payload"):
        table.finish()
    table.close()
