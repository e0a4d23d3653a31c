"""Check a server from a client's side: whether it answers, what it serves, and whether its vectors are right."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.description import DEMO
from ..checkpoints.ranking import RankingCheckpoint
from ..checkpoints.resolve import resolve
from ..checkpoints.resolve_ranker import is_ranker, resolve_ranker
from ..embedder import JinaEmbedder
from ..errors import ConfigError, EngineDeadError, MissingExtraError, VllmJinaError
from ..reranker import JinaReranker
from . import known
from .engine import LIMIT
from .finding import Finding, Surroundings

SECONDS = 30.0
"""How long a server may take for an answer."""


def check_server(
    around: Surroundings,
    url: str,
    *,
    api_key: str | None = None,
    model: str | None = None,
    seconds: float = SECONDS,
    embedders: type[JinaEmbedder] = JinaEmbedder,
    rerankers: type[JinaReranker] = JinaReranker,
) -> Finding:
    """Ask a server what it serves, and for a few vectors or scores.

    Args:
        around: What to look at.
        url: Of the server.
        api_key: What it wants to be shown.
        model: What it should serve; None takes what it tells.
        seconds: How long it may take for an answer.
        embedders: The class that asks a server of vectors.
        rerankers: The class that asks a server of scores.
    """
    keywords: dict[str, Any] = {"api_key": api_key, "timeout": seconds}
    try:
        with _client(url, model, keywords, embedders, rerankers) as client:
            _check_model(url, model, client.settings.checkpoint)
            return _judged(url, client) if isinstance(client, JinaEmbedder) else _judged_scores(url, client)
    except MissingExtraError as error:
        summary, command = "httpx, which asks servers, is not installed.", str(error).rpartition("Run: ")[2]
        return Finding(check="server", status="problem", summary=summary, command=command)
    except EngineDeadError as error:
        mend = "Start it (vllm-jina-embed serve CHECKPOINT --host ADDRESS), and let its port through the firewall."
        command = f"curl -sSI --max-time 10 {url.rstrip('/').removesuffix('/v1')}/health"
        return Finding(check="server", status="problem", summary=str(error), mend=mend, command=command)
    except VllmJinaError as error:
        mend = "Pass --api-key where it wants one, and --model where it is a plain vLLM server; its log says more."
        return Finding(check="server", status="problem", summary=str(error), mend=mend)


def _client(
    url: str,
    model: str | None,
    keywords: dict[str, Any],
    embedders: type[JinaEmbedder],
    rerankers: type[JinaReranker],
) -> JinaEmbedder | JinaReranker:
    """Return what asks this server.

    Raises:
        ConfigError: It refuses the key, or tells nothing and no model was named.
        EngineDeadError: It does not answer.
    """
    try:
        return embedders.from_server(url, **keywords)
    except ConfigError as error:
        with contextlib.suppress(ConfigError):
            return rerankers.from_server(url, **keywords)
        if model is None:
            raise error
    return embedders.from_server(url, model=model, **keywords)  # a plain server tells nothing


def _check_model(url: str, model: str | None, served: Checkpoint | RankingCheckpoint) -> None:
    """Check that a server serves the model that was named, under whatever name.

    Raises:
        ConfigError: It serves another one, or there is no model of this name.
    """
    if model is None:
        return
    wanted = resolve_ranker(model) if is_ranker(model) else resolve(model)
    sizes = [getattr(one, "hidden_size", None) for one in (served, wanted)]
    if served.row != wanted.row or sizes[0] != sizes[1]:
        got = f"{served.name} (row {served.row.name}, {sizes[0]} numbers)"
        raise ConfigError(f"{url} serves {got}; expected {model} (row {wanted.row.name}, {sizes[1]} numbers).")


def _judged(url: str, embedder: JinaEmbedder) -> Finding:
    """Return the finding of a server of vectors: those of the demo are known, of others the form alone."""
    checkpoint, served = embedder.settings.checkpoint, embedder.settings.engine.location
    details: dict[str, Any] = {"model": checkpoint.name, "row": checkpoint.row.name, "served": served}
    if checkpoint.name == DEMO:
        details["distances"] = distances = known.distances(embedder)
        shown = ", ".join(f"{distance:.1g}" for distance in distances)
        if not all(distance <= LIMIT for distance in distances):
            wrong = f"with wrong vectors: 1 - cosine to transformers' is {shown} (at most {LIMIT:g})"
            return _wrong(f"{url} serves {served}, {wrong}.", details)
        summary = f"{url} serves {served}; 1 - cosine to transformers' vectors is {shown}."
        return Finding(check="server", status="ok", summary=summary, details=details)
    texts = [known.QUERY, known.PASSAGE]
    try:
        vectors = list(embedder.embed_queries(texts))
    except ConfigError:  # it gives multi-vectors alone
        vectors = embedder.embed_multi_vector(texts)
    norms = np.concatenate([np.linalg.norm(np.atleast_2d(one).astype(np.float64), axis=1) for one in vectors])
    details["dimensions"] = dimensions = vectors[0].shape[-1]
    if not (np.abs(norms - 1) <= LIMIT).all() or np.array_equal(*vectors):
        wrong = f"two texts got vectors of norms {norms.min():.3g} to {norms.max():.3g}, or the same one"
        return _wrong(f"{url} serves {served}, with wrong vectors: {wrong}.", details)
    summary = f"{url} serves {served}; two texts got vectors of {dimensions} numbers."
    return Finding(check="server", status="ok", summary=summary, details=details)


def _judged_scores(url: str, reranker: JinaReranker) -> Finding:
    """Return the finding of a server of scores."""
    checkpoint, served = reranker.settings.checkpoint, reranker.settings.engine.location
    scores = [float(score) for score in reranker.score(known.PASSAGE, [known.PASSAGE, known.QUERY])]
    details = {"model": checkpoint.name, "row": checkpoint.row.name, "served": served, "scores": scores}
    shown = ", ".join(f"{score:.2g}" for score in scores)
    if not all(0 <= score <= 1 for score in scores):
        return _wrong(f"{url} serves {served}, with wrong scores: {shown} (0 to 1).", details)
    summary = f"{url} serves {served}, a reranker; two texts got the scores {shown}."
    return Finding(check="server", status="ok", summary=summary, details=details)


def _wrong(summary: str, details: dict[str, Any]) -> Finding:
    mend = "Run vllm-jina-embed doctor on the server's machine, and report this."
    return Finding(check="server", status="problem", summary=summary, mend=mend, details=details)
