"""The page without a browser: what it does with what comes from one, on an engine in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("nicegui")

from nicegui import Client, ui
from nicegui.elements.upload_files import SmallFileUpload
from nicegui.testing import User
from nicegui.testing.user_simulation import user_simulation

from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import EngineError, JinaEmbedder
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.ui.searching import Searcher
from vllm_jina_embed.ui.serving import build
from vllm_jina_embed.ui.shelf import Bounds, Shelves

pytestmark = pytest.mark.wide

PHOTO = encoded(noise(60, 40, seed=1))
BOUNDS = Bounds(items=3, bytes=100_000, characters=50)
Fail = Callable[[Prompt], Exception | None]


class Faults:
    """What the engine raises."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __call__(self, prompt: Prompt) -> Exception | None:
        return self.error


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def embedder(tmp_path: Path, faults: Faults) -> Iterator[JinaEmbedder]:
    with in_memory([], fail=faults)(write_folder(tmp_path / "model"), dimensions=32) as embedder:
        yield embedder


@pytest.fixture
def shelves() -> Shelves:
    return Shelves(most=2, bounds=BOUNDS)


@pytest.fixture
async def user(embedder: JinaEmbedder, shelves: Shelves) -> AsyncIterator[User]:
    """Somebody who loads the page; each ``open`` is a page of its own."""
    searcher = Searcher(embedder)
    ready: list[asyncio.Task[None]] = []

    async def root() -> None:
        if not ready:
            ready.append(asyncio.create_task(searcher.start()))
        await build(searcher, shelves, ready[0])

    async with user_simulation(root) as user:
        yield user


async def seen(client: Client, words: str) -> str:
    """Wait until the page of a client shows some words, and return the whole text of that element."""
    for _ in range(2000):
        for element in list(client.elements.values()):
            if words in (text := str(getattr(element, "text", ""))):
                return text
        await asyncio.sleep(0.005)
    texts = [text for element in client.elements.values() if (text := getattr(element, "text", ""))]
    raise AssertionError(f"{words!r} is not among {texts}")


async def given(client: Client, name: str, data: bytes, *, to: str = "items") -> None:
    (upload,) = [one for one in client.elements.values() if isinstance(one, ui.upload) and to in one.classes]
    with client:
        await upload.handle_uploads([SmallFileUpload(name=name, content_type="x/y", _data=data)])


def press(client: Client, words: str) -> None:
    buttons = [one for one in client.elements.values() if isinstance(one, ui.button)]
    (button,) = [one for one in buttons if words in (one.text, one.props.get("aria-label"))]
    with client:
        for listener in list(button._event_listeners.values()):
            if listener.type == "click":
                client.handle_event({"id": button.id, "listener_id": listener.id, "args": []})


def write(client: Client, label: str, words: str) -> None:
    fields = [one for one in client.elements.values() if isinstance(one, ui.input | ui.textarea)]
    (field,) = [one for one in fields if str(one.props.get("label")).startswith(label)]
    field.set_value(words)


async def test_an_item_is_dropped_searched_and_removed(user: User, shelves: Shelves) -> None:
    client = await user.open("/")
    await seen(client, "Ready.")
    await given(client, "photo.png", PHOTO)
    await seen(client, "1 item.")
    write(client, "Or write", "a note on trees")
    press(client, "Add text")
    await seen(client, "2 items.")
    write(client, "Search by words", "a note on trees")
    press(client, "Search")
    said = await seen(client, "2 results for a note on trees. The best: ")
    assert said.endswith(("photo.png.", "Text: a note on trees."))
    await given(client, "question.png", PHOTO, to="question")
    assert (await seen(client, "for question.png")).endswith("The best: photo.png.")
    press(client, "Remove photo.png")
    await seen(client, "1 item.")
    (shelf,) = shelves.open
    assert [item.name for item in shelf.items.values()] == ["Text: a note on trees"]


async def test_each_page_has_its_own_items_and_takes_them_along(user: User, shelves: Shelves) -> None:
    """Two at once see nothing of each other; a third is told that there is no room until one leaves."""
    first, second, third = [await user.open("/") for _ in range(3)]
    await given(first, "photo.png", PHOTO)
    await seen(first, "1 item.")
    write(second, "Search by words", "a note")
    press(second, "Search")
    await seen(second, "There is nothing to search yet.")
    await seen(third, "2 pages are open, which is the most.")
    await given(third, "photo.png", PHOTO)
    await seen(third, "photo.png: the page is not open any more.")
    assert sorted(len(shelf.items) for shelf in shelves.open) == [0, 1]
    first.delete()
    assert [len(shelf.items) for shelf in shelves.open] == [0]


async def test_what_is_too_much_is_an_error(user: User, shelves: Shelves) -> None:
    client = await user.open("/")
    for number in range(3):
        await given(client, f"{number}.txt", f"text {number}".encode())
    await seen(client, "3 items.")
    await given(client, "4.txt", b"one more")
    await seen(client, "4.txt: there are 3 items; at most 3 are kept.")
    write(client, "Or write", "x" * 51)
    press(client, "Add text")
    await seen(client, "Your text: got a text of 51 characters; expected 1 to 50.")
    (shelf,) = shelves.open
    assert len(shelf.items) == 3


async def test_many_at_once_stay_within_the_bounds(user: User, shelves: Shelves) -> None:
    """What is being embedded has no place yet, and is checked again when it gets one."""
    client = await user.open("/")
    await asyncio.gather(*(given(client, f"{number}.txt", f"text {number}".encode()) for number in range(12)))
    await seen(client, "3 items.")
    await seen(client, "there are 3 items; at most 3 are kept.")
    await seen(client, "Ready.")
    (shelf,) = shelves.open
    assert len(shelf.items) == len(shelf.embeddings) == 3


async def test_an_error_of_the_engine_is_said_and_the_page_lives_on(user: User, faults: Faults) -> None:
    """In our words; of a fault of the program its kind alone."""
    client = await user.open("/")
    await given(client, "a.txt", b"a text")
    await seen(client, "1 item.")
    write(client, "Search by words", "a text")
    for error, words in (
        (EngineError("the engine ended in /home/somebody/secret/model."), "a text: the engine ended in model."),
        (ZeroDivisionError("/home/somebody/secret"), "a text: something went wrong (ZeroDivisionError)"),
    ):
        faults.error = error
        press(client, "Search")
        assert "secret" not in await seen(client, words)
    faults.error = None
    press(client, "Search")
    await seen(client, "1 result for a text.")


async def test_an_engine_that_does_not_start_is_said(user: User, faults: Faults) -> None:
    faults.error = EngineError("there is no memory.")
    client = await user.open("/")
    await seen(client, "The engine could not start.")
    await seen(client, "there is no memory.")
    await given(client, "a.txt", b"a text")
    await seen(client, "a.txt: there is no memory.")
    await seen(client, "The engine could not start.")


async def test_names_and_texts_are_never_html(user: User) -> None:
    """They are the text of elements, which no browser reads as HTML."""
    client = await user.open("/")
    name, content = "<img src=x onerror=alert(1)>.txt", "<script>alert(1)</script>"
    await given(client, name, content.encode())
    await seen(client, "1 item.")
    write(client, "Search by words", content)
    press(client, "Search")
    await seen(client, f"1 result for {content}")
    holders = [one for one in client.elements.values() if "alert" in str(getattr(one, "text", ""))]
    assert len(holders) >= 3
    assert [one for one in client.elements.values() if isinstance(one, ui.html | ui.markdown)] == []
    assert all("alert" not in str(one.props.get("innerHTML", "")) for one in client.elements.values())


async def test_only_the_last_problems_are_shown(user: User) -> None:
    client = await user.open("/")
    for number in range(9):
        await given(client, f"{number}.png", b"broken")
        await seen(client, f"{number}.png: ")
    shown = [one for one in client.elements.values() if ".png: " in str(getattr(one, "text", ""))]
    assert len(shown) == 5
    press(client, f"Dismiss: {shown[-1].text[:60]}")  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    assert len([one for one in client.elements.values() if ".png: " in str(getattr(one, "text", ""))]) == 4
