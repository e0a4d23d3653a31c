"""The ranking on the page, and the map of where an image matches the words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from ..errors import InputError
from ..frameworks.shown_text import visible
from ..inputs.encoding import jpeg
from ..late_interaction import MaxSimMap
from .parts import button, data_of, section, text
from .ranking import Hit
from .searching import MAP_SIDE, Answer, Searcher
from .shelf import Item

SHOWN = 10
CHARACTERS = 400
TOKENS = 60
"""Tokens of a question that can be chosen one by one."""
ARROWS = """event => {
    const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const radios = [...event.currentTarget.querySelectorAll('[role=radio]')];
    const next = radios[(radios.indexOf(document.activeElement) + step + radios.length) % radios.length];
    next.focus();
    next.click();
}"""
"""Choose among radios by arrows, as ARIA's pattern of a radio group has it. Remove when Quasar does."""


class Results:
    """The ranking of the last search."""

    def __init__(self, searcher: Searcher, guarded: Any, search_by: Callable[[Hit, str], Awaitable[None]]) -> None:
        """Build what a search fills."""
        self._searcher, self._guarded, self._search_by = searcher, guarded, search_by
        with section("Results"):
            self._told = text("p", "Nothing was searched yet.").props("role=status aria-live=polite")
            self._stages = ui.element("ol").classes("stages")
            self._hits = ui.element("ol").classes("hits")
        self._dialog = ui.dialog()

    async def show(self, answer: Answer, words: str, name: str) -> None:
        """Show what a search found."""
        hits = answer.hits[:SHOWN]
        images = await asyncio.gather(*map(self._image, hits))
        self._stages.clear()
        self._hits.clear()
        with self._stages:
            for stage in answer.stages:
                text("li", stage)
        with self._hits:
            for number, (hit, image) in enumerate(zip(hits, images, strict=True), 1):
                self._show(number, hit, image, words)
        best = f" The best: {name_of(hits[0])}." if hits else ""
        count = "1 result" if len(hits) == 1 else f"{len(hits)} results"
        self._told.set_text(f"{count} for {name}.{best}")

    async def _image(self, hit: Hit) -> bytes | InputError | None:
        if kind_of(hit) == "text":
            return None
        try:
            return await self._searcher.thumbnail(hit)
        except InputError as error:
            return error

    def _show(self, number: int, hit: Hit, image: bytes | InputError | None, words: str) -> None:
        name = name_of(hit)
        with ui.element("li").classes("hit"):
            text("h3", f"{number}. {name}")
            text("p", scores_of(hit)).classes("scores")
            if isinstance(image, bytes):
                shown = ui.element("img")
                shown.props["src"], shown.props["alt"] = data_of(image), name
            elif image is not None:
                text("p", f"The image cannot be shown: {image.reason}").classes("note")
            content = hit.source.text
            if content:
                text("p", content[:CHARACTERS] + (" ..." if len(content) > CHARACTERS else "")).classes("words")
            with ui.element("div").classes("line"):
                if isinstance(image, bytes) and words and self._searcher.has_tokens:
                    button("Where it matches", lambda: self._open_map(hit, words), label=f"Where {name} matches")
                button("Search by this", lambda: self._search_by(hit, name), label=f"Search by {name}")

    async def _open_map(self, hit: Hit, words: str) -> None:
        async with self._guarded("Looking where it matches ...", name_of(hit)):
            found = await self._searcher.maxsim_map(words, hit)
            first = await drawn(found, None)
            self._dialog.clear()
            with self._dialog, ui.card().classes("map"):
                title = f"Where {name_of(hit)} matches"
                self._dialog.props["aria-label"] = title
                text("h2", title)
                text(
                    "p",
                    f"MaxSim {found.score:.3f} over {len(found.matches)} tokens. Red is where a token matches most.",
                )
                shown = ui.element("img")
                shown.props["src"], shown.props["alt"] = data_of(first), f"{title}: all tokens"
                self._tokens(found, shown, title)
                button("Close", self._dialog.close)
            self._dialog.open()

    def _tokens(self, found: MaxSimMap, shown: Any, title: str) -> None:
        """Show the tokens, of which one or all are drawn."""
        names = [visible(match.token).strip() or "(space)" for match in found.matches[:TOKENS]]
        choices = {
            -1: "All tokens",
            **{number: f"{name}  {found.matches[number].value:.2f}" for number, name in enumerate(names)},
        }

        async def chosen(event: Any) -> None:
            number = event.value if event.value in choices else -1
            image = await drawn(found, None if number == -1 else [number])
            shown.props["src"] = data_of(image)
            shown.props["alt"] = f"{title}: {'all tokens' if number == -1 else names[number]}"

        with ui.element("div").props("role=group").classes("tokens") as group:
            group.props["aria-label"] = "Token of the question"
            ui.radio(choices, value=-1, on_change=chosen).props("inline")
            group.on("keydown", js_handler=ARROWS)


async def drawn(found: MaxSimMap, tokens: list[int] | None) -> bytes:
    """Return the image with the heat of some tokens as a JPEG."""
    image = await asyncio.to_thread(found.picture, tokens)
    return await asyncio.to_thread(jpeg, image, max_side=MAP_SIDE)


def name_of(hit: Hit) -> str:
    """Return how a hit is called on the page."""
    return hit.source.name if isinstance(hit.source, Item) else visible(hit.source.citation)


def kind_of(hit: Hit) -> str:
    """Return ``text``, or ``image`` if there is one to show."""
    if isinstance(hit.source, Item):
        return hit.source.kind
    return "text" if hit.source.image is None else "image"


def scores_of(hit: Hit) -> str:
    """Return the scores of a hit and its places, in words."""
    parts = [kind_of(hit).capitalize()]
    if hit.cosine is not None:
        parts.append(f"cosine {hit.cosine:.4f} (place {hit.cosine_rank})")
    if hit.maxsim is not None:
        parts.append(f"MaxSim {hit.maxsim:.3f}")
    return " · ".join(parts)
