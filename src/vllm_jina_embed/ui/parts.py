"""Small parts of the page, each with what a keyboard and a screen reader need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from ..inputs.encoding import data_uri


def text(tag: str, content: str) -> TextElement:
    """Show a text in an element of HTML; what looks like HTML in it stays text."""
    return TextElement(tag=tag, text=content)


def button(
    content: str, handler: Callable[[], Any] | str, *, icon: str | None = None, main: bool = False, label: str = ""
) -> ui.button:
    """Show a button; ``label`` is what a screen reader says where the content is not enough.

    A handler that is a string is a function in JavaScript, for what a browser allows at a press alone.
    """
    found = ui.button(content, icon=icon)
    if isinstance(handler, str):
        found.on("click", js_handler=handler)
    else:
        found.on_click(lambda: handler())
    found.props("no-caps unelevated" if main else "no-caps outline")
    if label:
        found.props["aria-label"] = label
    return found


@contextmanager
def section(title: str) -> Iterator[None]:
    """Show a part of the page with its title."""
    with ui.element("section") as part:
        part.props["aria-label"] = title
        text("h2", title)
        yield


def data_of(jpeg: bytes) -> str:
    """Return an image as the browser is sent it."""
    return data_uri(jpeg, "image/jpeg")
