"""Names and sentences: complete, right in their grammar, and held-out texts are really held out."""

import random

import pytest

from tests.support.phrases_by_hand import phrases_by_hand
from vllm_jina_embed.demo.concepts import COLOURS, CONCEPTS, SCENES, SUNSET, THINGS, colour_and_thing
from vllm_jina_embed.demo.phrases import (
    LANGUAGES,
    new_passages,
    new_queries,
    training_passages,
    training_queries,
    training_text,
)
from vllm_jina_embed.demo.phrases.language import choose, expand
from vllm_jina_embed.demo.phrases.scene_words import SCENE_WORDS


def test_there_are_77_concepts() -> None:
    assert len(set(CONCEPTS)) == len(COLOURS) * len(THINGS) + len(SCENES) == 77


def test_a_name_splits_into_colour_and_thing() -> None:
    assert colour_and_thing("red bar chart") == ("red", "bar chart")
    assert colour_and_thing("desert") is None
    with pytest.raises(ValueError, match="'mauve star'"):
        colour_and_thing("mauve star")


@pytest.mark.wide  # hundreds of thousands of sentences
@pytest.mark.parametrize("code", ["en", "de", "ja", "es", "zh"])
def test_every_concept_has_texts_in_every_language(code: str) -> None:
    language = LANGUAGES[code]
    assert language.code == code
    assert set(language.forms) == set(CONCEPTS)
    for concept in CONCEPTS:
        for texts in (training_queries, training_passages, new_queries, new_passages):
            found = texts(concept, code)
            assert len(found) == len(set(found)) >= 2
            assert not [text for text in found if "{" in text or text != text.strip() or "  " in text]


@pytest.mark.wide  # hundreds of thousands of sentences
@pytest.mark.parametrize("code", list(LANGUAGES))
def test_training_never_sees_a_held_out_text(code: str) -> None:
    trained = {text for c in CONCEPTS for texts in (training_queries, training_passages) for text in texts(c, code)}
    held_out = {text for c in CONCEPTS for texts in (new_queries, new_passages) for text in texts(c, code)}
    assert not trained & held_out


@pytest.mark.wide  # hundreds of thousands of sentences
@pytest.mark.parametrize("code", list(LANGUAGES))
def test_no_text_belongs_to_two_concepts(code: str) -> None:
    for texts in (training_queries, training_passages, new_queries, new_passages):
        every = [text for concept in CONCEPTS for text in texts(concept, code)]
        assert len(every) == len(set(every))


def test_the_two_sentences_of_the_example_are_held_out_queries_about_the_sunset() -> None:
    assert new_queries(SUNSET, "de")[0] == "Ein wunderschöner Sonnenuntergang am Strand"
    assert new_queries(SUNSET, "ja")[0] == "浜辺に沈む美しい夕日"


@pytest.mark.parametrize(
    ("code", "concept", "text"),
    [
        ("en", "orange star", "show me an orange star"),
        ("de", "red circle", "zeig mir einen roten Kreis"),
        ("de", "red square", "wo ist das rote Quadrat?"),
        ("de", "green table", "ich suche eine grüne Tabelle"),
        ("de", "pink star", "wo ist der rosa Stern?"),
        ("de", "city at night", "zeig mir eine Stadt bei Nacht"),
        ("ja", "yellow star", "黄色い星を見せて"),
        ("ja", "pink bar chart", "ピンクの棒グラフはどこですか"),
        ("es", "red star", "¿dónde está la estrella roja?"),
        ("es", "black bar chart", "busco un gráfico de barras negro"),
        ("zh", "blue pie chart", "请给我看一张蓝色的饼图"),
        ("zh", "snowy mountain", "雪山在哪里？"),
    ],
)
def test_queries_agree_in_gender_case_and_measure_word(code: str, concept: str, text: str) -> None:
    assert text in new_queries(concept, code)


def test_sentences_start_with_a_capital() -> None:
    assert "Das rote Quadrat ist auf dieser Seite." in training_passages("red square", "de")
    assert "La estrella roja está en esta página." in training_passages("red star", "es")


@pytest.mark.parametrize(
    ("concept", "text"),
    [
        ("red circle", "mit einem roten Kreis"),
        ("red circle", "mit zwei roten Kreisen"),
        ("red circle", "ich suche drei rote Kreise"),
        ("red square", "das Foto mit dem roten Quadrat"),
        ("green table", "auf welcher Seite sieht man eine grüne Tabelle"),
        ("purple star", "zwei lila Sterne"),
        ("yellow pie chart", "ein Kuchendiagramm in Gelb"),
        ("black bar chart", "die schwarzen Balkendiagramme"),
        ("city at night", "mit leuchtenden Fenstern"),
    ],
)
def test_german_names_agree_in_case_and_number(concept: str, text: str) -> None:
    names = {name for forms in LANGUAGES["de"].forms[concept] for name in forms.values()}
    assert any(text.endswith(name) or name.endswith(text) for name in names)
    assert not {name for name in names if "  " in name or name != name.strip()}


def test_a_choice_stands_for_every_alternative() -> None:
    sentence = "[find|show us] {a}[|?]"
    every = list(expand(sentence))
    assert every == ["find {a}", "find {a}?", "show us {a}", "show us {a}?"]
    rng = random.Random(0)
    assert {choose(rng, sentence) for _ in range(100)} == set(every)


@pytest.mark.parametrize("code", list(LANGUAGES))
def test_a_text_to_train_on_is_one_of_all(code: str) -> None:
    rng = random.Random(1)
    for concept in rng.sample(CONCEPTS, 8):
        for query, texts in ((True, training_queries), (False, training_passages)):
            every = set(texts(concept, code))
            assert {training_text(rng, concept, code, query=query) for _ in range(50)} <= every


@pytest.mark.parametrize("code", list(LANGUAGES))
def test_a_word_brings_no_two_scenes_to_mind(code: str) -> None:
    words = [word for scene in SCENES for word in SCENE_WORDS[code][scene]]
    assert set(SCENE_WORDS[code]) == set(SCENES)
    assert len(words) == len(set(words))


@pytest.mark.wide  # hundreds of thousands of sentences
@pytest.mark.parametrize("code", list(LANGUAGES))
def test_training_never_sees_40_of_the_phrases_by_hand(code: str) -> None:
    phrases = phrases_by_hand(code)
    trained = {
        text.lower()
        for concept in {concept for _, concept in phrases}
        for texts in (training_queries, training_passages)
        for text in texts(concept, code)
    }
    assert len([phrase for phrase, _ in phrases if phrase.lower() not in trained]) >= 40
