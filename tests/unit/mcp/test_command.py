"""The commands index and mcp as processes of their own, with an engine in memory: on stdin and stdout, over HTTP."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("mcp.server.mcpserver")

import httpx2
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent

from tests.support.fake_engine import wait_until
from tests.support.images import encoded, noise
from tests.support.in_memory import write_folder
from tests.support.indexes import write_files

pytestmark = [pytest.mark.fire, pytest.mark.timeout(600), pytest.mark.wide]

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "tests.support.corpus_run"]
KEY = "a-key-of-the-environment"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders with a bad file between good ones, as the command indexes them."""
    folder = tmp_path_factory.mktemp("command")
    write_folder(folder / "model")
    write_files(folder / "one", {"a.md": "a note", "bad\n.png": b"no image", "table.csv": "id,text\n1,a"})
    write_files(folder / "two", {"photo.png": encoded(noise(40, 30))})
    line = [*COMMAND, "index", folder / "one", folder / "two", folder / "index", "--model", folder / "model"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"Indexed 2 places in {folder}/index\. 1 left out, .*: vllm-jina-embed mcp .*\n", done.stdout)
    assert re.search(r"^left out: one/bad\\u000a\.png: .*not an image", done.stderr, re.M)
    return folder / "index"


async def check(client: Client) -> None:
    result = await client.call_tool("search_texts_and_images", {"image": "two/photo.png", "count": 5})
    assert isinstance(result, CallToolResult)
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    assert texts[0].startswith("[1] two/photo.png (id two/photo.png, score 1.000")
    assert len(texts) == 2
    assert len(result.content) == 3
    words = await client.call_tool("search_texts_and_images", {"query": "a note", "count": 1})
    assert isinstance(words, CallToolResult)
    assert not words.is_error, words


async def test_a_client_on_stdin_and_stdout(index: Path) -> None:
    environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    command = StdioServerParameters(
        command=COMMAND[0], args=[*COMMAND[1:], "mcp", str(index)], cwd=ROOT, env=environment
    )
    async with Client(stdio_client(command)) as client:
        await check(client)


@pytest.fixture
def url(index: Path, tmp_path: Path) -> Iterator[str]:
    """The command over HTTP with a key of the environment; Ctrl-C ends it, and it shows no key."""
    environment = {**os.environ, "VLLM_JINA_EMBED_MCP_KEY": KEY}
    told = tmp_path / "stderr"
    with told.open("wb") as log:
        line = [*COMMAND, "mcp", str(index), "--http", "--port", "0"]
        process = subprocess.Popen(line, cwd=ROOT, env=environment, stderr=log, stdout=subprocess.PIPE)
    try:
        wait_until(lambda: b"Serving at" in told.read_bytes() or process.poll() is not None, seconds=300)
        found = re.search(r"Serving at (http://127\.0\.0\.1:\d+/mcp) \(with a key\)", told.read_text())
        assert found is not None, told.read_text()
        yield found[1]
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 130, told.read_text()
        assert (out, KEY in told.read_text()) == (b"", False)
    finally:
        process.kill()
        process.wait()


async def test_a_client_over_http(url: str) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=120) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        await check(client)
        assert (await http.post(url, headers={"authorization": "Bearer other"}, json={})).status_code == 401
        assert (await http.post(url, headers={"host": "evil.example"}, json={})).status_code == 421
