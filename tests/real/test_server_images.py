"""Files of images that a client sends as they are: the real server decodes them to the pixels that the client has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.servers import served
from tests.unit.test_sent_images import FILES, OPEN
from vllm_jina_embed import InputError, JinaEmbedder
from vllm_jina_embed.engine.remote import messages
from vllm_jina_embed.inputs.encoding import data_uri
from vllm_jina_embed.inputs.images import open_image, open_to_send
from vllm_jina_embed.serve.media_connector import OwnImages

pytestmark = [pytest.mark.real, pytest.mark.wide]


async def test_the_server_opens_a_file_as_the_client_does() -> None:
    """By the class that vLLM's server calls, from what the client sends: the file, or a PNG of its pixels."""
    connector, sent = OwnImages(), 0
    for name, data in FILES.items():
        try:
            loaded = open_to_send(data, OPEN)
        except InputError:
            continue
        uris = [messages.data_uri(loaded.pixels)]
        if loaded.data is not None and loaded.media_type is not None:
            uris.append(data_uri(loaded.data, loaded.media_type))
            sent += 1
        for uri in uris:
            for image in (connector.fetch_image(uri), await connector.fetch_image_async(uri)):
                assert (image.mode, image.size) == ("RGB", loaded.pixels.size), name
                assert image.tobytes() == loaded.pixels.tobytes(), name
    assert sent > 30


def test_the_vector_of_a_file_is_that_of_its_pixels_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, so that each is computed alone: no batch makes a difference."""
    sent: list[str] = []
    make = messages.question

    def noted(prompts: Any, *, as_files: bool = False) -> dict[str, Any]:
        body = make(prompts, as_files=as_files)
        sent.extend(part["image_url"]["url"] for part in body["messages"][0]["content"])
        return body

    monkeypatch.setattr(messages, "question", noted)
    names = []
    with (
        served("demo", tmp_path / "log") as server,
        JinaEmbedder.from_server(server.url, timeout=600) as embedder,
    ):
        for name, data in FILES.items():
            try:
                pixels = open_image(data, OPEN)
            except InputError:
                continue
            (of_file,), (of_pixels,) = embedder.embed_images([data]), embedder.embed_images([pixels])
            np.testing.assert_array_equal(of_file, of_pixels, err_msg=name)
            as_file, as_pixels = sent[-2:]
            assert as_pixels.startswith("data:image/png;base64,")
            if open_to_send(data, OPEN).data is not None:
                assert as_file != as_pixels, name
                names.append(name)
    assert {"JPEG", "CMYK JPEG", "JPEG turned 6", "palette", "deep grey PNG", "animated PNG", "MPO"} <= {*names}
