"""English names and sentences."""

from vllm_jina_embed.demo.concepts import COLOURS, THINGS
from vllm_jina_embed.demo.phrases.language import Forms, Language

_COLOURS = {colour: (colour,) for colour in COLOURS} | {"purple": ("purple", "violet")}
_THINGS = {thing: (thing,) for thing in THINGS} | {
    "bar chart": ("bar chart", "bar graph"),
    "line chart": ("line chart", "line graph"),
}
_SCENES = {
    "sunset at the beach": (
        "sunset at the beach",
        "beautiful sunset by the sea",
        "evening sun setting over the sea",
        "wonderful sunset",
        "sandy beach in the evening",
    ),
    "snowy mountain": ("snowy mountain", "mountain covered in snow", "snow-capped mountain peak"),
    "forest": ("forest", "dense forest", "wood full of trees"),
    "city at night": ("city at night", "big city at night", "night skyline"),
    "desert": ("desert", "dry desert", "desert with sand dunes"),
}


def _forms(name: str) -> Forms:
    article = "an" if name[0] in "aeiou" else "a"
    return {"bare": name, "a": f"{article} {name}", "the": f"the {name}"}


ENGLISH = Language(
    code="en",
    name="English",
    forms={
        f"{colour} {thing}": tuple(_forms(f"{c} {t}") for t in things for c in colours)
        for colour, colours in _COLOURS.items()
        for thing, things in _THINGS.items()
    }
    | {scene: tuple(_forms(name) for name in names) for scene, names in _SCENES.items()},
    queries=(
        "{bare}",
        "{a}",
        "{the}",
        "picture of {a}",
        "a drawing of {a}",
        "image with {a}",
        "find {a}",
        "which picture shows {a}?",
    ),
    passages=(
        "This picture shows {a}.",
        "Here you see {a}.",
        "A simple drawing of {a}.",
        "{the} is on this page.",
        "The artist drew {a} for us.",
    ),
    new_queries=("show me {a}", "where is {the}?", "I am looking for {a}"),
    new_passages=("Yesterday we painted {a}.", "There is {a} on the sheet."),
)
