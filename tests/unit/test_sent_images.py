"""What a client sends of an image: its file where the server decodes it alike, else its pixels; equal pixels always."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw

from tests.support.fake_servers import FakeServers, config_of, image_prompt
from tests.support.image_files import image_files
from tests.support.images import encoded, noise
from vllm_jina_embed import InputError, JinaEmbedder, MediaPolicy
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.engine.remote.engine import RemoteEngine
from vllm_jina_embed.inputs import decoder as module
from vllm_jina_embed.inputs.decoder import decoder, stands_for
from vllm_jina_embed.inputs.images import LoadedImage, open_image, open_to_send

OPEN = MediaPolicy()


class Remote(JinaEmbedder):
    """Reaches the servers of this test."""


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServers]:
    servers = FakeServers(facts={"decoder": decoder()}, plain="plain")
    pool = EnginePool(lambda config: RemoteEngine(config, transport=servers.transport))
    monkeypatch.setattr(Remote, "_pool", pool)
    yield servers
    pool.close()


def with_orientation(turn: int, kind: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = turn
    return encoded(noise(120, 70) if kind == "JPEG" else drawing(), kind, exif=exif)


def drawing() -> Image.Image:
    """Return a picture of few colours, whose PNG is short in every mode."""
    image = Image.new("RGB", (300, 200), "white")
    draw = ImageDraw.Draw(image)
    for place, colour in enumerate(("red", "#00ff7f", "#123456", "black")):
        draw.ellipse((10 + 60 * place, 20, 90 + 60 * place, 150), fill=colour)
    return image


def files() -> dict[str, bytes]:
    """Return files of every kind, mode and rotation, most of them small enough to be sent."""
    image = noise(300, 200)
    rng = np.random.default_rng(0)
    drawn, grey = drawing(), np.asarray(drawing().convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    clear = drawn.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size).quantize(9).convert("L"))
    found = image_files() | {
        "JPEG": encoded(image, "JPEG", quality=90),
        "JPEG 4:4:4": encoded(image, "JPEG", quality=90, subsampling=0),
        "JPEG 4:2:2, odd size": encoded(noise(151, 99), "JPEG", quality=60, subsampling=1),
        "progressive JPEG": encoded(image, "JPEG", progressive=True),
        "grey JPEG": encoded(image.convert("L"), "JPEG"),
        "CMYK JPEG": encoded(image.convert("CMYK"), "JPEG"),
        "MPO": encoded(image, "MPO", save_all=True, append_images=[noise(300, 200, seed=1)]),
        "JPEG with bytes after it": encoded(image, "JPEG") + b"a film of a phone" * 100,
        "PNG": encoded(drawn),
        "clear PNG": encoded(clear),
        "clear grey PNG": encoded(clear.convert("LA")),
        "PNG with a clear colour": encoded(drawn, transparency=(255, 0, 0)),
        "palette PNG with clear colours": encoded(drawn.quantize(16), transparency=bytes(range(0, 256, 16))),
        "PNG with a profile": encoded(
            drawn, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        ),
        "animated PNG": encoded(image.quantize(9), save_all=True, append_images=[noise(300, 200, seed=1).quantize(9)]),
        "deep grey PNG": encoded(deep),
        "noise PNG": encoded(Image.fromarray(rng.integers(0, 256, (50, 60, 3), dtype=np.uint8))),
        "animated GIF": encoded(image.quantize(9), "GIF", save_all=True, append_images=[image.quantize(3)]),
    }
    found |= {f"JPEG turned {turn}": with_orientation(turn) for turn in range(1, 9)}
    return found | {f"PNG turned {turn}": with_orientation(turn, "PNG") for turn in (3, 8)}


FILES = files()
SENT = {
    name
    for name, data in FILES.items()
    if data[:4] in (b"\x89PNG", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe1", b"\xff\xd8\xff\xee")
}


@pytest.mark.parametrize("name", FILES)
def test_the_server_gets_the_pixels_of_a_file_bit_for_bit(servers: FakeServers, name: str, tmp_path: Path) -> None:
    """From bytes, a path, a data URI and a file object; PNG and JPEG as they are, unless pixels are shorter."""
    data = FILES[name]
    path = tmp_path / "image"
    path.write_bytes(data)
    try:
        expected = open_image(data, OPEN)
    except InputError:
        with Remote.from_server("http://a") as embedder, pytest.raises(InputError):
            embedder.embed_images([data])
        assert servers.images == []
        return
    uri = f"data:image/x;base64,{base64.b64encode(data).decode()}"
    with Remote.from_server("http://a") as embedder:
        rows = embedder.embed_images([data, path, uri, BytesIO(data)])
        (row,) = embedder.embed_images([open_image(data, OPEN)])  # of its pixels
    assert len(servers.images) == 5
    for _, image in servers.images:
        assert image.mode == "RGB"
        assert image.size == expected.size
        assert image.tobytes() == expected.tobytes()
    is_sent = name in SENT and len(data) <= expected.width * expected.height
    sent = [base64.b64decode(url.partition(",")[2]) for url, _ in servers.images]
    assert [one == data for one in sent] == [is_sent] * 4 + [False]
    np.testing.assert_array_equal(rows, np.stack([row] * 4))


def test_most_kinds_are_sent_as_they_are() -> None:
    """So that the test above shows something; and what is no PNG or JPEG never is."""
    kept = {name for name, data in FILES.items() if name in SENT and _is_kept(data)}
    assert SENT - kept == {"RGBA", "RGB with tRNS", "noise PNG"}, "whose files are long"
    assert {*FILES} - SENT >= {"GIF", "WebP", "BMP", "16-bit TIFF", "animated GIF"}


def _is_kept(data: bytes) -> bool:
    try:
        return open_to_send(data, OPEN).data == data
    except InputError:
        return False


@pytest.mark.parametrize("facts", [{}, {"decoder": "rules 0, Pillow 1.0, libjpeg-turbo 1, z80"}, {"decoder": 5}])
def test_a_server_that_decodes_otherwise_gets_pixels(servers: FakeServers, facts: dict[str, Any]) -> None:
    """One of another version, or that does not tell how it decodes, as version 0.1."""
    servers.facts = facts
    with Remote.from_server("http://a") as embedder:
        embedder.embed_images([FILES["JPEG"]])
    (url, image) = servers.images[0]
    assert url.startswith("data:image/png;base64,")
    assert image.tobytes() == open_image(FILES["JPEG"], OPEN).tobytes()


def test_a_plain_server_gets_pixels(servers: FakeServers) -> None:
    """It opens files by rules of its own."""
    servers.facts = {}
    prompt = image_prompt(open_image(FILES["JPEG turned 6"], OPEN))
    prompt = replace(prompt, files=((FILES["JPEG turned 6"], "image/jpeg"),))
    with closing(RemoteEngine(config_of("http://plain"), transport=servers.transport)) as engine:
        engine.run(engine.embed(prompt, dimensions=64, task="retrieval")).result(60)
    assert {url[:15] for url, _ in servers.images} == {"data:image/png;"}


def test_each_server_of_a_list_gets_what_it_reads(servers: FakeServers, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that one of them lost goes to the other as the other needs it."""
    monkeypatch.setattr("vllm_jina_embed.engine.remote.balancer.PATIENCE", 0.05)
    servers.facts_at = {"b": {"decoder": "another"}}
    tried = []

    def lose(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/v1/embeddings":
            tried.append((request.url.host, b"image/jpeg" in request.content))
            if len(tried) < 2:
                raise httpx.ReadError("lost")
        return None

    servers.fail = lose
    with Remote.from_server(["http://a", "http://b"]) as embedder:
        embedder.embed_images([FILES["JPEG"]])
    assert len(tried) == 2
    assert all(as_file == (host == "a") for host, as_file in tried)
    assert {host for host, _ in tried} == {"a", "b"}


def test_a_list_of_images_is_one_item_of_files_and_pixels(servers: FakeServers) -> None:
    """In its order, with and without a text; and so it goes through a cache."""
    images = [FILES["JPEG"], noise(40, 50), FILES["palette"], FILES["BMP"]]
    with Remote.from_server("http://a") as embedder, embedder.cached(":memory:") as cached:
        cached.embed_images([images])
    kinds = [url.partition(";")[0] for url, _ in servers.images]
    assert kinds == ["data:image/jpeg", "data:image/png", "data:image/png", "data:image/png"]
    sent = [base64.b64decode(url.partition(",")[2]) for url, _ in servers.images]
    assert (sent[0], sent[2]) == (images[0], images[2])
    for (_, image), source in zip(servers.images, images, strict=True):
        assert image.tobytes() == open_image(source, OPEN).tobytes()


def test_an_opened_image_keeps_its_file(servers: FakeServers) -> None:
    """What was opened for the key of a cache is not encoded anew."""
    first = open_to_send(FILES["JPEG"], OPEN)
    again = open_to_send(first, OPEN)
    assert isinstance(again, LoadedImage)
    assert again.data == FILES["JPEG"]
    assert open_to_send(noise(30, 30), OPEN).data is None


def test_the_clients_policy_decides_first(servers: FakeServers) -> None:
    with (
        Remote.from_server("http://a", media=MediaPolicy(max_pixels=1000)) as embedder,
        pytest.raises(InputError, match="max_pixels is 1000"),
    ):
        embedder.embed_images([FILES["JPEG"]])
    assert servers.images == []


def test_what_is_longer_than_a_third_of_the_pixels_or_very_large_is_sent_as_pixels() -> None:
    assert stands_for(bytes(100), 100)
    assert not stands_for(bytes(101), 100)
    assert stands_for(b"", module.MOST_PIXELS)
    assert not stands_for(b"", module.MOST_PIXELS + 1)


def test_the_decoder_names_all_that_decides_a_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that differ in one of them, each gets pixels."""
    before = decoder()
    changes: list[tuple[Any, str, Any]] = [
        (module.PIL, "__version__", "0.1"),
        (module.features, "version", lambda name: "0.1"),
        (module.platform, "machine", lambda: "z80"),
        (module, "RULES", module.RULES[:-1]),
    ]
    found = {before}
    for where, name, value in changes:
        with monkeypatch.context() as there:
            there.setattr(where, name, value)
            found.add(decoder.__wrapped__())
    assert len(found) == 5
    assert decoder.__wrapped__() == before
    folder = Path(module.__file__).parent
    assert all((folder / name).is_file() for name in module.RULES)


def test_nothing_is_encoded_for_a_file(servers: FakeServers, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is the point of it: the encoder of PNG is not called at all."""
    page = encoded(noise(1240, 1754), "JPEG", quality=90)
    saved = []
    monkeypatch.setattr(Image.Image, "save", lambda *values, **options: saved.append(values))
    with Remote.from_server("http://a") as embedder:
        embedder.embed_images([page])
    assert saved == []
    assert len(servers.images) == 1
