"""Arguments for Qdrant's client: a collection with two named vectors, its points, and the query in two stages."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._arrays import Floats
from ..errors import ConfigError
from ..inputs import items as inputs
from .batches import check_id
from .collection import EMBEDDING, METADATA_KEY, MULTI_VECTOR, Question, differences
from .storage import Storage

if TYPE_CHECKING:
    from qdrant_client import models

ID_KEY = "_vllm_jina_embed_id"
"""Payload key of the caller's id; Qdrant's own ids are UUIDs or numbers."""
_NAMESPACE = uuid.UUID("6f0b7e0a-3a52-5d0c-9f0e-0d7a1c5b8e21")


def creation(name: str, *, facts: Mapping[str, Any], storage: Storage) -> dict[str, Any]:
    """Return the arguments of ``create_collection``.

    Args:
        name: Name of the collection.
        facts: Settings that the vectors are made with; ``dimensions`` and ``token_dimensions`` are their lengths.
        storage: How the vectors are stored.
    """
    from qdrant_client import models

    options: dict[str, Any] = {
        "datatype": models.Datatype(storage.datatype),
        "on_disk": storage.on_disk,
        "quantization_config": _quantization(storage),
    }
    return {
        "collection_name": name,
        "vectors_config": {
            EMBEDDING: models.VectorParams(size=facts["dimensions"], distance=models.Distance.COSINE, **options),
            MULTI_VECTOR: models.VectorParams(
                size=facts["token_dimensions"],
                distance=models.Distance.DOT,  # the rows have norm 1
                multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
                hnsw_config=models.HnswConfigDiff(m=0),  # it only ranks candidates and needs no graph
                **options,
            ),
        },
        "metadata": {METADATA_KEY: dict(facts)},
    }


def check(name: str, info: models.CollectionInfo, facts: Mapping[str, Any]) -> None:
    """Check that an existing collection was created for the same vectors.

    Raises:
        ConfigError: It was created with other settings; names those that differ.
    """
    vectors = info.config.params.vectors
    sizes = {"dimensions": EMBEDDING, "token_dimensions": MULTI_VECTOR}
    if not isinstance(vectors, Mapping) or any(vector not in vectors for vector in sizes.values()):
        raise ConfigError(f"collection {name!r} exists, and another program created it. Choose another name.")
    metadata = (info.config.metadata or {}).get(METADATA_KEY)  # older servers store no metadata
    stored = metadata or {key: vectors[vector].size for key, vector in sizes.items()}
    if others := differences(facts, stored):
        raise ConfigError(
            f"collection {name!r} exists and was created with {others}. "
            "Choose another name, or pass the settings that it was created with."
        )


def point_id(name: str) -> str:
    """Return the id of an item's point: a UUID stays as it is, any other id gives a UUID of its own."""
    try:
        return str(uuid.UUID(name))
    except ValueError:
        return str(uuid.uuid5(_NAMESPACE, name))


def points(
    ids: Sequence[str], payloads: Sequence[Mapping[str, Any]], embeddings: Sequence[Floats], rows: Sequence[Floats]
) -> list[models.PointStruct]:
    """Return one point per item."""
    from qdrant_client import models

    return [
        models.PointStruct(
            id=point_id(name),
            payload={**payload, ID_KEY: name},
            vector={EMBEDDING: embedding.tolist(), MULTI_VECTOR: multi.tolist()},
        )
        for name, payload, embedding, multi in zip(ids, payloads, embeddings, rows, strict=True)
    ]


def query(name: str, question: Question, *, storage: Storage) -> dict[str, Any]:
    """Return the arguments of ``query_points``: both stages in one call; Qdrant hands the filter to both.

    With both, each hit comes with its stored embedding, whose score the answer does not have.
    """
    from qdrant_client import models

    params = None
    if storage.quantization is not None:
        quantization = models.QuantizationSearchParams(rescore=True, oversampling=storage.oversampling)
        params = models.SearchParams(quantization=quantization)
    found: dict[str, Any] = {
        "collection_name": name,
        "limit": question.count,
        "query_filter": question.only,
        "search_params": params,
        "with_payload": True,
    }
    if question.multi_vector is None:
        assert question.embedding is not None
        return {**found, "query": question.embedding.tolist(), "using": EMBEDDING}
    found |= {"query": question.multi_vector.tolist(), "using": MULTI_VECTOR}
    if question.embedding is None:
        return found
    prefetch = models.Prefetch(
        query=question.embedding.tolist(), using=EMBEDDING, limit=question.candidates, params=params
    )
    return {**found, "prefetch": prefetch, "with_vectors": [EMBEDDING]}


def selector(ids: Iterable[str] | None, only: models.Filter | None) -> models.PointIdsList | models.FilterSelector:
    """Return the selector for ``delete``.

    Raises:
        ConfigError: Neither or both are passed.
        InputError: ``ids`` is not a list (a single string is not), or one of the ids is not a string.
    """
    from qdrant_client import models

    if ids is not None and only is None:
        names: list[Any] = list(inputs.listed(ids, "ids"))
        for name in names:
            check_id(name)
        return models.PointIdsList(points=[point_id(name) for name in names])
    if only is not None and ids is None:
        return models.FilterSelector(filter=only)
    raise ConfigError("delete takes ids or filter=...; pass exactly one of them.")


def having(key: str, value: str) -> models.Filter:
    """Return a filter for payloads whose ``key`` is ``value``."""
    from qdrant_client import models

    return models.Filter(must=[models.FieldCondition(key=key, match=models.MatchValue(value=value))])


def _quantization(storage: Storage) -> Any:
    from qdrant_client import models

    if storage.quantization == "scalar":
        return models.ScalarQuantization(
            scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
        )
    if storage.quantization == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
    return None
