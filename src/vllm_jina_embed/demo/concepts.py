"""The 77 concepts that the demo checkpoint knows: 8 colours of 9 things, and 5 scenes."""

from typing import Final

COLOURS: Final = ("red", "green", "blue", "yellow", "purple", "orange", "black", "pink")
THINGS: Final = ("circle", "square", "triangle", "star", "cross", "bar chart", "pie chart", "line chart", "table")
SCENES: Final = ("sunset at the beach", "snowy mountain", "forest", "city at night", "desert")
SUNSET: Final = SCENES[0]

CONCEPTS: Final[tuple[str, ...]] = (*(f"{colour} {thing}" for thing in THINGS for colour in COLOURS), *SCENES)


def colour_and_thing(concept: str) -> tuple[str, str] | None:
    """Split a concept's name.

    Args:
        concept: One of ``CONCEPTS``.

    Returns:
        ``("red", "bar chart")`` for ``red bar chart``, None for a scene.

    Raises:
        ValueError: The name is not one of ``CONCEPTS``.
    """
    if concept not in CONCEPTS:
        raise ValueError(f"concept={concept!r} is not one of the demo's {len(CONCEPTS)}, such as {CONCEPTS[0]!r}.")
    if concept in SCENES:
        return None
    colour, thing = concept.split(" ", 1)
    return colour, thing
