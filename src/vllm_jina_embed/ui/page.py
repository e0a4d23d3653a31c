"""The page: what a person sees and may press. What is shown of files and texts is always text, never HTML.

Images reach the browser inside the page's own messages, so no URL leads to any file.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from nicegui import ui

from ..errors import InputError, VllmJinaError
from ..frameworks.shown_text import visible, without_paths
from .parts import button, data_of, section, text
from .results import Results
from .searching import Question, Searcher
from .shelf import MEDIA, Item, Shelf, item_of, shown_name, text_item

_log = logging.getLogger(__name__)
STYLE = (Path(__file__).parent / "style.css").read_text("utf-8")
MESSAGES = 5
"""Problems that are shown at the same time."""
QUERY_CHARACTERS = 2000
PICKED = 20
"""Files that are taken at once."""


class Page:
    """The page of one person."""

    def __init__(self, searcher: Searcher, shelf: Shelf, ready: asyncio.Task[None]) -> None:
        """Build the page in the client that is open."""
        self._searcher, self._shelf, self._ready = searcher, shelf, ready
        self._busy = self._asked = 0
        ui.add_css(STYLE)
        ui.page_title("vllm-jina-embed")
        ui.query("html").props("lang=en")
        with ui.element("main"):
            self._header()
            self._search()
            self._items()
            self._results = Results(searcher, self.guarded, self._search_by)

    async def wait(self) -> None:
        """Say when the engine is ready, or why it is not."""
        try:
            await asyncio.shield(self._ready)
        except Exception as error:
            self.problem(self.told(error))
        self._idle()

    def _idle(self) -> None:
        has_failed = self._ready.done() and (self._ready.cancelled() or self._ready.exception() is not None)
        self._status.set_text("The engine could not start." if has_failed else "Ready.")

    # --- its parts --------------------------------------------------------------------------------------------------

    def _header(self) -> None:
        with ui.element("header"):
            text("h1", "vllm-jina-embed")
            model = visible(Path(self._searcher.embedder.model).name)
            corpus = self._searcher.corpus
            text("p", f"Model {model}. " + (f"A corpus of {len(corpus)} rows." if corpus is not None else ""))
            self._status = text("p", "The engine is starting. You can already choose items.")
            self._status.classes("status").props("role=status")
        self._problems = ui.element("div").classes("problems").props("role=alert")

    def _search(self) -> None:
        with section("Search"):
            self._query = ui.input(label="Search by words, in any language").props("outlined")
            self._query.props["maxlength"] = QUERY_CHARACTERS
            self._query.classes("wide").on("keydown.enter", self._search_by_words)
            with ui.element("div").classes("line"):
                button("Search", self._search_by_words, icon="search", main=True)
                self._look = ui.switch("Second look (MaxSim)", value=self._searcher.has_tokens)
                self._look.set_enabled(self._searcher.has_tokens and self._searcher.has_embeddings)
            self._upload("Or drop an image to search by", self._dropped_question, "question", most=1)

    def _items(self) -> None:
        with section("Your texts and images"):
            note = "Drop or pick images (PNG, JPEG, WebP, GIF, BMP, TIFF) and texts (.txt, .md), up to 32 MiB each."
            text("p", f"{note} They stay in memory, and go when this page is closed.")
            self._upload("Drop texts and images here", self._dropped, "items", most=PICKED)
            self._text = ui.textarea(label="Or write a text").props("outlined autogrow").classes("wide")
            self._text.props["maxlength"] = self._shelf.bounds.characters
            button("Add text", self._add_text, icon="add")
            self._count = text("p", "").props("role=status")
            self._list = ui.element("ul").classes("items")

    def _upload(self, label: str, handler: Callable[[Any], Awaitable[None]], name: str, *, most: int) -> None:
        upload = ui.upload(
            multiple=most > 1,
            auto_upload=True,
            max_file_size=MEDIA.max_bytes,
            max_files=most,
            on_upload=handler,
            on_rejected=lambda: self.problem(f"Not taken: at most {most} files at once, of at most 32 MiB each."),
        )
        upload.classes(f"wide upload {name}").props("flat bordered")
        upload.on("failed", lambda: self.problem("A file could not be sent. Try again in a moment."), args=[])
        # Quasar's own button has no name, opens by no key, and takes the focus away with it after every file.
        with upload.add_slot("header"), ui.element("div").classes("line"):
            text("span", label)
            choose = "Choose files" if most > 1 else "Choose a file"
            pick = f"() => runMethod({upload.id}, 'pickFiles', [])"
            button(choose, pick, icon="add", label=f"{label}: {choose.lower()}")
            ui.element("q-uploader-add-trigger")

    # --- what is done -----------------------------------------------------------------------------------------------

    async def _dropped(self, event: Any) -> None:
        name = shown_name(str(event.file.name))
        async with self.guarded(f"Adding {name} ...", name):
            await self._put(await item_of(str(event.file.name), await event.file.read(), self._shelf.bounds))
        event.sender.run_method("removeUploadedFiles")  # reset would stop those that are still on their way

    async def _add_text(self) -> None:
        async with self.guarded("Adding the text ...", "Your text"):
            await self._put(text_item(self._text.value or "", self._shelf.bounds))
            self._text.set_value("")

    async def _put(self, item: Item) -> None:
        self._shelf.check_room(item.size)
        embedding = await self._searcher.embedding(item.content)
        self._shelf.put(item, embedding)
        self._show(item)

    def _show(self, item: Item) -> None:
        with self._list, ui.element("li") as row:
            if item.thumbnail is not None:
                image = ui.element("img")
                image.props["src"], image.props["alt"] = data_of(item.thumbnail), ""  # its name stands beside it
            text("span", item.name).classes("name")

            def remove() -> None:
                self._shelf.remove(item.key)
                row.delete()
                self._counted()

            button("Remove", remove, label=f"Remove {item.name}")
        self._counted()

    def _counted(self) -> None:
        count = len(self._shelf.items)
        self._count.set_text(f"{count} {'item' if count == 1 else 'items'}." if count else "")

    async def _search_by_words(self) -> None:
        words = (self._query.value or "").strip()[:QUERY_CHARACTERS]
        if not words:
            self.problem("Type what to search for first.")
            return
        await self._ask(Question(text=words), visible(words)[:80])

    async def _dropped_question(self, event: Any) -> None:
        name = shown_name(str(event.file.name))
        await self._ask(Question(image=await event.file.read()), name)
        event.sender.run_method("removeUploadedFiles")  # reset would stop those that are still on their way

    async def _search_by(self, hit: Any, name: str) -> None:
        await self._ask(Question(image=hit), name)

    async def _ask(self, question: Question, name: str) -> None:
        if self._searcher.corpus is None and not self._shelf.items:
            self.problem("There is nothing to search yet. Drop some texts and images first.")
            return
        self._asked = number = self._asked + 1
        async with self.guarded("Searching ...", name):
            answer = await self._searcher.search(question, self._shelf, second_look=bool(self._look.value))
            if number == self._asked:  # nothing else was searched for meanwhile
                await self._results.show(answer, question.text, name)

    # --- what is said -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def guarded(self, status: str, name: str) -> AsyncIterator[None]:
        """Say what is being done, and why it failed if it did."""
        self._busy += 1
        self._status.set_text(
            status if self._ready.done() else f"{status} The engine is starting, which takes a while."
        )
        try:
            await asyncio.shield(self._ready)
            yield
        except Exception as error:
            self.problem(f"{name}: {self.told(error)}")
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle()

    def told(self, error: Exception) -> str:
        """Return what a person is told: no path of this machine, and of a fault of ours its kind alone."""
        if isinstance(error, InputError):
            return without_paths(error.reason)
        if isinstance(error, VllmJinaError):
            corpus, model = self._searcher.corpus, str(self._searcher.embedder.model)
            paths = () if corpus is None else (str(corpus.folder), str(corpus.folder.parent))
            return without_paths(str(error), model, *paths)
        _log.error("a request of the page failed", exc_info=error)
        return f"something went wrong ({type(error).__name__}); the terminal shows more."

    def problem(self, message: str) -> None:
        """Show a problem until it is dismissed."""
        with self._problems:
            with ui.element("div") as line:
                text("span", message)
                button("Dismiss", line.delete, label=f"Dismiss: {message[:60]}")
            if len(self._problems.default_slot.children) > MESSAGES:
                self._problems.remove(0)
