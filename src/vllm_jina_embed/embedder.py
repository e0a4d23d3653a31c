"""The embedder that users create: texts and images in, embeddings out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy.typing as npt

from . import settings
from ._extras import require
from ._keywords import one_of
from .cache.embedder import CachedEmbedder
from .cache.stores import Store
from .checkpoints import description
from .checkpoints.registry import row_given
from .embedding.calls import Calls
from .embedding.engine_backend import EngineBackend
from .embedding.prompt_builders import Loader, from_checkpoint, from_same_checkpoint, from_servers, served_builder
from .engine.config import RemoteConfig
from .engine.pool import POOL, EnginePool
from .engine.remote import discover
from .errors import ConfigError
from .inputs.images import MediaPolicy
from .pooling.quantization import OutputDtype
from .prompts.base import Builder, Spelling
from .settings import Fusion, LongText, OnError


class JinaEmbedder(Calls):
    """Text and image embeddings from one shared vLLM engine.

    Constructing it starts nothing; the first call starts the engine or joins a running one with the same
    checkpoint, pixel bounds and ``engine_kwargs``. Safe to call from any thread and any event loop.

    A copy and a pickle hold the settings. What comes back is open, has started nothing, and asks the same servers if
    this one does; at its first call it refuses a checkpoint that is not the same any more.
    """

    _pool: ClassVar[EnginePool] = POOL
    backend: EngineBackend

    def __init__(
        self,
        model: str | os.PathLike[str] = description.DEMO,
        *,
        task: str | None = None,
        dimensions: int | None = None,
        truncate: Spelling = "end",
        max_length: int | None = None,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        media: MediaPolicy | None = None,
        show_progress: bool = False,
        on_error: OnError = "raise",
        engine_kwargs: Mapping[str, Any] | None = None,
        revision: str | None = None,
        row: description.Model | str | None = None,
        fusion: Fusion | None = None,
        normalize: bool = True,
        long_text: LongText | None = None,
        output_dtype: OutputDtype = "float32",
        ranges: npt.ArrayLike | None = None,
        truncate_dim: int | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Check the settings.

        Args:
            model: ``demo``, a hub repository, or a folder with a checkpoint of a known row;
                ``jinaai/jina-embeddings-v4`` serves every task and multi-vectors from one engine.
            task: A task of the checkpoint, such as ``retrieval`` or ``text-matching``; None takes its first.
            dimensions: Matryoshka size of the embeddings; None keeps the full length.
            truncate: Which end of a text over ``max_length`` is cut (with one warning), or ``error``, which names each
                such text and loses no other. The user's text alone is cut, never what stands around it. vLLM's and
                Cohere's ``END``, ``START`` and ``NONE`` are the same.
            max_length: Longest text in tokens, prefix included; None takes the engine's limit.
            min_pixels: Smaller images are enlarged to this area; None takes the row's (jina-embeddings-v4: 3136).
            max_pixels: Larger images are reduced to this area; None takes the row's (jina-embeddings-v4: 602112).
            media: Limits for images.
            show_progress: Whether calls draw a progress bar on stderr.
            on_error: ``raise`` an InputError that names every bad item, or ``skip`` them: their rows are NaN and
                one warning names them. Either way all other items are computed. Adapters never give a store NaN;
                see their ``placeholder``.
            engine_kwargs: Keyword arguments for vLLM, for example ``{"dtype": "float32"}``.
            revision: Commit or tag of a hub repository.
            row: The description of ``model`` (a ``Model``), or a registered one's name; None decides by its files.
            fusion: ``mean`` gives an item of text and image together the normalised mean of its text's and its images'
                embedding, where the model was not trained for such items; None refuses them there.
            normalize: Whether embeddings have L2 norm 1. False gives what the model's pooling gives, after a layer
                norm where the model has one, cut to ``dimensions``. Rows of multi-vectors always have L2 norm 1.
            long_text: ``chunks`` embeds a text over ``max_length`` in chunks of that many tokens, each with the whole
                prompt around it: its embedding is the mean of theirs, weighted by their numbers of tokens, normalised
                again (with ``normalize=False`` the mean of what was pooled). None cuts it, as ``truncate`` says.
                A text in one prompt with an image, and one of multi-vectors, is cut as ``truncate`` says.
            output_dtype: The type of the embeddings, which a call may override: ``float32``, ``float16``, ``int8``,
                ``uint8``, ``binary`` or ``ubinary`` (``pooling.quantization``). Scores and multi-vectors are float32.
            ranges: Of int8 and uint8, as ``calibrated`` measures them; None takes the default ones.
            truncate_dim: Alias of ``dimensions``.
            model_kwargs: Alias of ``engine_kwargs``.

        Raises:
            ConfigError: This checkpoint does not support a setting.
        """
        self._take(
            settings.check(
                model=model,
                revision=revision,
                task=task,
                dimensions=one_of("dimensions", dimensions, "truncate_dim", truncate_dim),
                truncate=truncate,
                max_length=max_length,
                min_pixels=min_pixels,
                max_pixels=max_pixels,
                media=media,
                show_progress=show_progress,
                on_error=on_error,
                engine_kwargs=one_of("engine_kwargs", engine_kwargs, "model_kwargs", model_kwargs),
                row=row,
                fusion=fusion,
                normalize=normalize,
                long_text=long_text,
                output_dtype=output_dtype,
                ranges=ranges,
            )
        )

    def _take(self, checked: settings.Settings, builder: Builder | None = None, load: Loader = from_checkpoint) -> None:
        self.settings = checked
        self.backend = EngineBackend(checked, self._pool, owner=repr(self), builder=builder, load=load)

    @classmethod
    def from_server(
        cls,
        servers: str | Sequence[str],
        *,
        model: str | os.PathLike[str] | None = None,
        api_key: str | None = None,
        timeout: float = 60.0,
        pickle_api_key: bool = False,
        truncate_dim: int | None = None,
        **keywords: Any,
    ) -> Self:
        """Return an embedder over vLLM servers; neither vLLM nor torch is needed here.

        Args:
            servers: URL of a server that ``vllm-jina-embed serve`` started, or of several of the same checkpoint: the
                least loaded gets a request first, and the requests of a lost server go to the others. A user name
                and password in a URL are sent as basic authentication, and never shown.
            model: Checkpoint of a plain vLLM server (a folder or a published name); None asks the servers.
            api_key: The servers' ``--api-key``.
            timeout: Seconds for one request, until the last byte of its answer.
            pickle_api_key: Whether a pickle of this embedder holds ``api_key`` and a password in a URL, which everybody
                who can read the pickle can read then. Without them, what is unpickled raises a ConfigError at its
                first call.
            truncate_dim: Alias of ``dimensions``.
            **keywords: As in ``JinaEmbedder``: ``task``, ``dimensions``, ``truncate``, ``max_length``, ``min_pixels``,
                ``max_pixels``, ``media``, ``show_progress``, ``on_error``, ``revision``, ``row``, ``fusion``,
                ``normalize``, ``long_text``, ``output_dtype``, ``ranges``.

        Raises:
            ConfigError: The servers do not support a setting, or a plain server needs ``model``.
            EngineDeadError: No server answers.
            MissingExtraError: httpx is not installed.
        """
        if "engine_kwargs" in keywords or "model_kwargs" in keywords:
            raise ConfigError("engine_kwargs belong to the server: pass them to 'vllm-jina-embed serve' after --.")
        keywords["dimensions"] = one_of("dimensions", keywords.get("dimensions"), "truncate_dim", truncate_dim)
        remote = discover.remote(servers, api_key=api_key, timeout=timeout, pickle_api_key=pickle_api_key)
        tokenizer = None
        require("client", "httpx")
        if model is None:
            remote, tokenizer = remote.discover(cls._pool, row_given(keywords.get("row")))
        checked = settings.check(model=model, remote=remote, **keywords)
        embedder = cls.__new__(cls)
        if tokenizer is None:
            embedder._take(checked)
        else:
            embedder._take(checked, served_builder(checked, tokenizer, ", ".join(remote.urls)))
        return embedder

    def cached(self, store: Store | str | os.PathLike[str], *, multi_vectors: bool = False) -> CachedEmbedder:
        """Return an embedder with the same calls that looks into ``store`` first; closing it closes this one.

        Args:
            store: A path for an SQLite file, or an object with ``get_many(keys)`` and ``put_many(values)``.
            multi_vectors: Whether to keep multi-vectors too, which take hundreds of times the space of embeddings.

        Raises:
            ConfigError: The checkpoint is a hub repository without a commit, or ``store`` is not a store.
        """
        return CachedEmbedder(self, store, multi_vectors=multi_vectors)

    # --- life -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give the engine back; its last user stops it. Further calls do nothing."""
        self.backend.close()

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self.backend.closed

    def __del__(self) -> None:
        """Warn about a forgotten ``close``; the engine runs on for other users and stops at exit."""
        backend = getattr(self, "backend", None)  # missing after an error in __init__
        if backend is not None and not backend.closed and backend.engine is not None:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=1)

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings, the servers among them; their API key stays behind unless ``pickle_api_key`` is set."""
        return {"settings": self.settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the settings; nothing is looked at or asked before the first call, since errors here hang a Pool."""
        engine = state["settings"].engine
        is_told = isinstance(engine, RemoteConfig) and engine.is_told
        self._take(state["settings"], load=from_servers if is_told else from_same_checkpoint)

    def __repr__(self) -> str:
        """Return the model, the task and the dimensions as in a call."""
        return f"JinaEmbedder({self.model!r}, task={self.task!r}, dimensions={self.dimensions})"
