"""Keep a row as a document, with a content and metadata, as the stores of LangChain and LlamaIndex do.

The content is a text, or the image's data URI where the corpus keeps images, with the text in front of it where both
are one item (``inputs.references.both_string``). The text of a page that is kept as an image is its caption.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

from ..inputs.encoding import data_uri
from ..inputs.metadata import CAPTION_KEY, TEXT_KEY
from ..inputs.references import both_parts, both_string, data_uri_payload
from .parquet_parts import Shape
from .stored import Row
from .work import Result

OWN = ("source", "page", "kind", CAPTION_KEY, TEXT_KEY)
"""Keys of the metadata beside the kept columns."""


def document_of(result: Result, shape: Shape) -> tuple[str, dict[str, Any]]:
    """Return the content and the metadata of a row; the metadata is JSON without None."""
    content = result.content
    assert content is not None
    text = content.text if shape.text else ""
    metadata = {"source": result.entry.source, "page": result.entry.page, "kind": result.kind, **content.kept}
    found = text
    if content.file is not None:
        found = data_uri(content.file, _media_type(content.file))
        if text and result.kind == "both":
            metadata[TEXT_KEY] = text
            found = both_string(text, found)
        elif text:
            metadata[CAPTION_KEY] = text
    return found, {name: value for name, kept in metadata.items() if (value := plain(kept)) is not None}


def row_of(
    id_: str, content: str, metadata: Mapping[str, Any], types: Mapping[str, Any], score: float | None = None
) -> Row:
    """Return the row of a document.

    Args:
        id_: Its id.
        content: Of the document.
        metadata: Of the document.
        types: The Arrow types of the kept columns.
        score: Of a search.
    """
    kind = metadata["kind"]
    uri = None
    if kind != "text" and content:
        parts = both_parts(content)
        payload = data_uri_payload(content if parts is None else parts[1])
        uri = None if payload is None else base64.b64decode(payload)
    text = content if uri is None else metadata.get(CAPTION_KEY) or metadata.get(TEXT_KEY) or ""
    return Row(
        id=id_,
        source=metadata["source"],
        page=metadata.get("page"),
        kind=kind,
        text=text,
        image=uri,
        kept={name: typed(metadata.get(name), kind_) for name, kind_ in types.items()},
        score=score,
    )


def types_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Arrow types of a corpus's kept columns."""
    import pyarrow as pa

    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(manifest["schema"])))
    return {name: schema.field(name).type for name in manifest["items"]["keep"] if name not in ("text", "image")}


def plain(value: Any) -> Any:
    """Return a value as JSON has it: dates, decimals and others as texts, bytes in base64, no number as None."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def typed(value: Any, kind: Any) -> Any:
    """Return a value of JSON as what the kept column holds; as it is where that is not known."""
    import pyarrow as pa

    if not isinstance(value, str) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return value
    try:
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return base64.b64decode(value)
        return pa.scalar(value).cast(kind).as_py()
    except (ValueError, pa.ArrowException):
        return value


def _media_type(file: bytes) -> str:
    """Return the media type of a file that ``browser_file`` gave."""
    if file[:3] == b"\xff\xd8\xff":
        return "image/jpeg"
    if file[:4] == b"RIFF":
        return "image/webp"
    return "image/gif" if file[:4] == b"GIF8" else "image/avif" if file[4:8] == b"ftyp" else "image/png"
