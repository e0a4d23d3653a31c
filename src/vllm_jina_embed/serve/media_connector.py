"""How our server opens the images of clients: as the embedder does, and without fetching anything.

By default vLLM fetches every URL in a request, follows redirects, and converts images in another way than
``vllm_jina_embed.inputs.images`` (a 16-bit image becomes white). Selected by ``VLLM_MEDIA_CONNECTOR``, vLLM's own hook.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import vllm.envs as envs
from PIL import Image
from vllm.exceptions import VLLMValidationError
from vllm.multimodal.media import MEDIA_CONNECTOR_REGISTRY, MediaConnector
from vllm.multimodal.media.image import ImageMediaIO

from .._cores import usable_cores
from ..engine.local.image_threads import MOST
from ..engine.plugin_contract import MEDIA_CONNECTOR
from ..errors import InputError
from ..inputs.images import MediaPolicy, open_image
from ..inputs.references import has_data_scheme
from .arguments import MAX_BODY_BYTES

POLICY = MediaPolicy(max_bytes=MAX_BODY_BYTES, allow_local_files=False)
"""Pixels are bounded as in the embedder; bytes by the request's bound, since clients send images as PNG."""
_THREADS = ThreadPoolExecutor(min(MOST, usable_cores()), thread_name_prefix="image")
"""They decode; together they hold no more memory meanwhile than ``image_files.BUDGET``."""


class ImageOpener(ImageMediaIO):
    """Opens bytes with ``inputs.images.open_image``; options of requests (``media_io_kwargs``) change nothing."""

    def load_bytes(self, data: bytes) -> Image.Image:
        """Return an RGB image."""
        return open_image(data, POLICY)

    def load_file(self, filepath: Path) -> Image.Image:
        """Return an RGB image from inside ``--allowed-local-media-path``."""
        return open_image(filepath.read_bytes(), POLICY)


@MEDIA_CONNECTOR_REGISTRY.register(MEDIA_CONNECTOR)
class OwnImages(MediaConnector):
    """Opens images in data URIs, and at URLs of hosts in ``--allowed-media-domains``; refuses other media."""

    def fetch_image(self, image_url: str, *, image_mode: str | None = "RGB") -> Image.Image:
        """Return an RGB image."""
        self._check(image_url)
        try:
            if _scheme(image_url) == "data":
                return open_image(image_url, POLICY)
            seconds = envs.VLLM_IMAGE_FETCH_TIMEOUT
            image: Image.Image = self.load_from_url(image_url, ImageOpener(), fetch_timeout=seconds)
        except Exception as error:
            raise _refusal(image_url, error) from None
        return image

    async def fetch_image_async(self, image_url: str, *, image_mode: str | None = "RGB") -> Image.Image:
        """Return an RGB image."""
        self._check(image_url)
        try:
            if _scheme(image_url) == "data":
                return await asyncio.get_running_loop().run_in_executor(_THREADS, open_image, image_url, POLICY)
            seconds = envs.VLLM_IMAGE_FETCH_TIMEOUT
            image: Image.Image = await self.load_from_url_async(image_url, ImageOpener(), fetch_timeout=seconds)
        except Exception as error:
            raise _refusal(image_url, error) from None
        return image

    def _check(self, url: object) -> None:
        """Raise for a kind of URL that is not allowed, before anything is opened."""
        if not isinstance(url, str):
            raise VLLMValidationError(f"got an image_url of type {type(url).__name__}; expected a string.")
        scheme = _scheme(url)
        allowed = {"data"}
        allowed |= {"http", "https"} if self.allowed_media_domains else set()
        allowed |= {"file"} if self.allowed_local_media_path is not None else set()
        if scheme not in allowed:
            raise VLLMValidationError(
                "this server fetches no images from URLs and files: send a data:image/...;base64, URI. Its operator "
                "can allow hosts: vllm-jina-embed serve ... -- --allowed-media-domains HOST",
                parameter="image_url",
            )

    def _only_images(self, *_: object, **__: object) -> NoReturn:
        raise VLLMValidationError("this server takes texts and images: no video, no audio, no embeddings of media.")

    async def _only_images_async(self, *_: object, **__: object) -> NoReturn:
        self._only_images()

    fetch_audio = fetch_video = fetch_image_embedding = fetch_audio_embedding = _only_images
    fetch_audio_async = fetch_video_async = _only_images_async
    fetch_image_embedding_async = fetch_audio_embedding_async = _only_images_async


def _scheme(url: str) -> str:
    if has_data_scheme(url):
        return "data"
    try:
        return urlsplit(url).scheme.lower()
    except ValueError:
        return ""


def _refusal(url: str, error: Exception) -> Exception:
    """Return the error for the client: why its image cannot be opened, but nothing about other machines."""
    is_data_uri_error = _scheme(url) == "data" and isinstance(error, InputError)
    message = str(error) if is_data_uri_error else "no image can be read at this URL."
    refusal: Exception = VLLMValidationError(message, parameter="image_url")
    return refusal
