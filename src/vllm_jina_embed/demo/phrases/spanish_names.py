"""What Spanish speakers call the demo's colours, things and scenes: data for ``spanish``."""

from typing import Final

Colour = tuple[str, str, str, str]
"""Masculine and its plural, feminine and its plural."""
Noun = tuple[str, str, str]
"""Gender, singular, plural."""


def _four(stem: str) -> Colour:
    """An adjective in -o."""
    return f"{stem}o", f"{stem}os", f"{stem}a", f"{stem}as"


def _two(one: str, many: str) -> Colour:
    """An adjective that is the same for both genders."""
    return one, many, one, many


def _of(*names: str) -> tuple[Colour, ...]:
    """Phrases that never change."""
    return tuple(_two(name, name) for name in names)


COLOURS: Final[dict[str, tuple[Colour, ...]]] = {
    "red": (_four("roj"), *_of("de color rojo", "en rojo", "rojo oscuro", "color rojo", "carmesí"), _four("rojiz")),
    "green": (
        _two("verde", "verdes"),
        *_of("de color verde", "en verde", "verde oscuro", "verde claro", "verde esmeralda"),
    ),
    "blue": (
        _two("azul", "azules"),
        *_of("de color azul", "en azul", "azul oscuro", "azul claro", "azul marino", "celeste"),
    ),
    "yellow": (
        _four("amarill"),
        *_of("de color amarillo", "en amarillo", "amarillo claro", "color amarillo"),
        _four("dorad"),
    ),
    "purple": (
        _four("morad"),
        _two("violeta", "violetas"),
        *_of("de color morado", "en morado", "lila", "púrpura", "de color violeta", "color lila"),
    ),
    "orange": (
        _two("naranja", "naranjas"),
        *_of("de color naranja", "en naranja", "anaranjado", "color naranja"),
        _four("anaranjad"),
    ),
    "black": (_four("negr"), *_of("de color negro", "en negro", "color negro", "negro intenso", "azabache")),
    "pink": (
        _two("rosa", "rosas"),
        _four("rosad"),
        *_of("de color rosa", "en rosa", "rosa claro", "color rosa", "fucsia", "rosa pálido"),
    ),
}
THINGS: Final[dict[str, tuple[Noun, ...]]] = {
    "circle": (
        ("m", "círculo", "círculos"),
        ("m", "disco", "discos"),
        ("m", "punto", "puntos"),
        ("f", "forma redonda", "formas redondas"),
        ("f", "figura circular", "figuras circulares"),
        ("m", "redondel", "redondeles"),
        ("f", "bola", "bolas"),
        ("m", "anillo", "anillos"),
    ),
    "square": (
        ("m", "cuadrado", "cuadrados"),
        ("m", "cuadro", "cuadros"),
        ("m", "rectángulo", "rectángulos"),
        ("f", "forma cuadrada", "formas cuadradas"),
        ("m", "cuadrilátero", "cuadriláteros"),
        ("m", "cuadradito", "cuadraditos"),
        ("f", "caja", "cajas"),
    ),
    "triangle": (
        ("m", "triángulo", "triángulos"),
        ("f", "forma triangular", "formas triangulares"),
        ("f", "figura de tres lados", "figuras de tres lados"),
        ("f", "figura triangular", "figuras triangulares"),
    ),
    "star": (
        ("f", "estrella", "estrellas"),
        ("f", "estrellita", "estrellitas"),
        ("f", "estrella de cinco puntas", "estrellas de cinco puntas"),
        ("f", "forma de estrella", "formas de estrella"),
        ("m", "símbolo de estrella", "símbolos de estrella"),
    ),
    "cross": (
        ("f", "cruz", "cruces"),
        ("m", "signo más", "signos más"),
        ("m", "símbolo de suma", "símbolos de suma"),
        ("f", "forma de cruz", "formas de cruz"),
        ("f", "crucecita", "crucecitas"),
        ("m", "signo de más", "signos de más"),
    ),
    "bar chart": (
        ("m", "gráfico de barras", "gráficos de barras"),
        ("m", "diagrama de barras", "diagramas de barras"),
        ("f", "gráfica de barras", "gráficas de barras"),
        ("m", "histograma", "histogramas"),
        ("m", "gráfico de columnas", "gráficos de columnas"),
        ("f", "gráfica de columnas", "gráficas de columnas"),
        ("m", "gráfico con barras", "gráficos con barras"),
    ),
    "pie chart": (
        ("m", "gráfico circular", "gráficos circulares"),
        ("m", "gráfico de sectores", "gráficos de sectores"),
        ("m", "gráfico de tarta", "gráficos de tarta"),
        ("m", "diagrama circular", "diagramas circulares"),
        ("f", "gráfica de pastel", "gráficas de pastel"),
        ("m", "gráfico de pastel", "gráficos de pastel"),
        ("f", "gráfica circular", "gráficas circulares"),
        ("m", "diagrama de sectores", "diagramas de sectores"),
        ("m", "gráfico de torta", "gráficos de torta"),
    ),
    "line chart": (
        ("m", "gráfico de líneas", "gráficos de líneas"),
        ("f", "gráfica de líneas", "gráficas de líneas"),
        ("m", "diagrama de líneas", "diagramas de líneas"),
        ("m", "gráfico lineal", "gráficos lineales"),
        ("f", "curva", "curvas"),
        ("m", "gráfico con una línea", "gráficos con una línea"),
        ("f", "gráfica lineal", "gráficas lineales"),
    ),
    "table": (
        ("f", "tabla", "tablas"),
        ("f", "tabla de datos", "tablas de datos"),
        ("m", "cuadro de datos", "cuadros de datos"),
        ("f", "hoja de cálculo", "hojas de cálculo"),
        ("f", "tabla con filas y columnas", "tablas con filas y columnas"),
        ("f", "tabla de números", "tablas de números"),
    ),
}
SCENES: Final[dict[str, tuple[Noun, ...]]] = {
    "sunset at the beach": (
        ("f", "puesta de sol en la playa", "puestas de sol en la playa"),
        ("f", "hermosa puesta de sol sobre el mar", "hermosas puestas de sol sobre el mar"),
        ("m", "atardecer en la playa", "atardeceres en la playa"),
        ("f", "puesta de sol", "puestas de sol"),
        ("f", "playa al atardecer", "playas al atardecer"),
        ("m", "ocaso junto al océano", "ocasos junto al océano"),
        ("m", "sol que se pone en el mar", "soles que se ponen en el mar"),
        ("f", "costa al anochecer", "costas al anochecer"),
        ("m", "crepúsculo en la orilla", "crepúsculos en la orilla"),
        ("m", "atardecer junto al mar", "atardeceres junto al mar"),
        ("m", "sol poniente", "soles ponientes"),
        ("m", "hermoso atardecer", "hermosos atardeceres"),
    ),
    "snowy mountain": (
        ("f", "montaña nevada", "montañas nevadas"),
        ("f", "montaña cubierta de nieve", "montañas cubiertas de nieve"),
        ("f", "cumbre con nieve", "cumbres con nieve"),
        ("m", "pico nevado", "picos nevados"),
        ("f", "cima blanca", "cimas blancas"),
        ("f", "sierra nevada", "sierras nevadas"),
        ("f", "nieve en la montaña", "nieves en la montaña"),
        ("m", "monte con nieve", "montes con nieve"),
        ("m", "paisaje alpino en invierno", "paisajes alpinos en invierno"),
        ("f", "cordillera en invierno", "cordilleras en invierno"),
    ),
    "forest": (
        ("m", "bosque", "bosques"),
        ("m", "bosque denso", "bosques densos"),
        ("m", "bosque lleno de árboles", "bosques llenos de árboles"),
        ("m", "bosque de pinos", "bosques de pinos"),
        ("f", "selva", "selvas"),
        ("m", "árbol", "árboles"),
        ("f", "arboleda", "arboledas"),
        ("m", "bosque verde", "bosques verdes"),
        ("m", "grupo de árboles", "grupos de árboles"),
        ("m", "pino en el bosque", "pinos en el bosque"),
    ),
    "city at night": (
        ("f", "ciudad de noche", "ciudades de noche"),
        ("f", "gran ciudad por la noche", "grandes ciudades por la noche"),
        ("f", "ciudad nocturna", "ciudades nocturnas"),
        ("m", "rascacielos en la noche", "rascacielos en la noche"),
        ("f", "luz de la ciudad", "luces de la ciudad"),
        ("f", "ciudad iluminada", "ciudades iluminadas"),
        ("m", "edificio iluminado por la noche", "edificios iluminados por la noche"),
        ("m", "horizonte urbano nocturno", "horizontes urbanos nocturnos"),
        ("f", "metrópolis bajo la luna", "metrópolis bajo la luna"),
        ("m", "centro de la ciudad a oscuras", "centros de la ciudad a oscuras"),
    ),
    "desert": (
        ("m", "desierto", "desiertos"),
        ("m", "desierto seco", "desiertos secos"),
        ("m", "desierto con dunas de arena", "desiertos con dunas de arena"),
        ("f", "duna de arena", "dunas de arena"),
        ("m", "cactus en la arena", "cactus en la arena"),
        ("m", "paisaje desértico", "paisajes desérticos"),
        ("m", "cactus", "cactus"),
        ("m", "desierto como el Sahara", "desiertos como el Sahara"),
        ("f", "arena bajo el sol", "arenas bajo el sol"),
        ("m", "páramo seco con arena", "páramos secos con arena"),
    ),
}
