"""German names and sentences, with gender, case and number."""

from typing import Final

from vllm_jina_embed.demo.phrases.german_names import COLOURS, NOUNS, SCENES, THINGS, UNINFLECTED, Noun
from vllm_jina_embed.demo.phrases.language import Forms, Language
from vllm_jina_embed.demo.phrases.neutral_words import NEUTRAL_WORDS

# Form -> (article, adjective ending) by gender.
_SINGULAR: Final = {
    "m": {
        "bare": ("", "er"),
        "ein": ("ein", "er"),
        "einen": ("einen", "en"),
        "einem": ("einem", "en"),
        "der": ("der", "e"),
        "den": ("den", "en"),
        "dem": ("dem", "en"),
        "ihn": ("", "en"),
        "dieser": ("dieser", "e"),
        "kein": ("kein", "er"),
    },
    "n": {
        "bare": ("", "es"),
        "ein": ("ein", "es"),
        "einen": ("ein", "es"),
        "einem": ("einem", "en"),
        "der": ("das", "e"),
        "den": ("das", "e"),
        "dem": ("dem", "en"),
        "ihn": ("", "es"),
        "dieser": ("dieses", "e"),
        "kein": ("kein", "es"),
    },
    "f": {
        "bare": ("", "e"),
        "ein": ("eine", "e"),
        "einen": ("eine", "e"),
        "einem": ("einer", "en"),
        "der": ("die", "e"),
        "den": ("die", "e"),
        "dem": ("der", "en"),
        "ihn": ("", "e"),
        "dieser": ("diese", "e"),
        "kein": ("keine", "e"),
    },
}
_PLURAL: Final = {"viele": ("", "e"), "vielen": ("", "en"), "die": ("die", "en"), "den_vielen": ("den", "en")}


def _inflect(stem: str, ending: str) -> str:
    return stem if stem in UNINFLECTED else stem + ending


def _forms(stems: tuple[str, ...], noun: Noun, tail: str = "") -> Forms:
    gender, own, singular, plural, follows = noun

    def form(article: str, ending: str, name: str) -> str:
        adjectives = [_inflect(stem, ending) for stem in (*stems, own) if stem]
        return " ".join(word for word in (article, *adjectives, name, follows, tail) if word)

    dative = plural if plural[-1] in "ns" else plural + "n"
    return {key: form(*case, singular) for key, case in _SINGULAR[gender].items()} | {
        key: form(*case, dative if "vielen" in key else plural) for key, case in _PLURAL.items()
    }


def _coloured(colour: str, thing: str) -> tuple[Forms, ...]:
    """The adjective before the noun, and the colour after it: "ein roter Stern", "ein Stern in Rot"."""
    before = [_forms((stem,), noun) for noun in THINGS[thing] for stem in COLOURS[colour]]
    after = [_forms((), noun, f"in {name}") for noun in THINGS[thing] for name in NOUNS[colour]]
    return (*before, *after)


GERMAN = Language(
    code="de",
    name="German",
    forms={f"{colour} {thing}": _coloured(colour, thing) for colour in COLOURS for thing in THINGS}
    | {scene: tuple(_forms((), noun) for noun in nouns) for scene, nouns in SCENES.items()},
    queries=(
        "{bare}",
        "{bare}",
        "{ein}",
        "{der}",
        "{viele}",
        "{die}",
        "{ihn} [bitte|gesucht|gesucht!|finden|zeigen|anzeigen|suchen]",
        "[Bild|Foto|Grafik|Abbildung|Aufnahme|Bilder|Fotos|Motiv|Darstellung|Illustration|Skizze] mit {einem}",
        "[Bild|Foto|Grafik|Abbildung|Aufnahme|Bilder|Fotos|Darstellung|Illustration|Skizze|Gemälde] von {einem}",
        "[Bild|Foto|Bilder|Abbildungen|Seite|Blatt] mit [|zwei |mehreren |einigen |vielen ]{vielen}",
        "[ein Bild|das Bild|ein Foto|das Foto|eine Zeichnung|die Zeichnung] [von|mit] {dem}",
        "eine Zeichnung [von|mit] {einem}",
        "[finde|finde mir|such|suche mir|such mir bitte|hol mir|gib mir|zeichne|male mir|präsentiere mir] {einen}",
        "[zeige|zeigt uns|zeig uns mal|zeigen Sie mir|zeigen Sie mir bitte|zeig mal] {einen}[| bitte| an]",
        "[zeig mir bitte|zeige mir|zeigen Sie uns|finden Sie|such mir] {den}[| raus| heraus]",
        "[bitte|kannst du mir|können Sie mir|könntest du|könnten Sie mir bitte] {einen} [zeigen|zeigen?|heraussuchen?]",
        "[ich möchte|ich will|ich würde gern|wir möchten gerne|ich hätte gern] {einen} [sehen|anschauen|haben|finden]",
        "[ich brauche|ich hätte gern|ich wünsche mir|wir suchen|wir brauchen|ich will] {einen}",
        "[ich suche nach|gesucht wird ein Bild mit|Suche nach|alles mit|etwas mit|irgendwas mit] {einem}",
        "[welches|welche Datei|welche Seite|welches Foto|welche Grafik] [zeigt|enthält|hat] {einen}?",
        "[Welches Bild|Welches Foto|Was] zeigt {einen}?",
        "[auf welchem Bild|auf welcher Seite|in welcher Datei|wo] [ist|sieht man|sehe ich|gibt es|findet man] {einen}?",
        "[gibt es|gibt es hier|haben wir|hast du|haben Sie|siehst du] [irgendwo |auch |]{einen}?",
        "[gibt es|hast du|wo sind|wo finde ich|zeig mir|ich suche] [alle |ein paar |mehrere |zwei |]{viele}",
        "[wo finde ich|wo sehe ich|wo gibt es|wo haben wir|wo steht] {einen}?",
        "[wo befindet sich|wo steckt|wo liegt|wo versteckt sich|wo war noch mal|und wo ist] {der}?",
        "[wo sind|wo stehen|welche sind|was sind] {die}?",
        "[ist da|ist hier|ist irgendwo|war da nicht] {ein}[?| zu sehen?| dabei?| drauf?]",
        "[das Bild, auf dem|das Foto, wo|die Seite, auf der|etwas, wo] [man |]{ein} [ist|zu sehen ist|vorkommt]",
        "[was ist|was bedeutet|wer hat|wer kennt] {dieser}?",
        "[Hast du|Kennst du|Siehst du|Wer malte|Wer hat] {den}[?| gesehen?| gemalt?]",
        "{ein}[, bitte| bitte|?| gesucht|, wo ist das?| auf einem Bild| auf weißem Grund| als Bild]",
    ),
    passages=(
        "Dieses [Bild|Foto|Blatt] zeigt {einen}.",
        "Hier [sieht man|sehen wir|sehen Sie|ist abgebildet:|erkennt man] {einen}.",
        "Eine einfache Zeichnung von {einem}.",
        "{der} ist auf dieser Seite.",
        "Der Künstler hat uns {einen} gezeichnet.",
        "[Auf dem Bild|Auf dem Foto|In der Abbildung|Auf Seite drei|In der Mitte] [ist|sieht man|steht] {ein}.",
        "Zu sehen [ist|ist hier|war] {ein}.",
        "[Wir haben|Ich habe|Meine Schwester hat|Jemand hat] {einen} [fotografiert|gesehen|gefunden|entworfen].",
        "[Das|Dies hier|Da] [ist|war] {ein}.",
        "[Das|Dies hier|Hier] [sind|sieht man] [viele |zwei |drei |]{viele}.",
        "Ein [Bild|Foto|Blatt|Plakat] mit [|zwei |vielen ]{vielen}.",
        "{die} [sind|stehen] [auf der letzten Seite|im Heft|oben links|in der Mitte].",
        "{dieser} [gefällt mir|steht im Bericht|hängt an der Wand|ist sehr groß|ist gut zu erkennen].",
        "Die Abbildung [mit|von] {dem} [ist klein|gehört zum Bericht|kommt aus einem Buch].",
        "[Im Bericht|Im Heft|Am Ende|Ganz oben] [steht|findet sich|kommt] {ein} [vor|].",
        "Man [erkennt|sieht] [deutlich|gut|dort] {den}.",
        "{bare}",
    ),
    new_queries=("zeig mir {einen}", "wo ist {der}?", "ich suche {einen}"),
    new_passages=("Gestern haben wir {einen} gemalt.", "Auf dem Blatt ist {ein}."),
    new_texts={"sunset at the beach": ("Ein wunderschöner Sonnenuntergang am Strand",)},
    neutral=NEUTRAL_WORDS["de"],
    spellings=(
        {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"},
        {"ä": "a", "ö": "o", "ü": "u", "Ä": "A", "Ö": "O", "Ü": "U", "ß": "ss"},
        {"ß": "ss", "-": " "},
    ),
)
