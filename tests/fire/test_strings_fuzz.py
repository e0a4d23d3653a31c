"""Strings that are made up, at every place where one may be an image, a path or a reference.

Nothing but our own errors leaves, an image's string is never a text by accident, and time grows with the length alone.
Each test runs for ``--fuzz-seconds`` seconds.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.images import encoded, noise
from vllm_jina_embed.errors import InputError, VllmJinaError
from vllm_jina_embed.inputs import items as inputs
from vllm_jina_embed.inputs.file_names import local_path, readable_path, shown_name, valid_metadata, valid_unicode
from vllm_jina_embed.inputs.images import open_image
from vllm_jina_embed.inputs.items import BadItem, ImageItem, TextItem
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.inputs.references import (
    SCHEME,
    image_string,
    is_data_uri,
    is_reference,
    looks_like_image,
    strict_image,
)
from vllm_jina_embed.inputs.sources import ImageFile, path_of, read, reference

pytestmark = [pytest.mark.fire, pytest.mark.siege, pytest.mark.timeout(1800)]

PNG = encoded(noise(12, 9))
URI = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
REFERENCE = f"{SCHEME}a/b%20c.png#{'0f' * 16}"
PIECES = st.sampled_from(
    [
        "data:", "DATA", ":", "image", "/", "png", "svg+xml", ";", "base64", "Base64", ",", "charset=utf-8", "name=",
        '"', "=", "==", "%", "%2C", "%3A", "%3B", "%2F", "%00", " ", "\n", "\r\n", "\t", "\0", "\ufeff", "\u200b",
        "+", "-", "_", "A", "AAAA" * 10, "iVBORw0KGgo", "/9j/", "UklGR", "R0lGOD", "<svg", "://", "file:", "file://",
        "file:///", "localhost", "~", "..", "#", "?", "\ud800", "\udcff", "é", "日", "\u212a", "a word",
        "![](", ")", "<", ">", "[", "]", "`", "'", "\u201c", "\\", "Qk", "SUkqAA", "TU0AKg",
        SCHEME, SCHEME[:20], SCHEME.upper(), "0f" * 16, URI, URI[:50], REFERENCE, "https://example.org/",
    ]
)  # fmt: skip
STRINGS = st.lists(PIECES | st.text(st.characters(), max_size=5), max_size=14).map("".join)


def mutated(text: str) -> st.SearchStrategy[str]:
    """Strings in which some of ``text`` is cut out, put in twice, or replaced."""

    def change(parts: tuple[int, int, str]) -> str:
        first, last, between = parts
        return text[:first] + between + text[last:]

    places = st.integers(0, len(text))
    return st.tuples(places, places, PIECES | st.just("")).map(change)


ANYTHING = STRINGS | mutated(URI) | mutated(REFERENCE)


@pytest.fixture
def fuzz(request: pytest.FixtureRequest) -> Callable[..., int]:
    """Call a check with made-up values for the given time; return how many there were."""
    seconds = request.config.getoption("--fuzz-seconds")

    def run(check: Callable[[Any], None], values: st.SearchStrategy[Any] = ANYTHING) -> int:
        count = 0

        @settings(
            max_examples=250,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        )
        @given(values)
        def once(value: Any) -> None:
            nonlocal count
            count += 1
            check(value)

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            once()
        assert count > 0
        print(f"{count} values")
        return count

    return run


def quietly(call: Callable[[], Any]) -> Any:
    """Return what ``call`` gives, or the error of ours that it raises; any other leaves."""
    try:
        return call()
    except VllmJinaError as error:
        str(error).encode()  # an error's message goes into logs
        return error


def test_predicates_agree(fuzz: Callable[..., int]) -> None:
    """One rule: what is an image is one in every call, what is nearly one is an error in every call."""

    def check(text: str) -> None:
        found = quietly(lambda: image_string(text))
        is_image = is_data_uri(text.strip()) or is_reference(text.strip())
        assert isinstance(found, str) == is_image == (strict_image(text) is not None)
        assert looks_like_image(text) == (found is not None)
        item = quietly(lambda: inputs.mixed([text])[0])
        if isinstance(found, str):
            assert isinstance(item, ImageItem)
        elif found is None:
            assert isinstance(item, TextItem if text.strip() and valid_unicode(text) == text else BadItem)
        else:
            assert isinstance(item, BadItem)

    fuzz(check)


def test_a_changed_data_uri_is_never_a_text(fuzz: Callable[..., int]) -> None:
    """Whatever happened to the middle of it, as long as its beginning and enough of its data are there."""

    def check(text: str) -> None:
        text = f"data:image/png{text}{'iVBORw0KGgo' * 6}"
        assert quietly(lambda: image_string(text)) is not None

    fuzz(check, st.sampled_from(["", ";", ";base64", ";a=b", ";base64;a=b", "%3Bbase64", ";name=\"x, y\""]).flatmap(
        lambda head: st.sampled_from([",", "%2C", ", ", ",\n", ",\ufeff"]).map(lambda comma: head + comma)
    ))  # fmt: skip


def test_a_wrapped_data_uri_is_never_a_text_and_a_quoted_one_is(fuzz: Callable[..., int]) -> None:
    """Quotes and brackets around all of it, or words beside it."""
    wrap = st.sampled_from(['"', "'", "`", "<", "(", "[", "![](", '["', '(\n"', " <"])

    def check(parts: tuple[str, str, str]) -> None:
        opening, uri, closing = parts
        assert isinstance(quietly(lambda: image_string(opening + uri + closing)), InputError)
        assert image_string(f"{opening}{uri}{closing} a word") is None
        assert image_string(f"see {opening}{uri}{closing}") is None

    uris = st.sampled_from([URI, URI.replace(",", ",\n"), URI.upper()])
    fuzz(check, st.tuples(wrap, uris, st.sampled_from(['"', "'", "`", ">", ")", "]", '"]', '"\n),', ""])))


def test_reading(fuzz: Callable[..., int], tmp_path: Path) -> None:
    """Strings as images, with and without files and a root; nothing outside the root is ever read."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.png").write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(encoded(noise(7, 7)))
    policies = [MediaPolicy(), MediaPolicy(allowed_root=root), MediaPolicy(allow_local_files=False)]
    names = st.sampled_from([str(root / "a.png"), str(tmp_path / "secret.png"), "a.png", "../secret.png", "secret.png"])
    known = reference(root / "a.png", policies[1])
    paths = st.tuples(STRINGS, names, STRINGS).map("".join) | mutated(known)

    def check(text: str) -> None:
        for policy in policies:
            found = quietly(lambda policy=policy: read(text, policy))
            if policy.allowed_root is not None and isinstance(found, ImageFile):
                assert found.data == PNG or is_data_uri(text.strip())
        quietly(lambda: open_image(text, policies[1]))

    fuzz(check, ANYTHING | paths)


def test_references(fuzz: Callable[..., int], tmp_path: Path) -> None:
    """Parsing gives a path or our error; a made-up one has one message, without a path of the machine."""
    (tmp_path / "a.png").write_bytes(PNG)
    policy = MediaPolicy(allowed_root=tmp_path)

    def check(path: str) -> None:
        quietly(lambda: path_of(path))
        text = f"{SCHEME}{path}#{'0f' * 16}"
        quietly(lambda: path_of(text))
        error = quietly(lambda: open_image(text, policy))
        assert isinstance(error, VllmJinaError)
        if is_reference(text):
            assert (
                str(error).removeprefix(repr(text[:200])).startswith(": the file does not exist, is not a regular file")
            )
        assert str(tmp_path) not in str(error).replace(text[:200], "")

    characters = st.text(st.sampled_from("ab./%2eEfF~-_0"), min_size=1, max_size=30)
    fuzz(check, characters | ANYTHING | st.sampled_from(["a.png", "a.png/", "../a.png", ".", "%00", "a" * 9000]))


def test_file_names(fuzz: Callable[..., int]) -> None:
    """What is handed on is valid Unicode, and leads back to the path where there can be one."""

    def check(text: str) -> None:
        quietly(lambda: local_path(text))
        for made in (readable_path(text), valid_unicode(text), shown_name(text), valid_metadata({text: [text]})):
            repr(made).encode() if isinstance(made, dict) else made.encode()
        path = f"/{text.lstrip('/')}"
        try:
            path.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return
        if "\0" not in path and readable_path(path).startswith("file:"):
            assert local_path(readable_path(path)) == path

    fuzz(check)


def test_langchain_documents(fuzz: Callable[..., int], tmp_path: Path) -> None:
    """``image_document``, and what the tool shows of a document of any content and metadata."""
    from langchain_core.documents import Document

    from vllm_jina_embed.frameworks.found_images import Bounds, View
    from vllm_jina_embed.langchain import image_document
    from vllm_jina_embed.langchain.tools import _blocks

    (tmp_path / "a.png").write_bytes(PNG)
    media = MediaPolicy(allowed_root=tmp_path)
    view = View(media=media, bounds=Bounds(max_images=2, max_side=64, max_bytes=20_000, max_characters=200))

    def check(values: tuple[str, str]) -> None:
        text, other = values
        quietly(lambda: image_document(text, media=media))
        quietly(lambda: image_document(text, media=media, mode="reference"))
        made = image_document(tmp_path / "a.png", caption=text, metadata={text: other}, id=other, thumbnail=False)
        made.model_dump_json().encode()
        clean = text.encode("utf-8", "replace").decode()
        shown = _blocks(view, [Document(clean, metadata={"source": other, "page": text}), made])
        assert all(block["type"] == "image" or block["text"].encode() for block in shown)
        quietly(lambda: view.question(text, None))

    fuzz(check, st.tuples(ANYTHING, STRINGS))


def test_llama_index_nodes(fuzz: Callable[..., int], tmp_path: Path) -> None:
    """Nodes with any string in any field: an item or our error, and never an image of a text."""
    from llama_index.core.schema import Document, ImageNode, NodeWithScore, TextNode

    from vllm_jina_embed.frameworks.found_images import Bounds, View
    from vllm_jina_embed.inputs.references import Text
    from vllm_jina_embed.llama_index import name_images
    from vllm_jina_embed.llama_index.nodes import items_of, storable
    from vllm_jina_embed.llama_index.results import match

    media = MediaPolicy(allowed_root=tmp_path)
    view = View(media=media, bounds=Bounds())

    def check(values: tuple[str, str]) -> None:
        text, other = values
        texts = [TextNode(text=text, metadata={"file_path": other}), Document(text=text, metadata={other: text})]
        images = [ImageNode(image=text, text=other), ImageNode(image_path=text), ImageNode(image_url=text)]
        for node in [*texts, *images]:
            (item,) = items_of([node])
            if node in texts:
                assert isinstance(item, Text | InputError)
            if not isinstance(item, InputError):
                storable(node)
            hit = NodeWithScore(node=node, score=0.5)
            assert all(isinstance(block, bytes) or block.encode() for block in view.blocks([match(hit)]))
            quietly(lambda node=node: name_images([node], media=media))

    fuzz(check, st.tuples(ANYTHING, STRINGS))


def test_events(fuzz: Callable[..., int]) -> None:
    """Observers get no string that is an image or nearly one."""
    from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler

    from tests.support.embedders import FakeEmbedder
    from vllm_jina_embed.inputs.references import Text
    from vllm_jina_embed.llama_index import VllmJinaEmbedding
    from vllm_jina_embed.llama_index.events import chunks_of

    handler = LlamaDebugHandler(print_trace_on_end=False)
    model = VllmJinaEmbedding(embedder=FakeEmbedder(), callback_manager=CallbackManager([handler]))

    def check(text: str) -> None:
        for item in (text, Text(text)):
            (chunk,) = chunks_of(model, [item], MediaPolicy(), texts=True)
            assert chunk == text or chunk.startswith("<image")
            assert not looks_like_image(chunk)

    fuzz(check)


@pytest.mark.parametrize(
    "start",
    [
        "",
        "data:image/png;base64,",
        "data:;base64,",
        '"data:image/png;base64,',
        "![](",
        "data:image/png,",
        "Data: image",
        SCHEME,
        "file:///",
        "%PDF-",
    ],
)
def test_time_grows_with_the_length_alone(start: str) -> None:
    """A million characters take at most about four times as long as a quarter of that, and no second a call."""
    from vllm_jina_embed.llama_index.misread import misread

    for filler in (
        " ",
        "A",
        "A ",
        "=",
        " =",
        ";",
        ";a=",
        "%",
        "\n",
        "a" * 23 + " ",
        "://" + "a" * 30 + " ",
        "\ufeff",
        "/",
        '"',
        "[(",
        "\0",
    ):
        spent = []
        for count in (250_000, 1_000_000):
            text = start + filler * (count // len(filler)) + "!"
            began = time.process_time()
            for call in (looks_like_image, strict_image, shown_name, valid_unicode, lambda text: misread(text, {})):
                call(text)
            quietly(lambda text=text: image_string(text))
            quietly(lambda text=text: local_path(text))
            spent.append(time.process_time() - began)
        assert spent[1] < max(0.5, 12 * spent[0]), (start, filler, spent)
        assert spent[1] < 5, (start, filler, spent)
