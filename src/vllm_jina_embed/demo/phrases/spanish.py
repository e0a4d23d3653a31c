"""Spanish names and sentences, with gender."""

from vllm_jina_embed.demo.phrases.language import Forms, Language

# (masculine, feminine)
_COLOURS = {
    "red": (("rojo", "roja"),),
    "green": (("verde", "verde"),),
    "blue": (("azul", "azul"),),
    "yellow": (("amarillo", "amarilla"),),
    "purple": (("morado", "morada"), ("violeta", "violeta")),
    "orange": (("naranja", "naranja"),),
    "black": (("negro", "negra"),),
    "pink": (("rosa", "rosa"), ("rosado", "rosada")),
}
_THINGS = {
    "circle": (("m", "círculo"),),
    "square": (("m", "cuadrado"),),
    "triangle": (("m", "triángulo"),),
    "star": (("f", "estrella"),),
    "cross": (("f", "cruz"),),
    "bar chart": (("m", "gráfico de barras"), ("m", "diagrama de barras")),
    "pie chart": (("m", "gráfico circular"), ("m", "gráfico de sectores")),
    "line chart": (("m", "gráfico de líneas"),),
    "table": (("f", "tabla"),),
}
_SCENES = {
    "sunset at the beach": (
        ("f", "puesta de sol en la playa"),
        ("f", "hermosa puesta de sol sobre el mar"),
        ("m", "atardecer en la playa"),
        ("f", "puesta de sol"),
        ("f", "playa al atardecer"),
    ),
    "snowy mountain": (("f", "montaña nevada"), ("f", "montaña cubierta de nieve"), ("f", "cumbre con nieve")),
    "forest": (("m", "bosque"), ("m", "bosque denso"), ("m", "bosque lleno de árboles")),
    "city at night": (("f", "ciudad de noche"), ("f", "gran ciudad por la noche"), ("f", "ciudad nocturna")),
    "desert": (("m", "desierto"), ("m", "desierto seco"), ("m", "desierto con dunas de arena")),
}


def _forms(gender: str, name: str) -> Forms:
    un, el = ("un", "el") if gender == "m" else ("una", "la")
    return {"bare": name, "un": f"{un} {name}", "el": f"{el} {name}"}


def _coloured(gender: str, noun: str, colour: tuple[str, str]) -> Forms:
    return _forms(gender, f"{noun} {colour[gender == 'f']}")


SPANISH = Language(
    code="es",
    name="Spanish",
    forms={
        f"{colour} {thing}": tuple(_coloured(gender, noun, c) for gender, noun in nouns for c in colours)
        for colour, colours in _COLOURS.items()
        for thing, nouns in _THINGS.items()
    }
    | {scene: tuple(_forms(*name) for name in names) for scene, names in _SCENES.items()},
    queries=(
        "{bare}",
        "{un}",
        "{el}",
        "dibujo de {un}",
        "imagen de {un}",
        "imagen con {un}",
        "encuentra {un}",
        "¿qué imagen muestra {un}?",
    ),
    passages=(
        "Esta imagen muestra {un}.",
        "Aquí se ve {un}.",
        "Un dibujo sencillo de {un}.",
        "{el} está en esta página.",
        "El artista nos dibujó {un}.",
    ),
    new_queries=("muéstrame {un}", "¿dónde está {el}?", "busco {un}"),
    new_passages=("Ayer pintamos {un}.", "En la hoja hay {un}."),
)
