"""The files of a corpus in the tools of others: no conversion, no lost number, the same nearest item."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.corpus import Columns, Corpus, embed_corpus, open_corpus

pytestmark = pytest.mark.wide

TEXTS = [f"text {number}" for number in range(40)]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JinaEmbedder]:
    with in_memory([])(write_folder(tmp_path_factory.mktemp("model")), dimensions=32) as embedder:
        yield embedder


@pytest.fixture(scope="module", params=["float32", "float16"])
def corpus(request: pytest.FixtureRequest, embedder: JinaEmbedder, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    rows = [{"id": text, "text": text, "year": 1990 + number} for number, text in enumerate(TEXTS)]
    rows[7] = {"id": "bad", "text": ""}  # a bad item leaves no null vector behind
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = Columns(keep=("text", "year"))
    options: dict[str, Any] = {"vectors": "both", "dtype": request.param, "rows_per_file": 16}
    embed_corpus(folder / "rows.jsonl", folder / "out", embedder=embedder, columns=columns, **options)
    return open_corpus(folder / "out")


@pytest.fixture(scope="module")
def good() -> list[str]:
    return [text for number, text in enumerate(TEXTS) if number != 7]


@pytest.fixture(scope="module")
def vectors(embedder: JinaEmbedder, good: list[str]) -> np.ndarray:
    return embedder.embed_passages(good)


def test_pyarrow_reads_without_a_copy(corpus: Corpus, vectors: np.ndarray, embedder: JinaEmbedder) -> None:
    """Embeddings and multi-vectors; the schema is the manifest's own after the round trip."""
    dtype = corpus.settings["dtype"]
    table = pq.read_table(list(corpus.parts))
    assert [field.type for field in table.schema] == [field.type for field in pq.read_schema(corpus.parts[0])]
    assert {field.name: str(field.type) for field in table.schema} == corpus.manifest["columns"]
    assert "element" in str(table.schema.field("embedding").type)
    assert table["embedding"].null_count == 0
    rows = []
    for part in corpus.parts:
        column = pq.read_table(part)["embedding"].combine_chunks()
        rows.append(column.values.to_numpy(zero_copy_only=True).reshape(-1, 32))
    assert rows[0].dtype == dtype
    assert np.array_equal(np.concatenate(rows), vectors.astype(dtype))
    column = pq.read_table(corpus.parts[0])["multi_vector"].combine_chunks()
    numbers = column.values.values.to_numpy(zero_copy_only=True).reshape(-1, 64)
    ends = column.offsets.to_numpy()
    (first,) = embedder.embed_multi_vector([TEXTS[0]])
    assert np.array_equal(numbers[ends[0] : ends[1]], first.astype(numbers.dtype))


def test_pandas(corpus: Corpus, vectors: np.ndarray) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(list(corpus.parts))
    assert np.array_equal(np.stack(frame["embedding"].to_list()), vectors.astype(corpus.settings["dtype"]))
    assert frame["year"].tolist()[0] == 1990


def test_datasets(corpus: Corpus, vectors: np.ndarray, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    found = datasets.Dataset.from_parquet([str(part) for part in corpus.parts], cache_dir=str(tmp_path))
    assert found.features["embedding"].length == 32
    assert np.allclose(np.array(found["embedding"][:]), vectors, atol=1e-3)


def test_duckdb(corpus: Corpus, vectors: np.ndarray, good: list[str]) -> None:
    """Numbers are the same, and lists are compared as they are."""
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as database:
        parts = database.read_parquet([str(part) for part in corpus.parts])
        database.register("corpus", parts)
        assert dict(zip(parts.columns, map(str, parts.types), strict=True))["multi_vector"] == "FLOAT[][]"
        found = database.sql("SELECT id, year, embedding FROM corpus").fetchall()
        assert [row[:2] for row in found[:2]] == [(good[0], 1990), (good[1], 1991)]
        assert np.array_equal(np.array([row[2] for row in found], np.float32), _stored(vectors, corpus))
        query = "SELECT id FROM corpus ORDER BY list_cosine_similarity(embedding, ?::FLOAT[]) DESC LIMIT 1"
        assert database.execute(query, [vectors[3].tolist()]).fetchall() == [(good[3],)]


def _stored(vectors: np.ndarray, corpus: Corpus) -> np.ndarray:
    return vectors.astype(corpus.settings["dtype"]).astype(np.float32)


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """Spark in this process's own Java; without what it writes beside the folder it is started in."""
    pyspark_sql = pytest.importorskip("pyspark.sql")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    session = (
        pyspark_sql.SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .getOrCreate()
    )
    yield session
    session.stop()


def test_spark(corpus: Corpus, vectors: np.ndarray, good: list[str], spark: Any) -> None:
    """Embeddings are arrays of floats; a file with a float16 column is refused, as docs/corpus.md says."""
    frame = spark.read.parquet
    parts = [str(part) for part in corpus.parts]
    if corpus.settings["dtype"] == "float16":
        with pytest.raises(Exception, match="FLOAT16"):
            frame(*parts).collect()
        return
    types = dict(frame(*parts).dtypes)
    assert (types["embedding"], types["multi_vector"]) == ("array<float>", "array<array<float>>")
    found = {row["id"]: row["embedding"] for row in frame(*parts).select("id", "embedding").collect()}
    assert np.array_equal(np.array([found[name] for name in good], np.float32), vectors)


def test_lancedb(corpus: Corpus, vectors: np.ndarray, good: list[str], tmp_path: Path, embedder: JinaEmbedder) -> None:
    """A stream of the files becomes a table; both kinds of vector are searched."""
    lancedb = pytest.importorskip("lancedb")

    def batches() -> Iterator[pa.RecordBatch]:
        for part in corpus.parts:
            yield from pq.read_table(part).to_batches()

    schema = pq.read_schema(corpus.parts[0])
    table = lancedb.connect(str(tmp_path)).create_table("corpus", data=batches(), schema=schema)
    assert table.count_rows() == len(good)
    hit = table.search(vectors[3], vector_column_name="embedding").limit(1).to_list()[0]
    assert hit["id"] == good[3]
    (tokens,) = embedder.embed_multi_vector([good[5]])
    found = table.search(tokens, vector_column_name="multi_vector").distance_type("cosine").limit(1).to_list()
    assert found[0]["id"] == good[5]


def test_qdrant(corpus: Corpus, vectors: np.ndarray, good: list[str]) -> None:
    pytest.importorskip("qdrant_client")
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    client.create_collection("corpus", models.VectorParams(size=32, distance=models.Distance.COSINE))
    rows = np.concatenate(list(corpus.embeddings()))
    client.upload_collection("corpus", vectors=rows, payload=[{"id": row.id} for row in corpus], ids=range(len(rows)))
    hits = client.query_points("corpus", query=vectors[3].tolist(), limit=1).points
    assert hits[0].payload == {"id": good[3]}
    client.close()


def test_chroma(corpus: Corpus, vectors: np.ndarray, good: list[str]) -> None:
    chromadb = pytest.importorskip("chromadb")
    collection = chromadb.EphemeralClient().get_or_create_collection(f"corpus-{corpus.settings['dtype']}")
    rows = np.concatenate(list(corpus.embeddings()))
    collection.add(ids=[row.id for row in corpus], embeddings=rows, documents=[row.text for row in corpus])
    assert collection.query(query_embeddings=[vectors[3]], n_results=1)["ids"] == [[good[3]]]
