"""The commands index and mcp, driven by a client of the official SDK over stdio and HTTP, on the real engine."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from pathlib import Path

import httpx2
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, ImageContent, TextContent
from PIL import Image

from tests.support.images import encoded, noise
from tests.support.indexes import replace_vectors, rows_of
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.cli import main
from vllm_jina_embed.demo.drawing import UNSEEN_SEED, draw
from vllm_jina_embed.mcp.opening import opened
from vllm_jina_embed.mcp.server import Service

pytestmark = [pytest.mark.real, pytest.mark.wide, pytest.mark.timeout(600)]

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def index(demo_embedder: JinaEmbedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images, a text of two pieces, a PDF of four pages and a broken file, as the command indexes them."""
    folder = tmp_path_factory.mktemp("library")
    for number, concept in enumerate(("red circle", "blue star", "forest", "desert", "pink cross")):
        draw(concept, seed=UNSEEN_SEED + number, size=(900, 700)).save(folder / f"{concept}.png")
    (folder / "notes.md").write_text(
        f"A note on trees.\n\n{'x' * 1190}\n\nEin Sonnenuntergang am Strand", encoding="utf-8"
    )
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 broken")
    runpy.run_path(str(EXAMPLES / "make_report.py"))["make_report"](folder / "report.pdf")
    assert main(["index", str(folder), str(folder / "index")]) == 0
    return folder / "index"


def texts(result: CallToolResult) -> list[str]:
    return [block.text for block in result.content if isinstance(block, TextContent)]


def images(result: CallToolResult) -> list[Image.Image]:
    data = [base64.b64decode(block.data) for block in result.content if isinstance(block, ImageContent)]
    assert all(len(one) <= 800_000 for one in data)
    return [Image.open(BytesIO(one)) for one in data]


def with_mark(mark: str) -> list[str]:
    """Processes that were started with that word in their environment, zombies aside."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(folder.name)
        except OSError:
            continue
    return found


def test_pages_of_a_pdf_are_images_beside_their_text(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the index itself, with the settings that questions need."""
    rows = rows_of(index)
    pages = [row for row in rows.values() if row.source == "report.pdf" and row.kind == "image"]
    assert [row.page for row in pages] == [1, 2, 3, 4]
    assert pages[0].text == "Sales per month, drawn as bars in blue."
    for row in pages:
        assert rows[f"{row.id}/text"].text == row.text
        assert row.image is not None
        assert max(Image.open(BytesIO(row.image)).size) == 840
    assert [row.id for row in rows.values() if row.source == "notes.md"] == [
        "notes.md#L1-1",
        "notes.md#L3-3",
        "notes.md#L5-5",
    ]
    with opened(index) as corpus:
        assert corpus.settings["model"] == "demo"


def test_the_command_names_what_it_left_out_and_replaces_an_index(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And reads no index as part of the folder."""
    assert main(["index", str(index.parent), str(tmp_path / "again")]) == 0
    said = capsys.readouterr()
    assert "left out: broken.pdf: it cannot be read as a PDF" in said.err
    assert "Indexed 12 places" in said.out
    assert main(["index", str(index.parent), str(index)]) == 0
    assert "Indexed 12 places" in capsys.readouterr().out


async def test_a_client_searches_sees_and_opens(index: Path, tmp_path: Path) -> None:
    """Everything that an agent does, on one server; vLLM's log never reaches the protocol."""
    mark, said = f"MARK{uuid.uuid4().hex}", tmp_path / "stdout"
    command = f"{sys.executable} -m vllm_jina_embed.cli mcp '{index}' | tee '{said}'"
    environment = {"MARK": mark, "VLLM_LOGGING_LEVEL": "INFO", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    server = StdioServerParameters(command="bash", args=["-c", command], env=environment)
    with (tmp_path / "stderr").open("w") as log:
        async with Client(stdio_client(server, errlog=log)) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert set(tools) == {"search_texts_and_images", "get_item"}
            await check_searches(client)
            await check_images(client)
            await check_items(client)
            await check_errors(client, index)
    lines = said.read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 10
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in lines)
    assert "INFO" in (tmp_path / "stderr").read_text(errors="replace")
    for _ in range(1200):
        if not with_mark(mark):
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"processes are left: {with_mark(mark)}")


async def search(client: Client, **arguments: object) -> CallToolResult:
    result = await client.call_tool("search_texts_and_images", arguments)
    assert isinstance(result, CallToolResult)
    assert not result.is_error, texts(result)
    return result


async def check_searches(client: Client) -> None:
    """In words of two languages; the best comes first, is cited and seen; the answer is bounded."""
    found = await search(client, query="a blue star", count=3)
    assert texts(found)[0].startswith("[1] blue star.png (id blue star.png, score ")
    assert len(texts(found)) == 3
    shown = images(found)[0]
    assert shown.size == (768, 597)
    assert (await search(client, query="un bosque", count=1)).content[0].text.startswith("[1] forest.png")  # type: ignore[union-attr]
    found = await search(client, query="Sales per month, drawn as bars in blue.", count=1)
    (text,) = texts(found)
    assert text.startswith("[1] report.pdf, page 1 (id report.pdf#page=1, ")
    assert text.endswith("Sales per month, drawn as bars in blue.")
    assert images(found)[0].size == (768, 768)
    found = await search(client, query="a desert", count=12)
    assert len(texts(found)) == 12
    assert len(images(found)) == 4
    assert sum("not shown" in text for text in texts(found)) == 5


async def check_images(client: Client) -> None:
    """By the id of a place, by a name from an answer, and by an image brought along."""
    other = draw("forest", seed=UNSEEN_SEED + 99, size=(300, 400))
    uri = f"data:image/png;base64,{base64.b64encode(encoded(other)).decode()}"
    (first,) = texts(await search(client, query="a forest", count=1))
    name = first.partition(" image-")[2].partition(")")[0]
    for image in ("forest.png", f"image-{name}", uri):
        found = await search(client, image=image, count=1)
        assert texts(found)[0].startswith("[1] forest.png"), image


async def check_items(client: Client) -> None:
    """A page whole and larger, with its neighbours; a text without an image."""
    page = await client.call_tool("get_item", {"id": "report.pdf#page=2"})
    assert isinstance(page, CallToolResult)
    head = "report.pdf, page 2 (id report.pdf#page=2); before: report.pdf#page=1; after: report.pdf#page=3"
    assert texts(page) == [f"{head}\nWhere the money went, as a pie in green."]
    assert images(page)[0].size == (840, 840)
    note = await client.call_tool("get_item", {"id": "notes.md#L5-5"})
    assert isinstance(note, CallToolResult)
    assert texts(note)[0].endswith("\nEin Sonnenuntergang am Strand")
    assert images(note) == []


async def check_errors(client: Client, index: Path) -> None:
    """They say what was wrong, and no file outside the index can be named."""
    outside = index.parent / "forest.png"
    assert outside.exists()
    broken = f"data:image/png;base64,{base64.b64encode(b'no').decode()}"
    bad = [
        ("search_texts_and_images", {}, "give a query, or an image"),
        ("search_texts_and_images", {"query": "a", "image": "b"}, "give a query, or an image"),
        ("search_texts_and_images", {"image": str(outside)}, "there is no image"),
        ("search_texts_and_images", {"image": "images/../../forest.png"}, "there is no image"),
        ("search_texts_and_images", {"image": "images/999999.png"}, "there is no image"),
        (
            "search_texts_and_images",
            {"image": broken},
            "not an image that can be",
        ),
        ("search_texts_and_images", {"query": "a", "count": 1000}, "less than or equal to 20"),
        ("get_item", {"id": "../forest.png"}, "there is no place"),
    ]
    for tool, arguments, message in bad:
        result = await client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        assert result.is_error, arguments
        assert message in texts(result)[0]
        assert str(index) not in texts(result)[0]


def test_an_index_of_other_weights_is_refused(demo_embedder: JinaEmbedder, index: Path, tmp_path: Path) -> None:
    """The first search says so: the server computes one stored embedding again."""
    shutil.copytree(index, tmp_path / "index")
    replace_vectors(tmp_path / "index", -1)

    async def ask() -> None:
        with JinaEmbedder("demo") as embedder:
            service = Service(opened(tmp_path / "index"), embedder)
            async with service.lifespan(None):
                await service.search("a blue star")

    with pytest.raises(Exception, match="built with other weights"):
        asyncio.run(ask())


@asynccontextmanager
async def served(index: Path, folder: Path, *arguments: str, **environment: str) -> AsyncIterator[str]:
    """Run the command over HTTP on a free port, and give its URL; every process of it ends."""
    mark = f"MARK{uuid.uuid4().hex}"
    line = [sys.executable, "-m", "vllm_jina_embed.cli", "mcp", str(index), "--http", "--port", "0", *arguments]
    with (folder / "stderr").open("wb") as log:
        process = subprocess.Popen(line, stderr=log, env={**os.environ, "MARK": mark, **environment})
    try:
        for _ in range(1200):
            if found := re.search(r"Serving at (\S+)", (folder / "stderr").read_text(errors="replace")):
                break
            assert process.poll() is None, (folder / "stderr").read_text(errors="replace")
            await asyncio.sleep(0.1)
        assert found
        yield found[1]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)
    for _ in range(1200):
        if not with_mark(mark):
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"processes are left: {with_mark(mark)}")


@pytest.mark.parametrize("key", ["a-key", pytest.param(None, marks=pytest.mark.siege)])
async def test_two_clients_search_over_http(index: Path, tmp_path: Path, key: str | None) -> None:
    """The command itself, with a key of the environment and without; every process ends with it."""
    environment = {} if key is None else {"VLLM_JINA_EMBED_MCP_KEY": key}
    async with served(index, tmp_path, **environment) as url, AsyncExitStack() as stack:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        clients = []
        for _ in range(2):
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=300))
            clients.append(await stack.enter_async_context(Client(streamable_http_client(url, http_client=http))))
        await asyncio.gather(*(check(client, index) for client in clients for check in (_searches, _items)))
        await check_errors(clients[0], index)
        async with httpx2.AsyncClient() as http:
            refused = await http.post(url, headers={"host": "evil.example", **headers}, json={})
            assert refused.status_code in (400, 421)
            assert (await http.post(url, json={})).status_code == (400 if key is None else 401)


async def _searches(client: Client, index: Path) -> None:
    await check_searches(client)
    await check_images(client)


async def _items(client: Client, index: Path) -> None:
    await check_items(client)


@pytest.mark.parametrize("arguments", [["mcp", "nowhere"], ["index", "nowhere", "index"]])
def test_what_is_not_there_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "nowhere" in said.err


def test_noise_is_no_place(demo_embedder: JinaEmbedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with nothing to index leaves no index behind."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data.csv").write_text("1,2")
    assert main(["index", str(tmp_path / "folder"), str(tmp_path / "index")]) == 1
    assert "no image, text or PDF" in capsys.readouterr().err
    assert not (tmp_path / "index").exists()
    (tmp_path / "folder" / "strip.png").write_bytes(encoded(noise(3000, 10)))
    assert main(["index", str(tmp_path / "folder"), str(tmp_path / "index")]) == 1
    said = capsys.readouterr()
    assert "left out: strip.png: got an image of 3000 x 10 pixels" in said.err
    assert said.out == ""
