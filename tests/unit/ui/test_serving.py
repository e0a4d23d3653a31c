"""The app behind the guard, in a process of its own: NiceGUI has one app per process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("nicegui")

PROGRAM = """
import asyncio, json, httpx
from vllm_jina_embed.ui.serving import app_of

class Searcher:
    corpus, has_tokens, has_embeddings = None, True, True
    class embedder:
        model = "demo"
    async def start(self):
        calls.append("start")
    async def aclose(self):
        calls.append("aclose")

async def main():
    guard = app_of(Searcher())
    async with guard.app.router.lifespan_context(guard.app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://127.0.0.1:8080") as client:
            answers = {path: await client.get(path) for path in PATHS}
            answers["evil"] = await client.get("/", headers={"host": "evil.example"})
    return {path: [answer.status_code, answer.text] for path, answer in answers.items()}

calls = []
print(json.dumps([asyncio.run(main()), calls]))
"""
PATHS = ["/", "/_nicegui/client/1/upload/1", "/_nicegui/3.18.0/resources/x/y", "/_nicegui/nothing", "/docs"]


def test_the_page_is_at_one_path_and_loads_nothing_from_elsewhere() -> None:
    line = [sys.executable, "-c", f"PATHS = {PATHS}\n{PROGRAM}"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=True)
    answers, calls = json.loads(done.stdout)
    assert [answers[path][0] for path in (*PATHS, "evil")] == [200, 404, 404, 404, 404, 421]
    assert ["Search by words" in answers[path][1] for path in (*PATHS, "evil")] == [True, *[False] * 5]
    page = answers["/"][1]
    assert "http://" not in page.replace("http://127.0.0.1:8080", "").replace("http://www.w3.org/", "")
    assert "https://" not in page
    assert calls == ["start", "aclose"]
