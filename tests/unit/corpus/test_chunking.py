"""Pieces of a text: the same as the first implementation cuts, in linear time."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from vllm_jina_embed.corpus.chunking import chunks

SYLLABLES = ["a", "bb", "word", "x" * 30, " ", "  ", "\n", "\n\n", "\r\n", "\r", "\t", "\v", "\f"]
SYLLABLES += ["\x1c", "\x1f", "\x85", "\xa0", "\u2028", "\u2029", "\u3000", "\u200b", "\ufeff", "安", "😀"]


LONG = "word " * 100


def test_a_text_is_cut_at_empty_lines_and_knows_its_lines() -> None:
    """Paragraphs are joined while there is room."""
    text = "one\ntwo\n\n\nthree\n\n" + "four " * 3
    assert list(chunks(text, 100)) == [(1, 7, "one\ntwo\n\nthree\n\nfour four four")]
    assert list(chunks(text, 14)) == [(1, 5, "one\ntwo\n\nthree"), (7, 7, "four four four")]


@pytest.mark.parametrize("text", [LONG, LONG.replace(" ", ""), LONG.replace(" ", "\n"), f"{LONG}\n\n{LONG}"])
@pytest.mark.parametrize("most", [7, 33, 10_000])
def test_no_piece_is_too_long_and_no_letter_is_lost(text: str, most: int) -> None:
    found = list(chunks(text, most))
    assert max(len(piece) for *_, piece in found) <= most
    assert "".join("".join(piece.split()) for *_, piece in found) == "".join(text.split())
    assert [first for first, *_ in found] == sorted(first for first, *_ in found)
    for *_, piece in found:
        assert [again for *_, again in chunks(piece, most)] == [piece]


@pytest.mark.parametrize("text", ["", "  \n\t\n"])
def test_nothing_gives_nothing(text: str) -> None:
    assert list(chunks(text)) == []


@pytest.mark.fire
@pytest.mark.parametrize("most", [1, 2, 3, 7, 14, 33, 100, 1200])
def test_pieces_are_those_of_the_first_implementation(most: int) -> None:
    """On random texts of everything that breaks lines or is white space."""
    rng = random.Random(most)
    for _ in range(600):
        weights = [rng.random() ** 3 for _ in SYLLABLES]
        text = "".join(rng.choices(SYLLABLES, weights, k=rng.randrange(80)))
        assert list(chunks(text, most)) == list(_first(text, most)), text


@pytest.mark.wide
@pytest.mark.fire
@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ["x", "word ", " ", "x\n\n"])
def test_a_text_of_24_million_characters_takes_seconds(text: str) -> None:
    """It took minutes on one line: each piece copied the rest."""
    count = 500_000 if text == "x\n\n" else 24_000_000 // len(text)
    letters = sum(len("".join(piece.split())) for *_, piece in chunks(text * count))
    assert letters == count * len(text.strip())


def _first(text: str, most: int) -> Iterator[tuple[int, int, str]]:
    piece: list[tuple[int, str]] = []
    for paragraph in _paragraphs(text, most):
        joined = "\n".join(line for _, line in [*piece, *paragraph])
        if piece and len(joined) + 1 > most:
            yield _joined(piece)
            piece = []
        piece += ([(paragraph[0][0], "")] if piece else []) + paragraph
    if piece:
        yield _joined(piece)


def _paragraphs(text: str, most: int) -> Iterator[list[tuple[int, str]]]:
    run: list[tuple[int, str]] = []
    size = 0
    for number, whole in enumerate(text.splitlines(), 1):
        if not whole.strip() and run:
            yield run
            run, size = [], 0
        for line in _cut(whole.rstrip(), most):
            if run and size + len(line) > most:
                yield run
                run, size = [], 0
            run.append((number, line))
            size += len(line) + 1
    if run:
        yield run


def _cut(line: str, most: int) -> Iterator[str]:
    while len(line) > most:
        at = line.rfind(" ", 1, most + 1)
        at = most if at < 0 else at
        yield line[:at].rstrip()
        line = line[at:].lstrip()
    if line.strip():
        yield line


def _joined(piece: list[tuple[int, str]]) -> tuple[int, int, str]:
    return piece[0][0], piece[-1][0], "\n".join(line for _, line in piece)
