"""What a served engine puts into vLLM's own hooks: how images are opened, and what is refused around the engine."""

from __future__ import annotations

import asyncio
import http.server
import re
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from vllm import PoolingParams
from vllm.exceptions import VLLMValidationError

from tests.support.builders import text_builder
from tests.support.hostile_bodies import bomb, uri
from tests.support.image_files import image_files
from tests.support.images import encoded, noise
from vllm_jina_embed import ConfigError, InputError, settings
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.engine.local.answers import unit
from vllm_jina_embed.engine.local.arguments import engine_arguments
from vllm_jina_embed.engine.local.image_threads import ImageThreads
from vllm_jina_embed.engine.plugin_contract import ROW_KEY, TOKENIZER_MODE
from vllm_jina_embed.inputs.images import MediaPolicy, open_image
from vllm_jina_embed.inputs.items import TextItem
from vllm_jina_embed.plugin import _register_for_server
from vllm_jina_embed.serve.media_connector import OwnImages
from vllm_jina_embed.serve.request_checks import check_requests, position_of
from vllm_jina_embed.serve.server_process import _parsed

pytestmark = [pytest.mark.real, pytest.mark.fire, pytest.mark.wide]


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
        (uri(b"%!PS-Adobe-3.0 EPSF-3.0\n"), "not an image|no image"),
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


DEMO = resolve("demo")


class Client:
    """Answers every prompt with the numbers it was made with."""

    def __init__(self, numbers: torch.Tensor, config: Any = MARKERS) -> None:
        self.vllm_config = SimpleNamespace(model_config=SimpleNamespace(hf_config=config))
        self.numbers, self.closed = numbers, 0

    async def encode(self, prompt: Any, pooling_params: Any, request_id: str, **_: Any) -> AsyncIterator[Any]:
        try:
            yield SimpleNamespace(outputs=SimpleNamespace(data=self.numbers), prompt_token_ids=[1], error=None)
        finally:
            self.closed += 1


async def ask(client: Any, prompt: Any, number: str = "embd-x-3", *, params: Any = None) -> list[Any]:
    return [one async for one in client.encode(request_id=number, prompt=prompt, pooling_params=params, priority=0)]


@pytest.mark.parametrize("ids", [[1, 7, 2], [9], [8] * 9, [1, 7, 8, 9, 2], [9, 7], [10]])
async def test_ids_of_an_image_without_an_image_are_refused(ids: list[int]) -> None:
    """With the place of the item and of the token."""
    client = Client(torch.ones(3))
    check_requests(client, DEMO)
    place = next(place for place, one in enumerate(ids) if one in (7, 8, 9, 10))
    with pytest.raises(VLLMValidationError, match=rf"input\[3\]: token {place} is {ids[place]} "):
        await ask(client, {"type": "token", "prompt_token_ids": ids})
    assert client.closed == 0
    expanded = {"type": "multimodal", "prompt_token_ids": [7, 8, 9], "mm_placeholders": {"image": [object()]}}
    assert len(await ask(client, expanded)) == 1
    assert len(await ask(client, {"type": "token", "prompt_token_ids": [1, 2]})) == 1


async def test_ids_that_are_not_filled_up_are_refused_where_the_model_was_trained_so() -> None:
    """With both numbers; an image has no prompt of its own."""
    client = Client(torch.ones(3))
    check_requests(client, resolve("google/siglip-so400m-patch14-224"))
    for count in (0, 1, 15, 17):
        with pytest.raises(VLLMValidationError, match=rf"input\[3\]: got {count} token ids; expected 16: .* filled up"):
            await ask(client, {"type": "token", "prompt_token_ids": [1] * count})
    assert client.closed == 0
    assert len(await ask(client, {"type": "token", "prompt_token_ids": [1] * 16})) == 1
    image = {"type": "multimodal", "prompt_token_ids": [0], "mm_placeholders": {"image": [object()]}}
    assert len(await ask(client, image)) == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
async def test_numbers_that_are_not_finite_are_no_answer(bad: float) -> None:
    client = Client(torch.tensor([1.0, bad]))
    check_requests(client, DEMO)
    with pytest.raises(VLLMValidationError, match=r"input\[3\].*not finite"):
        await ask(client, {"prompt_token_ids": [1]})
    assert client.closed == 1


async def test_large_finite_numbers_are_an_answer() -> None:
    """In float16 their sum would not be."""
    client = Client(torch.full((100,), 60000.0, dtype=torch.float16), SimpleNamespace())
    check_requests(client, DEMO)
    assert len(await ask(client, {"prompt_token_ids": [7, 8, 9]})) == 1  # a text model has no markers


@pytest.mark.parametrize("dimensions", [100, 1, 256])
async def test_a_length_that_was_not_trained_is_refused(dimensions: int) -> None:
    """With the model's name and what is allowed; vLLM would cut."""
    client = Client(torch.ones(3))
    check_requests(client, DEMO)
    params = PoolingParams(task="embed", dimensions=dimensions)
    message = rf"dimensions={dimensions} is not a Matryoshka size of demo; choose one of 32, 64, 128"
    with pytest.raises(VLLMValidationError, match=message):
        await ask(client, {"prompt_token_ids": [1]}, params=params)
    params = PoolingParams(task="token_embed", dimensions=dimensions)
    with pytest.raises(VLLMValidationError, match=f"dimensions={dimensions}: demo was trained for one length of"):
        await ask(client, {"prompt_token_ids": [1]}, params=params)
    for options in ({"task": "embed", "dimensions": 64}, {"task": "embed"}, {"task": "token_embed"}):
        right = PoolingParams(**options)
        assert len(await ask(client, {"prompt_token_ids": [1]}, params=right)) == 1


async def test_a_request_id_that_cannot_be_sent_is_refused() -> None:
    client = Client(torch.ones(3))
    check_requests(client, DEMO)
    with pytest.raises(VLLMValidationError, match="request_id"):
        await ask(client, {"prompt_token_ids": [1]}, "embd-\ud800-0")


def test_items_are_counted_by_the_end_of_their_ids() -> None:
    assert position_of("embd-4f-12") == "input[12]"
    assert position_of("other") == "input"


@pytest.fixture(scope="module")
def renderer() -> Iterator[Any]:
    """What makes prompts of requests in a server of the demo checkpoint, without an engine."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.renderers import renderer_from_config

    _register_for_server()
    engine = settings.check(model="demo").engine
    arguments = engine_arguments(engine, cpu=True)
    arguments["hf_overrides"][ROW_KEY] = [engine.row.name, engine.row.digest]  # as serve does
    config = AsyncEngineArgs(**arguments, tokenizer_mode=TOKENIZER_MODE).create_engine_config()
    made = renderer_from_config(config)
    yield made
    made.shutdown()


IMAGE_IDS = "<|vision_start|><|image_pad|><|vision_end|>"


def image_prompt(renderer: Any, image: Any, uuids: Any) -> Any:
    ids = renderer.get_tokenizer()(IMAGE_IDS)["input_ids"]
    return {
        "prompt_token_ids": ids,
        "multi_modal_data": {"image": [image]},
        "multi_modal_uuids": {"image": [uuids]},
    }


@pytest.mark.parametrize("uuid", ["mine", "renderer0-mm-1-image-0", None])
async def test_a_clients_uuid_never_names_an_image(renderer: Any, uuid: str | None) -> None:
    """Red and blue under one, and counters of vLLM's own, which would be the next clients' images."""
    ids = set()
    for color in ("red", "blue", "red"):
        prompt = image_prompt(renderer, Image.new("RGB", (64, 64), color), uuid)
        ids |= set(renderer._process_tokens(prompt)["mm_hashes"]["image"])
        ids |= set((await renderer._process_tokens_async(prompt))["mm_hashes"]["image"])
    assert len(ids) == 6
    assert not any("mine" in one or one.startswith("renderer") for one in ids)


def test_a_uuid_without_its_image_is_the_clients_error(renderer: Any) -> None:
    """It would be another request's image."""
    with pytest.raises(VLLMValidationError, match="uuid without its image"):
        renderer._process_tokens(image_prompt(renderer, None, "mine"))


async def test_images_of_several_clients_are_prepared_at_once(renderer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM has one thread for all of them. The numbers are those of that thread, bit for bit."""
    prompts = [image_prompt(renderer, noise(60 + 37 * n, 400 - 11 * n, n), None) for n in range(16)]
    one_by_one = [renderer._process_tokens(prompt) for prompt in prompts]
    inside = threading.Barrier(2)
    threads: list[str] = []
    prepare = renderer._process_multimodal

    def together(*arguments: Any, **options: Any) -> Any:
        threads.append(threading.current_thread().name)
        inside.wait(60)  # broken where nobody else comes
        return prepare(*arguments, **options)

    monkeypatch.setattr(renderer, "image_threads", ImageThreads(2))
    monkeypatch.setattr(renderer, "_process_multimodal", together)
    at_once = await asyncio.gather(*(renderer._process_tokens_async(prompt) for prompt in prompts))
    assert len(threads) == len(prompts)
    assert len(set(threads)) == 2
    for ours, theirs in zip(at_once, one_by_one, strict=True):
        assert ours["prompt_token_ids"] == theirs["prompt_token_ids"]
        ((expected,), (found,)) = (one["mm_kwargs"]["image"] for one in (theirs, ours))
        for name, numbers in expected.get_data().items():
            assert torch.equal(found.get_data()[name], numbers), name


def tokenized(renderer: Any, text: str, keep: int | None = None) -> list[int]:
    params = renderer.default_cmpl_tok_params.with_kwargs(truncate_prompt_tokens=keep)
    return list(renderer._tokenize_prompt({"prompt": text}, params)["prompt_token_ids"])


def test_a_long_text_costs_what_can_be_in_its_prompt(renderer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """White space makes no tokens with XLM-RoBERTa's tokenizer: all 20 million were tokenised."""
    sizes = []

    class Counting:
        def __init__(self, tokenizer: Any) -> None:
            self.tokenizer = tokenizer

        def encode(self, text: str, **options: Any) -> Any:
            sizes.append(len(text))
            return self.tokenizer.encode(text, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.tokenizer, name)

    plain = text_builder()._plain
    monkeypatch.setattr(renderer, "_plain", replace(plain, tokenizer=Counting(plain.tokenizer)))
    with pytest.raises(VLLMValidationError, match="Split the text, or pass truncate_prompt_tokens"):
        tokenized(renderer, " " * 20_000_000 + "x")
    assert max(sizes) < 10_000_000


@pytest.mark.parametrize("keep", [1, 5, 300])
def test_a_text_is_cut_as_the_embedder_cuts_it(renderer: Any, monkeypatch: pytest.MonkeyPatch, keep: int) -> None:
    builder = text_builder()
    monkeypatch.setattr(renderer, "_plain", builder._plain)
    for text in ("the quick brown fox " * 3, "the quick brown fox " * 9000):
        if keep == 1:
            with pytest.raises(VLLMValidationError, match="leaves no room"):
                tokenized(renderer, text, keep)
            continue
        item = TextItem(text=text, where="x", position=0)
        side = "start" if renderer.get_tokenizer().truncation_side == "left" else "end"
        (prompt,) = builder.build([item], role="passage", task="retrieval", max_length=keep, truncate=side)  # type: ignore[arg-type]
        assert tokenized(renderer, text, keep) == list(prompt.token_ids)  # type: ignore[union-attr]


@pytest.mark.parametrize("raised", [Exception, type("PanicException", (BaseException,), {})])
def test_what_the_tokenizer_fails_on_is_the_clients_error(
    renderer: Any, monkeypatch: pytest.MonkeyPatch, raised: type[BaseException]
) -> None:
    class Failing:
        def encode(self, text: str, **_: Any) -> Any:
            raise raised("no search")

        encode_batch = encode

    monkeypatch.setattr(renderer, "_plain", replace(renderer._plain, tokenizer=Failing()))
    with pytest.raises(VLLMValidationError, match="no search"):
        tokenized(renderer, "a fox")


def test_half_of_a_surrogate_pair_is_the_clients_error(renderer: Any) -> None:
    with pytest.raises(VLLMValidationError, match="UTF-8"):
        tokenized(renderer, "a \ud800")


async def test_an_empty_answer_is_none() -> None:
    """As vLLM 0.32 gives after a failed request."""
    client = Client(torch.ones(0))
    check_requests(client, DEMO)
    with pytest.raises(VLLMValidationError, match=r"input\[3\].*no numbers"):
        await ask(client, {"prompt_token_ids": [1]})


def test_a_vector_of_another_norm_is_refused() -> None:
    """Zeros among them, which are finite."""
    for vector in (np.zeros(4, np.float32), np.full(4, 0.6, np.float32)):
        with pytest.raises(InputError, match="norm"):
            unit(vector)
    assert unit(np.full(4, 0.5, np.float32)).sum() == 2


def test_a_second_checkpoint_is_refused() -> None:
    """vLLM would serve it, under the first one's name."""
    with pytest.raises(ConfigError, match="'/other/model': 'serve' takes one checkpoint"):
        _parsed(["--model", "demo", "/other/model"])
