"""Bodies that a stranger may send to a served engine, each on a path that computes or reads."""

from __future__ import annotations

import base64
import itertools
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.builders import SpecialIds
from tests.support.images import encoded, noise
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4

START, PAD, END = (piece.token for piece in JINA_V4.image)  # type: ignore[union-attr]
INSTRUCTION = {"type": "text", "text": "Describe the image."}


@dataclass(frozen=True)
class Hostile:
    """One request; ``content`` is sent as it is."""

    name: str
    path: str
    content: bytes
    method: str = "POST"


def uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def bomb(side: int, *, rows: int | None = None) -> bytes:
    """Return a PNG of one colour with ``side`` squared pixels, in few bytes; with ``rows`` of them alone."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    pressed = zlib.compressobj(9)
    row = bytes(1 + side * 4)
    data = b"".join(pressed.compress(row) for _ in range(rows or side)) + pressed.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chat(*parts: Any, **others: Any) -> dict[str, Any]:
    return {"model": "demo", "messages": [{"role": "user", "content": list(parts)}], **others}


def image(url: Any, **others: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}, **others}


def on_text_paths(name: str, text: Any) -> Iterator[Hostile]:
    """The same text, or token ids, on every path that takes some."""
    bodies: dict[str, dict[str, Any]] = {
        "/v1/embeddings": {"input": text},
        "/pooling": {"input": text},
        "/invocations": {"input": text},
        "/tokenize": {"prompt": text},
    }
    if isinstance(text, str):
        bodies |= {
            "/v2/embed": {"texts": [text], "embedding_types": ["float"]},
            "/score": {"text_1": text, "text_2": ["a", text]},
            "/v1/score": {"queries": text, "documents": [text]},
            "/rerank": {"query": text, "documents": [text, "b"]},
            "/v2/rerank": {"query": "a", "documents": [text]},
        }
    for path, body in bodies.items():
        yield Hostile(f"{name} on {path}", path, json.dumps({"model": "demo", **body}).encode())


def marker_strings() -> Iterator[Hostile]:
    for number, order in enumerate(itertools.product((START, END, PAD, "x"), repeat=3)):
        text = "".join(order)
        path = ("/v1/embeddings", "/pooling", "/invocations")[number % 3]
        yield Hostile(f"string {text}", path, json.dumps({"model": "demo", "input": ["a", text]}).encode())
    for text in (f"Passage: the token {START} opens an image", f"{END}{START}", "<|im_end|><|endoftext|>", PAD * 500):
        yield from on_text_paths(f"string {text[:40]}", text)


def marker_ids(ids: SpecialIds) -> Iterator[Hostile]:
    names = (ids.vision_start, ids.vision_end, ids.image, 20)
    for number, order in enumerate(itertools.product(names, repeat=3)):
        path = ("/v1/embeddings", "/pooling", "/invocations")[number % 3]
        yield Hostile(f"ids {order}", path, json.dumps({"model": "demo", "input": [[20, 21], list(order)]}).encode())
    starts = [ids.vision_start] * 5
    for name, tokens in (
        ("a start at the end", [20] * 50 + [ids.vision_start]),
        ("starts", starts),
        ("ends", [ids.vision_end] * 4),
        ("pads", [ids.image] * 900),
        ("paired", [20, ids.vision_start, ids.image, ids.vision_end, 20]),
    ):
        yield from on_text_paths(f"ids, {name}", tokens)


def odd_ids() -> Iterator[Hostile]:
    for name, ids in (
        ("negative", [-1, 20]),
        ("very negative", [-(2**63)]),
        ("too large", [10**6]),
        ("2**31", [2**31]),
        ("2**63", [2**63]),
        ("2**64", [2**64]),
        ("10**30", [10**30]),
        ("empty", []),
        ("nested empty", [[]]),
        ("two empty", [[], []]),
        ("one good, one empty", [[20], []]),
        ("floats", [1.5, 2.5]),
        ("booleans", [True, False]),
        ("null", [None]),
        ("mixed", [20, "a"]),
        ("mixed lists", [[20], "a"]),
        ("deep", [[[20]]]),
        ("long", [20] * 40000),
    ):
        yield from on_text_paths(f"ids, {name}", ids)


def odd_texts() -> Iterator[Hostile]:
    for name, text in (
        ("empty", ""),
        ("space", " "),
        ("NUL", "\0"),
        ("half a pair", "\ud800"),
        ("lone low", "a\udfffb"),
        ("2 million spaces", " " * 2_000_000),
        ("one word of 300,000", "w" * 300_000),
        ("words", "word " * 60_000),
        ("combining", "e" + "\u0301" * 5000),
        ("bidi", "\u202e\u2066" * 100),
    ):
        yield from on_text_paths(f"text, {name}", text)


def odd_options() -> Iterator[Hostile]:
    options: dict[str, list[Any]] = {
        "dimensions": [0, -1, -(2**63), 7, 10**6, 2**63, 1.5, "64", None, [64], True],
        "priority": [2**63 - 1, -(2**63), 2**63, 10**30, "x", 1.5, -1],
        "encoding_format": ["float", "base64", "bytes", "bytes_only", "other", "", 1, None],
        "embed_dtype": ["float32", "float16", "bfloat16", "fp8_e4m3", "int8", "binary", "x"],
        "endianness": ["little", "big", "native", "x"],
        "truncate_prompt_tokens": [0, -1, -2, 1, 10**6, 2**63, "x"],
        "truncation_side": ["left", "right", "x"],
        "padding": ["max_length", "do_not_pad", "x"],
        "add_special_tokens": [False, "x"],
        "use_activation": [False, "x"],
        "normalize": [False],
        "task": ["embed", "token_embed", "classify", "score", "plugin", "x", 1],
        "mm_processor_kwargs": [{"size": {"longest_edge": 1}}, {"x": 1}, [], "x"],
        "media_io_kwargs": [{"image": {"image_mode": None}}, {"video": {"num_frames": 10**9}}, "x"],
        "request_id": ["", "x" * 10000, "a\ud800", "../../x", "same"],
        "cache_salt": ["", "x", "x" * 5000, 1],
        "model": ["other", "", None, 1, "\ud800", ["demo"], "../demo"],
        "user": ["\ud800", 1],
        "extra_kwargs": [{"jina_task": "nonsense"}, {"jina_task": ["x"]}],
        "lora_request": [{"name": "x"}],
        "prompt_embeds": ["AAAA"],
        "input": [
            None,
            1,
            {},
            {"prompt_token_ids": [20]},
            {"prompt": "a", "multi_modal_data": {"image": "x"}},
            [{}],
            [None],
        ],
    }
    for number, (name, values) in enumerate(options.items()):
        for place, value in enumerate(values):
            path = ("/v1/embeddings", "/pooling", "/invocations")[(number + place) % 3]
            body = json.dumps({"model": "demo", "input": ["a", "b"], name: value}).encode()
            yield Hostile(f"{name}={str(value)[:30]!r} on {path}", path, body)
    for name, body in (
        ("texts and images", {"texts": ["a"], "images": [uri(encoded(noise(30, 30)))]}),
        ("no texts", {"texts": []}),
        ("a bad kind", {"texts": ["a"], "embedding_types": ["x"]}),
        ("int8", {"texts": ["a"], "embedding_types": ["int8", "ubinary", "binary", "float", "base64"]}),
        ("an image", {"images": [uri(encoded(noise(30, 30)))]}),
        ("a URL", {"images": ["http://127.0.0.1:9/a.png"]}),
        ("inputs", {"inputs": [{"content": [{"type": "text", "text": START}]}]}),
        ("truncate", {"texts": ["a" * 9999], "truncate": "x"}),
        ("max_tokens", {"texts": ["a"], "max_tokens": -1}),
        ("dimension", {"texts": ["a"], "output_dimension": 0}),
        ("a bad type", {"texts": ["a"], "input_type": START}),
    ):
        yield Hostile(
            f"cohere, {name}", "/v2/embed", json.dumps({"model": "demo", "input_type": "query", **body}).encode()
        )
    for path in ("/score", "/rerank"):
        for name, body in (
            ("nothing", {}),
            ("no documents", {"query": "a", "documents": []}),
            ("no texts", {"text_1": [], "text_2": []}),
            ("unequal", {"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}),
            ("top_n", {"query": "a", "documents": ["b"], "top_n": -5}),
            ("numbers", {"text_1": 1, "text_2": 2}),
            ("nulls", {"query": None, "documents": [None]}),
            ("an image", {"text_1": "a", "text_2": {"content": [image(uri(encoded(noise(30, 30))))]}}),
            ("a URL", {"query": "a", "documents": {"content": [image("http://127.0.0.1:9/a.png")]}}),
        ):
            yield Hostile(f"{path}, {name}", path, json.dumps({"model": "demo", **body}).encode())


def odd_json() -> Iterator[Hostile]:
    good = '{"model": "demo", "input": '
    for path in ("/v1/embeddings", "/pooling", "/invocations", "/tokenize", "/v2/embed", "/score", "/rerank"):
        for name, content in (
            ("empty", b""),
            ("no JSON", b"{"),
            ("a list", b"[]"),
            ("a string", b'"a"'),
            ("null", b"null"),
            ("deep lists", b"[" * 200_000),
            ("closed deep lists", b"[" * 990 + b"]" * 990),
            ("not UTF-8", b'{"input": "\xff\xfe"}'),
            ("input NaN", (good + "NaN}").encode()),
            ("deep input", (good + "[" * 50_000 + "]" * 50_000 + "}").encode()),
            ("deep objects", b'{"a":' * 100_000),
            ("list of NaN", (good + "[NaN, Infinity, 1e400]}").encode()),
            ("digits", (good + "[" + "9" * 5000 + "]}").encode()),
            ("gzip", zlib.compress(b"a" * 1000)),
        ):
            yield Hostile(f"JSON, {name} on {path}", path, content)
    for name, content in (
        ("NaN dimensions", (good + '"a", "dimensions": NaN}').encode()),
        ("infinite priority", (good + '"a", "priority": Infinity}').encode()),
        ("twice the key", b'{"model": "demo", "input": "a", "input": "<|vision_start|>"}'),
        ("many keys", json.dumps({"model": "demo", "input": "a", **{f"k{n}": n for n in range(50_000)}}).encode()),
        ("8 MB", json.dumps({"model": "demo", "input": "a", "user": "x" * 8_000_000}).encode()),
        ("20,000 empty texts", json.dumps({"model": "demo", "input": [""] * 20_000}).encode()),
        ("a list in a list", json.dumps({"model": "demo", "input": [[["a"]]]}).encode()),
    ):
        yield Hostile(f"JSON, {name}", "/v1/embeddings", content)


def chats() -> Iterator[Hostile]:
    small = uri(encoded(noise(30, 30)))
    text = {"type": "text", "text": "a"}
    bodies: dict[str, Any] = {
        "markers": chat({"type": "text", "text": f"{START}x"}),
        "markers beside an image": chat(image(small), {"type": "text", "text": START}),
        "markers in a string": {"messages": [{"role": "user", "content": f"{END}{START}{PAD}"}]},
        "another text": chat(image(small), {"type": "text", "text": "What is it?"}),
        "nothing": {"messages": []},
        "no content": {"messages": [{"role": "user"}]},
        "null content": {"messages": [{"role": "user", "content": None}]},
        "a number": {"messages": [{"role": "user", "content": 1}]},
        "a system message": {"messages": [{"role": "system", "content": "a"}]},
        "two messages": {"messages": [{"role": "user", "content": "a"}] * 2},
        "a tool": {"messages": [{"role": "tool", "content": "a", "tool_call_id": "x"}]},
        "an unknown part": chat({"type": "x", "x": 1}),
        "a part without type": chat({"text": "a"}),
        "an empty part": chat({}),
        "a part that is null": chat(None),
        "no url": chat({"type": "image_url", "image_url": {}}),
        "a url that is null": chat(image(None)),
        "a url that is a number": chat(image(5)),
        "a uuid alone": chat({"type": "image_url", "image_url": None, "uuid": "x"}),
        "an empty url": chat(image("")),
        "a relative url": chat(image("a.png")),
        "no base64": chat(image("data:image/png;base64,%%%")),
        "no image": chat(image(uri(b"no image"))),
        "half an image": chat(image(small[:200])),
        "percent": chat(image("data:image/png,%89PNG")),
        "a bomb": chat(image(uri(bomb(11_000)))),
        "a large EPS": chat(image(uri(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "image/eps"))),
        "side ratio": chat(image(uri(encoded(noise(2300, 10))))),
        "30 images": chat(*[image(small)] * 30),
        "image_embeds": chat({"type": "image_embeds", "image_embeds": "AAAA"}),
        "prompt_embeds": chat({"type": "prompt_embeds", "data": "AAAA"}),
        "a template": chat(text, chat_template="{{ messages }}"),
        "a template in kwargs": chat(text, chat_template_kwargs={"chat_template": "x"}),
        "tokenize": chat({"type": "text", "text": START}, chat_template_kwargs={"tokenize": True}),
        "return_dict": chat(text, chat_template_kwargs={"return_dict": True, "return_tensors": "pt"}),
        "generation prompt": chat(text, add_generation_prompt=True, continue_final_message=True),
        "continue": chat(text, continue_final_message=True),
        "truncated image": chat(image(small), INSTRUCTION, truncate_prompt_tokens=3),
        "truncated left": chat(image(small), INSTRUCTION, truncate_prompt_tokens=6, truncation_side="left"),
        "padded": chat(image(small), INSTRUCTION, padding="max_length"),
        "bounds": chat(image(small), INSTRUCTION, mm_processor_kwargs={"size": {"longest_edge": 10}}),
        "io": chat(image(small), INSTRUCTION, media_io_kwargs={"image": {"rgba_background_color": [0, 0]}}),
        "dimensions": chat(image(small), INSTRUCTION, dimensions=-3),
    }
    for kind in ("image_url", "video_url", "audio_url"):
        for url in (
            "http://127.0.0.1:9/a",
            "file:///etc/passwd",
            "ftp://127.0.0.1/a",
            "data:;base64,AAAA",
            "//x/y",
            "http://[",
        ):
            bodies[f"{kind} {url}"] = chat({"type": kind, kind: {"url": url}})
    bodies["input_audio"] = chat({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}})
    for number, (name, body) in enumerate(bodies.items()):
        path = ("/v1/embeddings", "/pooling", "/invocations", "/tokenize")[number % 4 if "image" not in name else 0]
        yield Hostile(f"chat, {name} on {path}", path, json.dumps({"model": "demo", **body}).encode())


def other_paths() -> Iterator[Hostile]:
    body = json.dumps(
        {"model": "demo", "input": START, "prompt": START, "messages": [{"role": "user", "content": START}]}
    )
    for path in (
        "/classify",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/detokenize",
        "/v1/messages",
        "/inference/v1/generate",
        "/load_lora_adapter",
        "/v1/load_lora_adapter",
        "/reset_prefix_cache",
        "/sleep",
        "/collective_rpc",
        "/scale_elastic_ep",
        "/abort_requests",
        "/v1/audio/transcriptions",
        "/jina/checkpoint",
        "/start_profile",
        "/render",
        "/v1/decisions",
        "/v1/systemone",
        "/v1/rerank",
        "//v1/embeddings",
        "/v1/embeddings/",
        "/V1/embeddings",
    ):
        yield Hostile(f"{path} with markers", path, body.encode())
    for method in ("GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "X"):
        yield Hostile(f"{method} /v1/embeddings", "/v1/embeddings", b"", method)
    for tokens in ([-1], [10**9], [2**70], ["a"], None):
        yield Hostile(f"detokenize {tokens}", "/detokenize", json.dumps({"model": "demo", "tokens": tokens}).encode())


def embed_bodies(ids: SpecialIds) -> Iterator[Hostile]:
    """Bodies of ``/v2/embed``, which our server reads by itself."""
    small, path = uri(encoded(noise(30, 30))), "/v2/embed"
    block = {"type": "image_url", "image_url": {"url": small}}
    text = {"type": "text", "text": "a"}
    bodies: dict[str, dict[str, Any]] = {
        "markers in a block": {"inputs": [{"content": [{"type": "text", "text": f"{START}{PAD}{END}"}]}]},
        "markers beside an image": {"inputs": [{"content": [block, {"type": "text", "text": START}]}]},
        "a text beside an image": {"inputs": [{"content": [block, text]}]},
        "no blocks": {"inputs": [{"content": []}]},
        "null blocks": {"inputs": [{"content": None}]},
        "a string of blocks": {"inputs": [{"content": "a"}]},
        "an input of null": {"inputs": [None]},
        "an input of strings": {"inputs": ["a"]},
        "a block of null": {"inputs": [{"content": [None]}]},
        "a block without type": {"inputs": [{"content": [{"text": "a"}]}]},
        "a block without text": {"inputs": [{"content": [{"type": "text"}]}]},
        "a type of a list": {"inputs": [{"content": [{"type": ["text"], "text": "a"}]}]},
        "an image_url of a string": {"inputs": [{"content": [{"type": "image_url", "image_url": small}]}]},
        "an image_url of null": {"inputs": [{"content": [{"type": "image_url", "image_url": {"url": None}}]}]},
        "30 images in one": {"inputs": [{"content": [block] * 30}]},
        "images of null": {"images": [None]},
        "images of lists": {"images": [[small]]},
        "an empty image": {"images": [""]},
        "half an image": {"images": [small[:200]]},
        "percent": {"images": ["data:image/png,%89PNG"]},
        "a bomb": {"images": [uri(bomb(11_000))]},
        "a ratio": {"images": [uri(encoded(noise(2300, 10)))]},
        "a file": {"images": ["file:///etc/passwd"]},
        "a path": {"images": ["/etc/passwd"]},
        "a host": {"images": ["http://["]},
        "a reference": {"images": ["vllm-jina-embed:image:a.png#" + "0" * 32]},
        "200 images": {"images": [small] * 200},
        "texts of null": {"texts": [None]},
        "texts of ids": {"texts": [[ids.vision_start]]},
        "a text": {"texts": "a"},
        "an empty text": {"texts": [""]},
        "white space": {"texts": [" \n "]},
        "half a surrogate pair": {"texts": ["a", "\ud800"]},
        "a null character": {"texts": ["a\0b"]},
        "a long text": {"texts": ["x " * 500_000], "truncate": "NONE"},
        "a long text, cut": {"texts": ["x " * 500_000], "truncate": "START"},
        "white space, cut": {"texts": [" " * 3_000_000 + "x"], "truncate": "START"},
        "many texts": {"texts": ["a"] * 2000},
        "an object of texts": {"texts": {"0": "a"}},
        "everything": {"texts": ["a"], "images": [small], "inputs": [{"content": [text]}]},
        "nothing": {},
        "no input_type": {"texts": ["a"], "input_type": None},
        "an input_type of a list": {"texts": ["a"], "input_type": ["query"]},
        "an input_type of an object": {"texts": ["a"], "input_type": {"query": 1}},
        "a long input_type": {"texts": ["a"], "input_type": "x" * 100_000},
        "a long model": {"texts": ["a"], "model": "x" * 100_000},
        "a model of a list": {"texts": ["a"], "model": ["demo"]},
        "a surrogate model": {"texts": ["a"], "model": "\ud800"},
        "a surrogate type": {"texts": ["a"], "input_type": "\ud800"},
        "a size of true": {"texts": ["a"], "output_dimension": True},
        "a size of a float": {"texts": ["a"], "output_dimension": 64.0},
        "a large size": {"texts": ["a"], "output_dimension": 2**80},
        "a negative size": {"texts": ["a"], "output_dimension": -1},
        "types of null": {"texts": ["a"], "embedding_types": [None]},
        "no types": {"texts": ["a"], "embedding_types": []},
        "types of lists": {"texts": ["a"], "embedding_types": [["float"]]},
        "a string of types": {"texts": ["a"], "embedding_types": "float"},
        "many types": {"texts": ["a"], "embedding_types": ["int8"] * 10_000},
        "truncate of a list": {"texts": ["a"], "truncate": ["END"]},
        "truncate in small letters": {"texts": ["a"], "truncate": "end"},
        "max_tokens 0": {"texts": ["a"], "max_tokens": 0},
        "max_tokens 1": {"texts": ["a"], "max_tokens": 1},
        "max_tokens 2**70": {"texts": ["a"], "max_tokens": 2**70},
        "priority 2**70": {"texts": ["a"], "priority": 2**70},
        "priority": {"texts": ["a"], "priority": -(2**63)},
        "a priority of a string": {"texts": ["a"], "priority": "0"},
        "unknown fields": {"texts": ["a"], "\ud800": 1, "x": {}},
        "a template": {"texts": ["a"], "chat_template_kwargs": {"jina_prompt": {"token_ids": [1]}}},
    }
    for name, body in bodies.items():
        content = json.dumps({"model": "demo", "input_type": "query", **body}).encode()
        yield Hostile(f"embed, {name}", path, content)
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        yield Hostile(f"{method} {path}", path, b"", method)


def chosen_prompts(ids: SpecialIds) -> Iterator[Hostile]:
    """What a request may say of its prompt, in the way of our own clients, and by an input type."""
    small = image(uri(encoded(noise(30, 30))))
    place = [ids.vision_start, ids.image, ids.vision_end]
    choices: dict[str, Any] = {
        "no place": {"token_ids": [20, 21]},
        "two places": {"token_ids": [*place, *place]},
        "a place and a start": {"token_ids": [*place, ids.vision_start]},
        "a place and pads": {"token_ids": [*place, *[ids.image] * 9]},
        "the end first": {"token_ids": place[::-1]},
        "no ids": {"token_ids": []},
        "null": {"token_ids": None},
        "a string": {"token_ids": "a"},
        "negative": {"token_ids": [*place, -1]},
        "too large": {"token_ids": [*place, 10**6]},
        "2**70": {"token_ids": [*place, 2**70]},
        "floats": {"token_ids": [*place, 1.5]},
        "booleans": {"token_ids": [*place, True]},
        "lists": {"token_ids": [place]},
        "long": {"token_ids": [*place, *[20] * 200_000]},
        "a role": {"role": "x"},
        "a role of a list": {"role": ["query"]},
        "a task": {"role": "query", "task": "x"},
        "a task of a list": {"role": "query", "task": ["retrieval"]},
        "both": {"role": "query", "token_ids": place},
        "a number": 5,
        "a list": [],
        "nothing": {},
    }
    for number, (name, choice) in enumerate(choices.items()):
        kwargs = {"chat_template_kwargs": {"jina_prompt": choice}}
        for path in ("/v1/embeddings", ("/pooling", "/invocations", "/tokenize")[number % 3]):
            yield Hostile(f"choice, {name} on {path}", path, json.dumps(chat(small, **kwargs)).encode())
        body = {"model": "demo", "input": ["a"], **kwargs}
        yield Hostile(f"choice, {name} of a string", "/v1/embeddings", json.dumps(body).encode())
    for path in ("/v1/embeddings", "/pooling", "/invocations"):
        for value in ("x", 5, ["query"], {}, "\ud800", "code.query"):
            body = {"model": "demo", "input": ["a"], "input_type": value}
            yield Hostile(f"input_type {value!r:.20} on {path}", path, json.dumps(body).encode())
        for content in ([20, 21], [[20, 21]]):
            body = {"model": "demo", "input": content, "input_type": "query"}
            yield Hostile(f"input_type of ids on {path}", path, json.dumps(body).encode())
        for kwargs in (5, [], "x"):
            body = {"model": "demo", "input": ["a"], "input_type": "query", "chat_template_kwargs": kwargs}
            yield Hostile(f"kwargs {kwargs} on {path}", path, json.dumps(body).encode())


def hostile_bodies(ids: SpecialIds) -> list[Hostile]:
    """Return all of them."""
    parts = (
        marker_strings(),
        marker_ids(ids),
        odd_ids(),
        odd_texts(),
        odd_options(),
        odd_json(),
        chats(),
        other_paths(),
        embed_bodies(ids),
        chosen_prompts(ids),
    )
    return list(itertools.chain(*parts))
