"""Spanish names and sentences, with gender and number."""

from vllm_jina_embed.demo.phrases.language import Forms, Language
from vllm_jina_embed.demo.phrases.neutral_words import NEUTRAL_WORDS
from vllm_jina_embed.demo.phrases.spanish_names import COLOURS, SCENES, THINGS, Colour, Noun


def _forms(gender: str, name: str, plural: str) -> Forms:
    un, el, los, unos = ("un", "el", "los", "unos") if gender == "m" else ("una", "la", "las", "unas")
    contracted = (
        {"del": f"del {name}", "al": f"al {name}"} if gender == "m" else {"del": f"de la {name}", "al": f"a la {name}"}
    )
    return {
        "bare": name,
        "un": f"{un} {name}",
        "el": f"{el} {name}",
        "muchos": plural,
        "los": f"{los} {plural}",
        "unos": f"{unos} {plural}",
        **contracted,
    }


def _coloured(noun: Noun, colour: Colour) -> Forms:
    gender, name, plural = noun
    one, many = colour[:2] if gender == "m" else colour[2:]
    return _forms(gender, f"{name} {one}", f"{plural} {many}")


SPANISH = Language(
    code="es",
    name="Spanish",
    forms={
        f"{colour} {thing}": tuple(_coloured(noun, c) for noun in nouns for c in colours)
        for colour, colours in COLOURS.items()
        for thing, nouns in THINGS.items()
    }
    | {scene: tuple(_forms(*name) for name in names) for scene, names in SCENES.items()},
    queries=(
        "{bare}",
        "{bare}",
        "{un}",
        "{el}",
        "{muchos}",
        "{los}",
        "[dibujo|imagen|foto|fotografía|ilustración|cuadro|gráfico|imágenes|fotos] de {un}",
        "[dibujo|imagen|foto|fotografía|página|hoja|algo|fotos|imágenes] con {un}",
        "[dibujo|imagen|foto|página|fotos|imágenes] [de|con] [|dos |varios |muchos ]{muchos}",
        "[la imagen|el dibujo|la foto|una foto|busco la foto] {del}",
        "[encuentra|encuéntrame|búscame|busca|dame|tráeme|dibuja|saca|enséñame] {un}[| por favor|, por favor]",
        "[muéstranos|muestra|muéstreme|enséñeme|enseña|quiero ver|me muestras] {un}[| por favor|?]",
        "[muéstrame por favor|enséñame|encuentra|quiero|necesito|muéstreme] {el}",
        "¿[qué|cuál] [imagen|foto|página|dibujo] [muestra|tiene|contiene] {un}?",
        "¿qué imagen muestra {un}?",
        "[en qué|en cuál] [imagen|página|foto] [hay|se ve|aparece|sale] {un}",
        "¿[hay|tienes|tiene|tenéis|has visto|hay por aquí|ves] {un}?",
        "¿[hay|tienes|dónde hay|has visto|me muestras] [|algunos |varios ]{muchos}?",
        "¿[dónde hay|dónde encuentro|dónde puedo ver|dónde se ve|dónde veo] {un}?",
        "¿[dónde está por favor|dónde queda|dónde se encuentra|y|has visto|cuál es] {el}?",
        "¿[dónde están|cuáles son|dónde quedan] {los}?",
        "[quiero ver|me gustaría ver|quisiera|necesito|estoy buscando|estamos buscando|buscamos|queremos] {un}",
        "[me puedes enseñar|puedes mostrarme|podría mostrarme|podrías buscar] {un}[|?| por favor]",
        "[la foto|la imagen|el dibujo] [donde|en que|en la que] [hay|sale|aparece|se ve] {un}",
        "[busco|quiero|dame|enséñame] {unos}",
        "{un}[, por favor|?| en una imagen| sobre fondo blanco| por favor]",
    ),
    passages=(
        "Esta [imagen|foto|página] muestra {un}.",
        "Aquí [se ve|vemos|hay|tenemos|aparece] {un}.",
        "Un dibujo [sencillo|bonito|pequeño] de {un}.",
        "{el} está en esta página.",
        "El artista nos dibujó {un}.",
        "[En la imagen|En la foto|En el informe|En el centro|En la pared] [hay|se ve|aparece|está] {un}.",
        "[Esto es|Eso era|Es] {un}.",
        "[Estos son|Aquí hay|Se ven] [dos |muchos |]{muchos}.",
        "[He fotografiado|Hemos visto|Mi hermana encontró|Alguien diseñó] {un}.",
        "{los} [están en la última página|aparecen en el libro].",
        "{el} [se ve muy bien|es muy grande|cuelga de la pared|está en el centro].",
        "[Una foto|Una hoja|El cartel] con {un}.",
        "La imagen {del} [es pequeña|está en el informe].",
        "{bare}",
    ),
    new_queries=("muéstrame {un}", "¿dónde está {el}?", "busco {un}"),
    new_passages=("Ayer pintamos {un}.", "En la hoja hay {un}."),
    neutral=NEUTRAL_WORDS["es"],
    spellings=(
        {"á": "a", "é": "e", "í": "i", "ó": "o", "ú": "u", "¿": ""},
        {"¿": "", "?": ""},
        {"á": "a", "é": "e", "í": "i", "ó": "o", "ú": "u", "ñ": "n"},
    ),
)
