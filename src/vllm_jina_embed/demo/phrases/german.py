"""German names and sentences, with gender and case."""

from vllm_jina_embed.demo.phrases.language import Forms, Language

# Adjective stems; a colour without endings stands in _UNINFLECTED.
_COLOURS = {
    "red": ("rot",),
    "green": ("grün",),
    "blue": ("blau",),
    "yellow": ("gelb",),
    "purple": ("violett", "lila"),
    "orange": ("orangefarben", "orange"),
    "black": ("schwarz",),
    "pink": ("rosa", "rosafarben", "pinkfarben"),
}
_UNINFLECTED = frozenset({"lila", "orange", "rosa"})
_THINGS = {
    "circle": (("m", "Kreis"),),
    "square": (("n", "Quadrat"),),
    "triangle": (("n", "Dreieck"),),
    "star": (("m", "Stern"),),
    "cross": (("n", "Kreuz"),),
    "bar chart": (("n", "Balkendiagramm"), ("n", "Säulendiagramm")),
    "pie chart": (("n", "Kreisdiagramm"), ("n", "Tortendiagramm")),
    "line chart": (("n", "Liniendiagramm"),),
    "table": (("f", "Tabelle"),),
}
# Gender, adjective stem or "", noun with what follows it.
_SCENES = {
    "sunset at the beach": (
        ("m", "", "Sonnenuntergang am Strand"),
        ("m", "schön", "Sonnenuntergang am Meer"),
        ("m", "wunderschön", "Sonnenuntergang"),
        ("m", "", "Strand bei Sonnenuntergang"),
        ("m", "wunderschön", "Abend am Strand"),
    ),
    "snowy mountain": (("m", "verschneit", "Berg"), ("m", "", "Berg mit Schnee"), ("m", "schneebedeckt", "Gipfel")),
    "forest": (("m", "", "Wald"), ("m", "dicht", "Wald"), ("m", "", "Wald voller Bäume")),
    "city at night": (("f", "", "Stadt bei Nacht"), ("f", "", "Großstadt in der Nacht"), ("f", "nächtlich", "Stadt")),
    "desert": (("f", "", "Wüste"), ("f", "trocken", "Wüste"), ("f", "", "Wüste mit Sanddünen")),
}
# Gender -> form -> (article, adjective ending).
_CASES = {
    "m": {
        "bare": ("", "er"),
        "ein": ("ein", "er"),
        "einen": ("einen", "en"),
        "einem": ("einem", "en"),
        "der": ("der", "e"),
    },
    "n": {
        "bare": ("", "es"),
        "ein": ("ein", "es"),
        "einen": ("ein", "es"),
        "einem": ("einem", "en"),
        "der": ("das", "e"),
    },
    "f": {
        "bare": ("", "e"),
        "ein": ("eine", "e"),
        "einen": ("eine", "e"),
        "einem": ("einer", "en"),
        "der": ("die", "e"),
    },
}


def _forms(gender: str, stem: str, noun: str) -> Forms:
    def form(article: str, ending: str) -> str:
        adjective = stem if not stem or stem in _UNINFLECTED else stem + ending
        return " ".join(word for word in (article, adjective, noun) if word)

    return {name: form(*case) for name, case in _CASES[gender].items()}


GERMAN = Language(
    code="de",
    name="German",
    forms={
        f"{colour} {thing}": tuple(_forms(gender, stem, noun) for gender, noun in nouns for stem in stems)
        for colour, stems in _COLOURS.items()
        for thing, nouns in _THINGS.items()
    }
    | {scene: tuple(_forms(*name) for name in names) for scene, names in _SCENES.items()},
    queries=(
        "{bare}",
        "{ein}",
        "{der}",
        "Bild mit {einem}",
        "eine Zeichnung von {einem}",
        "finde {einen}",
        "Welches Bild zeigt {einen}?",
    ),
    passages=(
        "Dieses Bild zeigt {einen}.",
        "Hier sieht man {einen}.",
        "Eine einfache Zeichnung von {einem}.",
        "{der} ist auf dieser Seite.",
        "Der Künstler hat uns {einen} gezeichnet.",
    ),
    new_queries=("zeig mir {einen}", "wo ist {der}?", "ich suche {einen}"),
    new_passages=("Gestern haben wir {einen} gemalt.", "Auf dem Blatt ist {ein}."),
    new_texts={"sunset at the beach": ("Ein wunderschöner Sonnenuntergang am Strand",)},
)
