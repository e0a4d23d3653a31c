"""A headless Chromium, and the command ui as a process of its own."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
START_LIMIT = 600_000
"""Milliseconds that the first answer may take: the engine starts meanwhile."""
LIMIT = 120_000
"""Milliseconds that anything else may take, beside other work."""


def chromium() -> str:
    """Return the browser's program, or skip the test where there is none."""
    named = os.environ.get("CHROMIUM")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium is installed: apt-get install chromium, or name one in CHROMIUM")
    return found


@asynccontextmanager
async def browser() -> AsyncIterator[Any]:
    """Start a browser; pages of one context share cookies, and contexts share nothing."""
    playwright = pytest.importorskip("playwright.async_api")
    async with playwright.async_playwright() as started:
        opened = await started.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            yield opened
        finally:
            await opened.close()


@contextmanager
def shown(log: Path, *arguments: str, **environment: str) -> Iterator[str]:
    """Run ``vllm-jina-embed ui`` on a free port and give its URL; every process of it ends."""
    chromium()
    mark = f"MARK{uuid.uuid4().hex}"
    line = [sys.executable, "-m", "vllm_jina_embed.cli", "ui", "--no-open", "--port", "0", *arguments]
    with log.open("wb") as out:
        process = subprocess.Popen(line, stderr=out, stdout=out, env={**os.environ, "MARK": mark, **environment})
    try:
        while not (found := re.search(r"Open (\S+) in a browser", log.read_text(errors="replace"))):
            assert process.poll() is None, log.read_text(errors="replace")
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        yield found[1]
        assert process.poll() is None, f"the command ended:\n{log.read_text(errors='replace')[-4000:]}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)
    left = psutil.wait_procs(with_mark(mark), timeout=120)[1]
    assert not left, f"processes are left: {left}"


def with_mark(mark: str) -> list[psutil.Process]:
    """Return the processes that were started with that word in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


class Person:
    """Somebody before the page; notes what the browser complains about and whom it asks."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.dialogs: list[str] = []
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        page.set_default_timeout(LIMIT)
        page.on("dialog", self._dismiss)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2] if "//" in request.url else ""))

    async def _dismiss(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        await dialog.dismiss()

    async def open(self) -> Person:
        await self.page.goto(self.url)
        await self.page.get_by_text("Ready.", exact=True).wait_for(timeout=START_LIMIT)
        return self

    async def pick(self, *files: Path | dict[str, Any], to: str = "items") -> None:
        """Choose files as the button does."""
        await self.page.locator(f".upload.{to} input[type=file]").set_input_files(list(files))

    async def drop(self, name: str, kind: str, data: bytes, *, to: str = "items") -> None:
        """Drag a file over the page and let it go."""
        script = """([name, type, data]) => {
            const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, {type}));
            return transfer;
        }"""
        transfer = await self.page.evaluate_handle(script, [name, kind, base64.b64encode(data).decode()])
        place = self.page.locator(f".upload.{to} .q-uploader__dnd")
        for _ in range(LIMIT // 100):  # it is not there while another file is on its way
            await self.page.dispatch_event(f".upload.{to}", "dragover", {"dataTransfer": transfer})
            if await place.count():
                break
            await asyncio.sleep(0.1)
        await self.page.dispatch_event(f".upload.{to} .q-uploader__dnd", "drop", {"dataTransfer": transfer})

    async def has_items(self, count: int) -> list[str]:
        """Wait until there are so many items, and return their names, sorted."""
        if count:
            await self.page.get_by_text(f"{count} item{'s' * (count > 1)}.", exact=True).wait_for()
        return sorted(await self.page.locator("ul.items .name").all_inner_texts())

    async def search(self, words: str) -> list[str]:
        await self.page.get_by_label("Search by words").fill(words)
        await self.page.get_by_role("button", name="Search", exact=True).click()
        return await self.results(words)

    async def results(self, name: str) -> list[str]:
        """Wait for the results of a search, and return their titles."""
        await self.page.get_by_text(re.compile(rf"results? for {re.escape(name)}\.")).wait_for()
        return list(await self.page.locator("ol.hits h3").all_inner_texts())

    async def problem(self, words: str) -> str:
        """Wait for a problem that says some words, and return it."""
        line = self.page.get_by_role("alert").locator("span", has_text=words).first
        await line.wait_for()
        return str(await line.inner_text())
