"""The reranker that users create: a query and documents in, scores out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from ._arrays import Floats
from ._closing import Closing
from ._extras import require
from ._keywords import one_of
from .checkpoints.rankers import ranker_given
from .checkpoints.ranking import RankingCheckpoint, RankingModel
from .engine.config import RemoteConfig
from .engine.pool import POOL, EnginePool
from .engine.remote import discover
from .errors import ConfigError
from .inputs.images import MediaPolicy
from .inputs.items import EmbedInput
from .prompts.base import Spelling
from .prompts.pairs import PairBuilder
from .reranking import settings
from .reranking.backend import RankingBackend
from .reranking.prompt_builders import Loader, from_checkpoint, from_same_checkpoint, from_servers, served_builder
from .reranking.scores import by_score, scores_of
from .scoring.ranking import Ranked, check_top_n
from .settings import OnError


class JinaReranker(Closing):
    """Scores of documents for a query, from a reranker on a shared vLLM engine.

    Constructing it starts nothing; the first call starts the engine or joins a running one with the same checkpoint,
    pixel bounds and ``engine_kwargs``. Safe to call from any thread and any event loop.

    A copy and a pickle hold the settings, as those of a ``JinaEmbedder`` do.
    """

    _pool: ClassVar[EnginePool] = POOL

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        instruction: str | None = None,
        truncate: Spelling = "end",
        max_length: int | None = None,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        media: MediaPolicy | None = None,
        show_progress: bool = False,
        on_error: OnError = "raise",
        engine_kwargs: Mapping[str, Any] | None = None,
        revision: str | None = None,
        row: RankingModel | str | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Check the settings.

        Args:
            model: A hub repository, or a folder with a checkpoint of a known row, such as ``Qwen/Qwen3-Reranker-0.6B``.
            instruction: What makes a document relevant, in one sentence, where the model's prompt has a place for it;
                None takes the row's.
            truncate: Which end of a document's text is cut if its pair is over ``max_length`` (with one warning), or
                ``error``, which names each such document and loses no other. Neither the query nor what stands around
                both is ever cut. vLLM's and Cohere's ``END``, ``START`` and ``NONE`` are the same.
            max_length: Longest pair in tokens, the whole prompt included; None takes the row's.
            min_pixels: Smaller images are enlarged to this area; None takes the row's.
            max_pixels: Larger images are reduced to this area; None takes the row's.
            media: Limits for images.
            show_progress: Whether calls draw a progress bar on stderr.
            on_error: ``raise`` an InputError that names every bad document, or ``skip`` them: their scores are NaN,
                ``rerank`` leaves them out, and one warning names them.
            engine_kwargs: Keyword arguments for vLLM, for example ``{"dtype": "float32"}``.
            revision: Commit or tag of a hub repository.
            row: The description of ``model`` (a ``RankingModel``), or a registered one's name; None decides by its
                files.
            model_kwargs: Alias of ``engine_kwargs``.

        Raises:
            ConfigError: This checkpoint does not support a setting, or is not a reranker.
        """
        checked = settings.check(
            model=model,
            instruction=instruction,
            truncate=truncate,
            max_length=max_length,
            min_pixels=min_pixels,
            max_pixels=max_pixels,
            media=media,
            show_progress=show_progress,
            on_error=on_error,
            engine_kwargs=one_of("engine_kwargs", engine_kwargs, "model_kwargs", model_kwargs),
            revision=revision,
            row=row,
        )
        self._take(checked)

    def _take(
        self, checked: settings.RankingSettings, builder: PairBuilder | None = None, load: Loader = from_checkpoint
    ) -> None:
        self.settings = checked
        self.backend = RankingBackend(checked, self._pool, owner=repr(self), builder=builder, load=load)

    @classmethod
    def from_server(
        cls,
        servers: str | Sequence[str],
        *,
        api_key: str | None = None,
        timeout: float = 60.0,
        pickle_api_key: bool = False,
        **keywords: Any,
    ) -> Self:
        """Return a reranker over vLLM servers; neither vLLM nor torch is needed here.

        Args:
            servers: URL of a server that ``vllm-jina-embed serve`` started with a reranker, or of several of the same
                one, as in ``JinaEmbedder.from_server``. A plain vLLM server is refused: it does not tell its prompt,
                nor which tokens it compares.
            api_key: The servers' ``--api-key``.
            timeout: Seconds for one request, until the last byte of its answer.
            pickle_api_key: As in ``JinaEmbedder.from_server``.
            **keywords: As in ``JinaReranker``: ``instruction``, ``truncate``, ``max_length``, ``min_pixels``,
                ``max_pixels``, ``media``, ``show_progress``, ``on_error``, ``row``.

        Raises:
            ConfigError: The servers serve something else, or do not support a setting.
            EngineDeadError: No server answers.
            MissingExtraError: httpx is not installed.
        """
        if "engine_kwargs" in keywords or "model_kwargs" in keywords:
            raise ConfigError("engine_kwargs belong to the server: pass them to 'vllm-jina-embed serve' after --.")
        asked = discover.remote(servers, api_key=api_key, timeout=timeout, pickle_api_key=pickle_api_key)
        require("client", "httpx")
        remote, tokenizer = asked.discover(cls._pool, ranker_given(keywords.get("row")), ranks=True)
        checked = settings.check(remote=remote, **keywords)
        reranker = cls.__new__(cls)
        reranker._take(checked, served_builder(checked, tokenizer, ", ".join(remote.urls)))
        return reranker

    def score(
        self,
        query: EmbedInput,
        items: Iterable[EmbedInput],
        *,
        instruction: str | None = None,
        on_error: OnError | None = None,
        show_progress: bool | None = None,
    ) -> Floats:
        """Return the score of each item for a query.

        Args:
            query: A text, an image, or both, as one item of ``JinaEmbedder.embed``.
            items: The documents, as in ``JinaEmbedder.embed``.
            instruction: For this call; None takes the reranker's.
            on_error: For this call; None takes the reranker's.
            show_progress: For this call; None takes the reranker's.

        Returns:
            float32, shape ``(n_items,)``, from 0 to 1, in the order of ``items``.

        Raises:
            InputError: The query, or some items, have no score; names every position. ``error.embeddings`` holds the
                other scores, NaN for the bad items; it is None where the query is bad.
            ConfigError: The model's prompt has no place for an instruction.
            ClosedError: After ``close()``.
        """
        call = self.backend.pairs(query, items, instruction=instruction, on_error=on_error, show_progress=show_progress)
        return scores_of(self.backend.run(call))

    async def ascore(
        self,
        query: EmbedInput,
        items: Iterable[EmbedInput],
        *,
        instruction: str | None = None,
        on_error: OnError | None = None,
        show_progress: bool | None = None,
    ) -> Floats:
        """Await ``score``."""
        call = self.backend.pairs(query, items, instruction=instruction, on_error=on_error, show_progress=show_progress)
        return scores_of(await self.backend.arun(call))

    def rerank(
        self,
        query: EmbedInput,
        items: Iterable[EmbedInput],
        top_n: int | None = None,
        *,
        instruction: str | None = None,
        on_error: OnError | None = None,
        show_progress: bool | None = None,
    ) -> list[Ranked]:
        """Return the items by their score, the best first.

        Args:
            query: As in ``score``.
            items: As in ``score``.
            top_n: How many to return; None for all.
            instruction: As in ``score``.
            on_error: As in ``score``; items that are skipped are left out.
            show_progress: As in ``score``.

        Returns:
            One ``Ranked`` for each, with its position in ``items``. Equal scores stay in the order of ``items``. Where
            scores are rounded to the same number, the order is that of the model's own numbers.

        Raises:
            InputError: As ``score``.
            ConfigError: As ``score``, or ``top_n`` is not a whole number over 0.
            ClosedError: After ``close()``.
        """
        check_top_n(top_n)
        call = self.backend.pairs(query, items, instruction=instruction, on_error=on_error, show_progress=show_progress)
        return by_score(self.backend.run(call), top_n)

    async def arerank(
        self,
        query: EmbedInput,
        items: Iterable[EmbedInput],
        top_n: int | None = None,
        *,
        instruction: str | None = None,
        on_error: OnError | None = None,
        show_progress: bool | None = None,
    ) -> list[Ranked]:
        """Await ``rerank``."""
        check_top_n(top_n)
        call = self.backend.pairs(query, items, instruction=instruction, on_error=on_error, show_progress=show_progress)
        return by_score(await self.backend.arun(call), top_n)

    # --- life -------------------------------------------------------------------------------------------------------

    @property
    def checkpoint(self) -> RankingCheckpoint:
        """The description of the checkpoint."""
        return self.settings.checkpoint

    @property
    def model(self) -> str:
        """The checkpoint's name, as it was passed."""
        return self.checkpoint.name

    @property
    def fingerprint(self) -> str:
        """All settings that change a score, as one string: equal fingerprints and pairs give equal scores."""
        return self.settings.fingerprint

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
        """Return the model as in a call."""
        return f"JinaReranker({self.model!r})"
