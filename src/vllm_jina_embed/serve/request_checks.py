"""Checks around vLLM's engine client: bad requests are refused before the engine, bad vectors are never sent.

vLLM makes one request of each item of a body and numbers them, so errors name the item. The checks wrap ``encode`` of
the client, which every path that computes goes through.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import torch
from vllm.exceptions import VLLMValidationError

from ..checkpoints.checkpoint import Checkpoint
from ..errors import ConfigError
from ..settings import check_dimensions
from .telemetry import count_answer, count_item

MARKERS = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
"""Names of the token ids for images in a config; a text model has none."""


def check_requests(client: Any, checkpoint: Checkpoint | None) -> None:
    """Make vLLM's client raise for prompts that cannot be pooled, other lengths than trained, and vectors not finite.

    The lengths are those of embeddings, and of prompts of a model that was trained with filled ones; a reranker, whose
    ``checkpoint`` is None, has neither.

    Symptom without it: vLLM 0.28 to 0.33 take token ids with any special tokens, and answer NaN as null, as bytes or
    with status 500; and they cut the vectors of any model that is started with ``is_matryoshka``, as ours all are. vLLM
    has no hook there, so ``encode`` of this object is replaced; remove when it has one.
    """
    encode = client.encode
    config = client.vllm_config.model_config.hf_config
    markers = {getattr(config, name): name.removesuffix("_token_id") for name in MARKERS if hasattr(config, name)}

    async def checked(prompt: Any, pooling_params: Any, request_id: str, **others: Any) -> AsyncIterator[Any]:
        where = position_of(request_id)
        if not request_id.isprintable():  # vLLM fails on half of a surrogate pair in it
            raise VLLMValidationError("request_id holds characters that cannot be printed.", parameter="request_id")
        if checkpoint is not None:
            refuse_length(pooling_params, checkpoint)
        if isinstance(prompt, Mapping) and not prompt.get("mm_placeholders"):
            ids = prompt.get("prompt_token_ids") or ()
            refuse_markers(ids, markers, where)
            if checkpoint is not None:
                refuse_unfilled(ids, checkpoint, where)
        count_item(prompt)
        request = encode(prompt=prompt, pooling_params=pooling_params, request_id=request_id, **others)
        async with contextlib.aclosing(request) as outputs:
            async for output in outputs:
                if getattr(output, "error", None) is None:
                    check_numbers(output.outputs.data, where)
                    count_answer(output)
                yield output

    client.encode = checked


def refuse_length(params: Any, checkpoint: Checkpoint) -> None:
    """Raise if an embedding of a length is requested that the model was not trained for, or any of a multi-vector.

    Raises:
        VLLMValidationError: Names the model and what is allowed.
    """
    dimensions = getattr(params, "dimensions", None)
    if dimensions is None:
        return
    if params.task != "embed":  # vLLM would cut the rows of a multi-vector; ours are whole
        raise VLLMValidationError(
            f"dimensions={dimensions}: {checkpoint.name} was trained for one length of a token's vector. Leave it out.",
            parameter="dimensions",
            value=dimensions,
        )
    try:
        check_dimensions(checkpoint, dimensions)
    except ConfigError as error:
        raise VLLMValidationError(str(error), parameter="dimensions", value=dimensions) from None


def refuse_padding(params: Any) -> None:
    """Raise if a request asks for padding, with these ``TokenizeParams`` of vLLM.

    Raises:
        VLLMValidationError: It does.
    """
    if params.pad_prompt_tokens is not None:
        raise VLLMValidationError("the model would read padding with the prompt; leave it out.", parameter="padding")


def refuse_unfilled(ids: Sequence[int], checkpoint: Checkpoint, where: str) -> None:
    """Raise if the prompt of a text is not filled up, and the model was trained with those that are.

    Raises:
        VLLMValidationError: A client's token ids are more or fewer; shows both numbers.
    """
    if checkpoint.row.padding is None or len(ids) == checkpoint.max_length:
        return
    raise VLLMValidationError(
        f"{where}: got {len(ids)} token ids; expected {checkpoint.max_length}: this model was trained with texts that "
        "are filled up, and other prompts have other vectors. Send the string: the server fills it up.",
        parameter="input",
        value=len(ids),
    )


def check_numbers(numbers: torch.Tensor, where: str) -> None:
    """Raise if an answer is not a vector.

    Raises:
        VLLMValidationError: It is empty or not finite.
    """
    if numbers.numel() == 0:
        raise VLLMValidationError(f"{where}: the model returned no numbers for this item; try again.")
    if not bool(torch.isfinite(numbers).all()):
        raise VLLMValidationError(f"{where}: the model's numbers are not finite for this item.")


def position_of(request_id: str) -> str:
    """Return the place of a request in the body, such as ``input[3]``, for errors."""
    match = re.search(r"-(\d+)$", request_id)
    return f"input[{match[1]}]" if match else "input"


def refuse_markers(ids: Sequence[int], markers: Mapping[int, str], where: str) -> None:
    """Raise if a prompt without images holds a token of images.

    Raises:
        VLLMValidationError: A client's token ids open, close or stand for an image; names the first.
    """
    if markers.keys().isdisjoint(ids):
        return
    place, token = next((place, token) for place, token in enumerate(ids) if token in markers)
    raise VLLMValidationError(
        f"{where}: token {place} is {token} ({markers[token]}), which stands for an image, and no image was sent. "
        "Send images as messages with image_url; leave these ids out of texts.",
        parameter="input",
        value=token,
    )
