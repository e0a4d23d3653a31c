"""What a served engine puts into vLLM's own hooks: how images are opened, and what is refused around the engine."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from vllm.exceptions import VLLMValidationError

from tests.support.hostile_bodies import bomb, uri
from tests.support.image_files import image_files
from tests.support.pictures import encoded, noise
from vllm_jina_embed import InputError
from vllm_jina_embed.media import MediaPolicy, open_image
from vllm_jina_embed.plugin.media_connector import OwnImages
from vllm_jina_embed.plugin.request_checks import check_requests, position_of

pytestmark = [pytest.mark.real, pytest.mark.fire]


@pytest.mark.parametrize("kind", image_files())
async def test_an_image_is_what_the_embedder_makes_of_it(kind: str) -> None:
    """Pixel by pixel, in both of vLLM's ways to ask; what the embedder refuses is a 400."""
    url = uri(image_files()[kind])
    connector = OwnImages()
    try:
        wanted = np.asarray(open_image(url, MediaPolicy()))
    except InputError as error:
        with pytest.raises(VLLMValidationError, match=re.escape(str(error))):
            connector.fetch_image(url)
        with pytest.raises(VLLMValidationError, match=re.escape(str(error))):
            await connector.fetch_image_async(url)
        return
    for image in (connector.fetch_image(url), await connector.fetch_image_async(url)):
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), wanted)


def test_options_of_a_request_change_no_pixel() -> None:
    connector = OwnImages({"image": {"image_mode": None, "rgba_background_color": [0, 0, 0]}})
    clear = encoded(Image.new("RGBA", (30, 30)))
    assert np.asarray(connector.fetch_image(uri(clear))).min() == 255


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (uri(b"%!PS-Adobe-3.0 EPSF-3.0\n"), "no picture|no image"),
        (uri(b""), "."),
        (uri(encoded(noise(50, 50))[:300]), "cannot be decoded"),
        (uri(encoded(noise(2300, 10))), "side ratio"),
        (uri(bomb(10_500, rows=1)), "max_pixels"),
        ("data:image/png,%89PNG", "base64"),
        ("data:", "."),
        ("http://127.0.0.1:9/a.png", "fetches no"),
        ("HTTPS://127.0.0.1:9/a.png", "fetches no"),
        ("file:///etc/passwd", "fetches no"),
        ("ftp://127.0.0.1/a", "fetches no"),
        ("/etc/passwd", "fetches no"),
        ("vllm-jina-embed:image:a.png#" + "0" * 32, "fetches no"),
        ("http://[", "fetches no"),
        ("", "fetches no"),
        (5, "expected a string"),
    ],
)
async def test_what_is_no_image_in_a_data_uri_is_the_clients_error(url: Any, message: str) -> None:
    """Each a 400 of vLLM's, in both ways to ask."""
    with pytest.raises(VLLMValidationError, match=message):
        OwnImages().fetch_image(url)
    with pytest.raises(VLLMValidationError, match=message):
        await OwnImages().fetch_image_async(url)


async def test_nothing_but_images_is_taken() -> None:
    connector = OwnImages(allowed_media_domains=["127.0.0.1"])
    for name in ("video", "audio", "image_embedding", "audio_embedding"):
        with pytest.raises(VLLMValidationError, match="texts and images"):
            getattr(connector, f"fetch_{name}")("data:;base64,AAAA")
        with pytest.raises(VLLMValidationError, match="texts and images"):
            await getattr(connector, f"fetch_{name}_async")("http://127.0.0.1/a")


@pytest.fixture
def site() -> Iterator[SimpleNamespace]:
    """A web server with an image, a redirect to it, and a page; notes who asked for what."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path == "/redirect":
                self.send_response(302)
                self.send_header("location", "/a.png")
                self.end_headers()
                return
            self.send_response(200 if self.path != "/missing" else 404)
            self.end_headers()
            self.wfile.write(encoded(noise(40, 30)) if self.path == "/a.png" else b"inner page")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", asked=asked)
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_host_that_was_allowed_is_asked_and_no_other(
    site: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``--allowed-media-domains`` of vLLM; a closed port, a page and a redirect tell the same."""
    monkeypatch.setenv("VLLM_MEDIA_URL_ALLOW_REDIRECTS", "0")
    monkeypatch.setenv("VLLM_MEDIA_FETCH_MAX_RETRIES", "1")
    connector = OwnImages(allowed_media_domains=["127.0.0.1"])
    wanted = np.asarray(noise(40, 30))
    np.testing.assert_array_equal(np.asarray(await connector.fetch_image_async(f"{site.url}/a.png")), wanted)
    np.testing.assert_array_equal(np.asarray(connector.fetch_image(f"{site.url}/a.png")), wanted)
    told = set()
    for url in (f"{site.url}/page", f"{site.url}/redirect", f"{site.url}/missing", "http://127.0.0.1:9/a.png"):
        with pytest.raises(VLLMValidationError) as raised:
            await connector.fetch_image_async(url)
        told.add(str(raised.value))
    assert len(told) == 1
    assert "127.0.0.1" not in told.pop()
    assert site.asked == ["/a.png", "/a.png", "/page", "/redirect", "/missing"]
    for url in (site.url.replace("127.0.0.1", "localhost") + "/a.png", "file:///etc/passwd"):
        with pytest.raises(VLLMValidationError):
            await connector.fetch_image_async(url)
    assert len(site.asked) == 5


MARKERS = SimpleNamespace(
    vision_start_token_id=7, vision_end_token_id=9, image_token_id=8, video_token_id=10, model_type="x"
)


class Client:
    """Answers every prompt with the numbers it was made with."""

    def __init__(self, numbers: torch.Tensor, config: Any = MARKERS) -> None:
        self.vllm_config = SimpleNamespace(model_config=SimpleNamespace(hf_config=config))
        self.numbers, self.closed = numbers, 0

    async def encode(self, prompt: Any, pooling_params: Any, request_id: str, **_: Any) -> AsyncIterator[Any]:
        try:
            yield SimpleNamespace(outputs=SimpleNamespace(data=self.numbers), error=None)
        finally:
            self.closed += 1


async def ask(client: Any, prompt: Any, number: str = "embd-x-3") -> list[Any]:
    return [one async for one in client.encode(request_id=number, prompt=prompt, pooling_params=None, priority=0)]


@pytest.mark.parametrize("ids", [[1, 7, 2], [9], [8] * 9, [1, 7, 8, 9, 2], [9, 7], [10]])
async def test_ids_of_an_image_without_an_image_are_refused(ids: list[int]) -> None:
    """With the place of the item and of the token."""
    client = Client(torch.ones(3))
    check_requests(client)
    place = next(place for place, one in enumerate(ids) if one in (7, 8, 9, 10))
    with pytest.raises(VLLMValidationError, match=rf"input\[3\]: token {place} is {ids[place]} "):
        await ask(client, {"type": "token", "prompt_token_ids": ids})
    assert client.closed == 0
    expanded = {"type": "multimodal", "prompt_token_ids": [7, 8, 9], "mm_placeholders": {"image": [object()]}}
    assert len(await ask(client, expanded)) == 1
    assert len(await ask(client, {"type": "token", "prompt_token_ids": [1, 2]})) == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
async def test_numbers_that_are_not_finite_are_no_answer(bad: float) -> None:
    client = Client(torch.tensor([1.0, bad]))
    check_requests(client)
    with pytest.raises(VLLMValidationError, match=r"input\[3\].*not finite"):
        await ask(client, {"prompt_token_ids": [1]})
    assert client.closed == 1


async def test_large_finite_numbers_are_an_answer() -> None:
    """In float16 their sum would not be."""
    client = Client(torch.full((100,), 60000.0, dtype=torch.float16), SimpleNamespace())
    check_requests(client)
    assert len(await ask(client, {"prompt_token_ids": [7, 8, 9]})) == 1  # a text model has no markers


async def test_a_request_id_that_cannot_be_sent_is_refused() -> None:
    client = Client(torch.ones(3))
    check_requests(client)
    with pytest.raises(VLLMValidationError, match="request_id"):
        await ask(client, {"prompt_token_ids": [1]}, "embd-\ud800-0")


def test_items_are_counted_by_the_end_of_their_ids() -> None:
    assert position_of("embd-4f-12") == "input[12]"
    assert position_of("other") == "input"
