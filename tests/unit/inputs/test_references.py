"""Which strings are images: one strict rule, and no string that is nearly one is a text."""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.images import encoded, noise
from vllm_jina_embed.errors import InputError
from vllm_jina_embed.inputs.images import open_image
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.inputs.references import (
    SCHEME,
    Text,
    has_data_scheme,
    image_string,
    is_path,
    looks_like_image,
    media_type,
    strict_image,
)
from vllm_jina_embed.inputs.sources import read

pytestmark = pytest.mark.fire

DATA = encoded(noise(40, 30, seed=4))  # with a slash and a plus in its base64, which the tests below need
BASE64 = base64.b64encode(DATA).decode()
URI = f"data:image/png;base64,{BASE64}"
REFERENCE = f"{SCHEME}a/b%20c.png#{'0f' * 16}"
GIF = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs="

IMAGES = {
    "plain": URI,
    "in capitals": URI.replace("data:image/png;base64", "DATA:IMAGE/PNG;BASE64"),
    "mixed case": URI.replace("data:image/png;base64", "Data:Image/PNG;Base64"),
    "newline first": f"\n{URI}",
    "white space around": f" \t{URI}\r\n ",
    "wrapped as MIME": "data:image/png;base64,\r\n" + base64.encodebytes(DATA).decode().replace("\n", "\r\n"),
    "reference": REFERENCE,
    "reference in white space": f"\n {REFERENCE} ",
}
NEAR = {
    "a charset": URI.replace(";base64", ";charset=utf-8;base64"),
    "a name": URI.replace(";base64", ";name=a.png;base64"),
    "a name in quotes": URI.replace(";base64", ';name="a, b.png";base64'),
    "a name with spaces": URI.replace(";base64", ";name=my file.png;base64"),
    "a parameter behind": URI.replace(";base64", ";base64;charset=utf-8"),
    "capitals and a parameter": URI.replace("data:image/png;base64", "DATA:IMAGE/PNG;CHARSET=UTF-8;BASE64"),
    "newline and a parameter": "\n" + URI.replace(";base64", ";charset=utf-8;base64"),
    "URL-safe": f"data:image/png;base64,{base64.urlsafe_b64encode(DATA).decode()}",
    "percent-encoded base64": urllib.parse.quote(URI, safe=":/;,"),
    "percent-encoded as a whole": urllib.parse.quote(URI, safe=""),
    "through a form": urllib.parse.unquote_plus(URI),
    "a space behind the comma": URI.replace(",", ", "),
    "spaces behind the semicolon": URI.replace(";", "; "),
    "a space behind the colon": URI.replace("data:", "data: "),
    "no comma": URI.replace(",", ""),
    "no semicolon": URI.replace(";", " "),
    "not said to be base64": URI.replace(";base64", ""),
    "base32": URI.replace("base64", "base32"),
    "no subtype": URI.replace("image/png", "image"),
    "another type": URI.replace("image/png", "application/octet-stream"),
    "no type": URI.replace("image/png", ""),
    "a byte order mark": f"\ufeff{URI}",
    "a byte order mark behind": f"{URI}\ufeff",
    "a space of no width": f"\u200b{URI}",
    "a NUL": f"\0{URI}",
    "tabs between": f"{URI[:90]}\t{URI[90:]}",
    "a broken end": f"{URI[:-3]}!!!",
    "padding inside": f"{URI[:50]}={URI[50:]}",
    "the Kelvin sign": "data:image/png;base64,AAA\u212a",
    "words behind": f"{URI} and more",
    "a GIF of one pixel": GIF.replace(";base64", ";name=a;base64"),
    "SVG as it is": "data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg'><g/></svg>",
    "SVG percent-encoded": "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'%3E%3C/svg%3E",
    "double quotes": f'"{URI}"',
    "single quotes": f" '{URI}' \n",
    "backticks": f"`{URI}`",
    "curly quotes": f"\u201c{URI}\u201d",
    "quotes of JSON in JSON": f'\\"{URI}\\",',
    "quotes and a mark in front": f'\ufeff"{URI}"',
    "one quote": f'"{URI}',
    "lines between brackets": f'[\n  "{URI}"\n]',
    "brackets": f"[{URI}]",
    "angle brackets": f"<{URI}>",
    "parentheses": f"({URI}).",
    "Markdown": f"![]({URI})",
    "a list in JSON": f'["{URI}"]',
    "quotes around a parameter": f'"{URI.replace(";base64", ";charset=utf-8;base64")}"',
    "quotes around lines of 76": f'"data:image/png;base64,\n{base64.encodebytes(DATA).decode()}"',
    "reference in quotes": f'"{REFERENCE}"',
    "reference in angle brackets": f"<{REFERENCE}>",
    "reference in Markdown": f"![]({REFERENCE})",
    "reference cut in the scheme": SCHEME[:20],
    "reference cut behind the scheme": SCHEME,
    "reference cut at 30": REFERENCE[:30],
    "reference cut in the hash": REFERENCE[:-1],
    "reference with a longer hash": f"{REFERENCE}0",
    "reference in capitals": REFERENCE.upper(),
    "reference decoded": REFERENCE.replace("%20", " "),
    "reference percent-encoded": urllib.parse.quote(REFERENCE),
    "reference and words": f"{REFERENCE} and more",
    "reference behind a mark": f"\ufeff{REFERENCE}",
}
TEXTS = [
    "data:image/png;base64,AAAA and more",
    "data:image/png is how a data URI begins, usually",
    "data:image/png, then",
    "data:image/png",
    "data:image/png;base64",
    "data:image/* matches",
    "data:image/png;base64, is explained at https://developer.mozilla.org/en-US/docs/Web/URI/Schemes/data",
    "Data: images of cats, see https://example.org/" + "a" * 80,
    "Data: image/jpeg, image/png",
    "data:text/plain;base64,QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB",
    "database, images and so on",
    f"see {URI}",
    f"[{URI}] is an image",
    f'"{URI}" and more',
    f"[chart]({URI})",
    f'<img src="{URI}">',
    f'{{"url": "{URI}"}}',
    f'["{URI}", "{URI}"]',
    '"data:image/png;base64,"+base64.b64encode(open("chart-of-sales.png","rb").read()).decode("ascii")',
    "(data:image/png)",
    "'data:image/png;base64'",
    "[data: images of cats]",
    "<vllm-jina-embed>",
    "(see below)",
    "[]",
    "![](",
    "QkZOX1JFUE9SVF9mb3JfdGhlX3llYXJfMjAyNg==",
    "Qk words that begin like a bitmap, and go on for a while",
    "data:application/octet-stream;base64," + base64.b64encode(b"BMW and other cars of the year 2026, a list").decode(),
    "data:text/plain;base64," + base64.b64encode(b"II. The second chapter of a book, in which").decode(),
    "data:audio/wav;base64," + base64.b64encode(b"RIFF\x24\x08\0\0WAVEfmt \x10\0\0\0" + bytes(24)).decode(),
    "data:video/mp4;base64," + base64.b64encode(b"\0\0\0\x20ftypisom\0\0\2\0" + bytes(24)).decode(),
    f"![chart]({URI})",
    f"see {REFERENCE}",
    "vllm-jina-embed",
    "vllm-jina-embed:latest",
    "vllm-jina-embed:image: is how a reference begins",
    BASE64,
    "",
    " \n",
]


@pytest.mark.parametrize("name", IMAGES)
def test_what_is_an_image(name: str) -> None:
    """White space around it and the case of its beginning aside, nothing else."""
    assert image_string(IMAGES[name]) == strict_image(IMAGES[name]) == IMAGES[name].strip()
    assert looks_like_image(IMAGES[name])


@pytest.mark.parametrize("name", NEAR)
def test_what_is_nearly_an_image_is_an_error_that_says_what_to_write(name: str) -> None:
    """Wherever a string may be an image; it shows the beginning of what was got."""
    with pytest.raises(InputError, match=r"got ['\"].+['\"].*begins like") as caught:
        image_string(NEAR[name])
    advice = "text splitter" if "reference" in name else "expected data:image/png;base64, followed by base64 only"
    assert advice in str(caught.value)
    assert len(str(caught.value)) < 500
    assert strict_image(NEAR[name]) is None
    assert looks_like_image(NEAR[name])
    with pytest.raises(InputError):  # where a string is a path or an image
        read(NEAR[name], MediaPolicy(allow_local_files=False))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a charset", "parameters beside base64"),
        ("URL-safe", "write + for - and / for _"),
        ("percent-encoded base64", "unquote"),
        ("through a form", "decoding a form turns + into a space"),
        ("another type", "its beginning 'data:application/octet-stream;base64' is written otherwise"),
        ("Markdown", "quotes or brackets; leave them out"),
        ("SVG as it is", "render it to PNG"),
        ("a broken end", "characters in it that base64 does not have"),
    ],
)
def test_the_reason_is_named(name: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        image_string(NEAR[name])
    assert reason in str(caught.value)


@pytest.mark.parametrize("mode", ["BMP", "TIFF", "PNG", "JPEG", "GIF", "WEBP", "AVIF"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes])
def test_what_pillow_writes_is_known_by_its_beginning(mode: str, encode: Callable[[bytes], bytes]) -> None:
    """Where the type in a data URI says nothing."""
    payload = encode(encoded(noise(40, 30), mode)).decode()
    assert media_type(payload) == f"image/{mode.lower()}"
    text = f"data:application/octet-stream;base64,{payload}"
    with pytest.raises(InputError, match="begins like the data URI"):
        image_string(text)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"MM\0*\0\0\0\x08" + bytes(24), "image/tiff"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(8), "image/heic"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif" + bytes(8), "image/heic"),
        (b"RIFF\x24\x08\0\0WAVEfmt " + bytes(24), None),
        (b"BM and more of a text that is in no way a bitmap", None),
        (b"\x89PN", None),
        (b"", None),
    ],
)
def test_beginnings_of_files(data: bytes, expected: str | None) -> None:
    """Source: ISO/IEC 14496-12 (ftyp) and 23008-12 (heic, mif1), TIFF 6.0, and the headers of BMP and RIFF."""
    assert media_type(base64.b64encode(data).decode()) == expected


@pytest.mark.parametrize("text", TEXTS)
def test_prose_is_a_text(text: str) -> None:
    """Also where it begins with the same words, or quotes an image's string."""
    assert image_string(text) is None
    assert not looks_like_image(text)


@pytest.mark.parametrize("text", [*IMAGES.values(), *NEAR.values(), *TEXTS])
def test_a_text_that_is_marked_as_one_is_one(text: str) -> None:
    assert image_string(Text(text)) is None


@pytest.mark.parametrize("cut", [25, 60, 61, 62, 63, 200])
def test_a_data_uri_that_a_splitter_cut_says_so(cut: int) -> None:
    """Whether its base64 still decodes or not."""
    with pytest.raises(InputError, match="text splitter"):
        open_image(URI[: cut + 22], MediaPolicy())


@pytest.mark.fire
@pytest.mark.timeout(20)
@pytest.mark.parametrize("unit", ["; ", "%3ba=", ";a=", ' ;a="', "%3b", ";=", "; a= ", "%2c", '="', "%"])
def test_a_short_text_of_many_parameters_takes_no_time(unit: str) -> None:
    """64 characters took eight seconds once, each two more twice as long."""
    for count in (20, 40, 90, 100_000):
        for end in ("", ",", ",AAAA", "!"):
            looks_like_image("data:image/png" + unit * count + end)


def test_what_is_a_path() -> None:
    """Whatever names a file; an image's string and data of another kind do not, and a near miss is an error."""
    assert is_path("a.png")
    assert is_path(Path("a.png"))
    assert not is_path(URI)
    assert not is_path(DATA)
    with pytest.raises(InputError, match="begins like the data URI"):
        is_path(f'"{URI}"')
    assert has_data_scheme("DATA:text/plain,a")
    assert not has_data_scheme("data/a.png")
