"""A newcomer's walk: thirty mixed files, some of them broken, into each place, and every way to ask of them."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from llama_index.core import VectorStoreIndex
from mcp import Client, StdioServerParameters, stdio_client
from mcp.types import CallToolResult, ImageContent, TextContent

from tests.support.images import encoded
from vllm_jina_embed import JinaEmbedder, langchain, llama_index
from vllm_jina_embed.cli import main
from vllm_jina_embed.corpus import open_corpus
from vllm_jina_embed.demo.drawing import UNSEEN_SEED, draw

pytestmark = [pytest.mark.real, pytest.mark.wide, pytest.mark.timeout(900)]

EXAMPLES = Path(__file__).parents[2] / "examples"
THINGS = ["red circle", "blue star", "forest", "desert", "pink cross", "green square", "yellow star", "black circle"]
BAD = {"column": 1, "empty": 3, "encoding": 1, "image": 3, "pdf": 1, "row": 2, "unreadable": 1}
STORES = ["lancedb", "qdrant", "chroma"]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images, six texts, a PDF of four pages, tables, and twelve things that are wrong."""
    folder = tmp_path_factory.mktemp("walk") / "documents"
    (folder / "odd").mkdir(parents=True)
    for number, concept in enumerate(THINGS):
        ending, kind = (".jpg", "JPEG") if number % 2 else (".png", "PNG")
        image = draw(concept, seed=UNSEEN_SEED + number, size=(300, 240))
        (folder / f"{concept}{ending}").write_bytes(encoded(image, kind))
    for number, ending in enumerate((".txt", ".md", ".rst") * 2):
        (folder / f"note {number}{ending}").write_text(f"Note {number} on trees.\n\nThere are {number} of them.\n")
    (folder / "sunset.md").write_text("Ein Sonnenuntergang am Strand", encoding="utf-8")
    runpy.run_path(str(EXAMPLES / "make_report.py"))["make_report"](folder / "report.pdf")
    (folder / "rows.jsonl").write_text('{"id": "row", "text": "a mountain"}\n{"id": "none", "text": ""}\n{"half\n')
    (folder / "rows.csv").write_text("id,text\ncsv-1,a lake\ncsv-2,a river,too many\n")
    pq.write_table(pa.table({"id": ["parquet"], "text": ["a city at night"]}), folder / "rows.parquet")
    (folder / "prices.csv").write_text("product,price\nbread,3\n")
    odd = folder / "odd"
    (odd / "cut.png").write_bytes((folder / "red circle.png").read_bytes()[:200])
    (odd / "text.png").write_text("a text")
    (odd / "zero.jpg").write_bytes(b"")
    (odd / "cut.pdf").write_bytes((folder / "report.pdf").read_bytes()[:300])
    (odd / "empty.txt").write_text("")
    (odd / "empty.csv").write_text("")
    (odd / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    (odd / "out.txt").symlink_to("/etc/hostname")
    (odd / ".hidden.txt").write_text("is passed over")
    (odd / "letter.docx").write_bytes(b"PK")
    return folder


def out_of(name: str, folder: Path) -> str:
    return str(folder / "corpus") if name == "parquet" else f"{name}://{folder}/database/pages"


@pytest.mark.parametrize("name", ["parquet", *(pytest.param(name, marks=pytest.mark.siege) for name in STORES)])
def test_a_newcomer_finds_an_image_every_way(
    name: str, documents: Path, demo_embedder: JinaEmbedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same best answer by the command, by both frameworks, and by an image; the page of results shows it."""
    out = out_of(name, tmp_path)
    embed = ["embed", str(documents), "--out", out, "--keep", "text", "image"]
    assert main([*embed, "--dry-run"]) == 0
    assert main(embed) == 0
    assert '"known": 0' in capsys.readouterr().out
    assert main(embed) == 0  # everything is there
    assert '"rows": 0, "known": 22' in capsys.readouterr().out
    html = tmp_path / "results.html"
    assert main(["search", out, "a blue star", "--count", "3", "--html", str(html)]) == 0
    assert capsys.readouterr().out.lstrip().partition("  ")[2][8:].startswith("blue star.jpg  (image, blue star.jpg)")
    assert "data:image/" in html.read_text()
    assert main(["search", out, "--image", str(documents / "forest.png"), "--count", "1"]) == 0
    assert "forest.png  (image" in capsys.readouterr().out
    with open_corpus(out) as corpus:
        retriever = langchain.CorpusRetriever(corpus=corpus, embedder=demo_embedder, k=1)
        assert retriever.invoke("a blue star")[0].metadata["source"] == "blue star.jpg"
        nodes = llama_index.CorpusRetriever(corpus, embedder=demo_embedder, similarity_top_k=1)
        assert nodes.retrieve("a desert")[0].node.metadata["source"] == "desert.jpg"
        if name == "parquet":
            return
        store = langchain.corpus_store(corpus, langchain.VllmJinaEmbeddings(embedder=demo_embedder))
        assert store.similarity_search("a blue star", k=1)[0].metadata["source"] == "blue star.jpg"
        embedding = llama_index.VllmJinaEmbedding(embedder=demo_embedder)
        index = VectorStoreIndex.from_vector_store(llama_index.corpus_store(corpus), embed_model=embedding)
        found = index.as_retriever(similarity_top_k=1).retrieve("a desert")
        assert found[0].node.metadata["source"] == "desert.jpg"


def test_what_is_wrong_is_told_once_with_its_reason(
    documents: Path, demo_embedder: JinaEmbedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", str(documents), "--out", str(tmp_path / "corpus"), "--strict"]) == 1
    told = capsys.readouterr().out
    for kind, count in BAD.items():
        assert f'"{kind}": {count}' in told, told
    assert f'"errors_in": "{tmp_path / "corpus" / "errors"}"' in told
    assert (tmp_path / "corpus" / "errors" / "part-00000.jsonl").read_text().count("\n") == sum(BAD.values())


async def test_an_agent_finds_and_sees_it(documents: Path, demo_embedder: JinaEmbedder, tmp_path: Path) -> None:
    """The folder that embed wrote is served as it is."""
    out = str(tmp_path / "corpus")
    assert main(["embed", str(documents), "--out", out, "--keep", "text", "image"]) == 0
    environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "vllm_jina_embed.cli", "mcp", out], env=environment
    )
    with (tmp_path / "stderr").open("w") as log:
        async with Client(stdio_client(server, errlog=log)) as client:
            result = await client.call_tool("search_texts_and_images", {"query": "a blue star", "count": 2})
    assert isinstance(result, CallToolResult)
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    assert texts[0].startswith("[1] blue star.jpg (id blue star.jpg, score "), texts
    assert any(isinstance(block, ImageContent) for block in result.content)
