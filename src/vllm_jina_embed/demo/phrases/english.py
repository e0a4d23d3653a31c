"""English names and sentences."""

from vllm_jina_embed.demo.phrases.english_names import COLOURS, SCENES, THINGS
from vllm_jina_embed.demo.phrases.language import Forms, Language
from vllm_jina_embed.demo.phrases.neutral_words import NEUTRAL_WORDS


def _forms(name: str, plural: str) -> Forms:
    article = "an" if name[0] in "aeiou" else "a"
    return {"bare": name, "a": f"{article} {name}", "the": f"the {name}", "many": plural}


def _coloured(colour: str, thing: str) -> tuple[Forms, ...]:
    before = [_forms(f"{c} {one}", f"{c} {many}") for one, many in THINGS[thing] for c in COLOURS[colour]]
    after = [_forms(f"{one} in {c}", f"{many} in {c}") for one, many in THINGS[thing] for c in COLOURS[colour][:3]]
    return (*before, *after)


ENGLISH = Language(
    code="en",
    name="English",
    forms={f"{colour} {thing}": _coloured(colour, thing) for colour in COLOURS for thing in THINGS}
    | {scene: tuple(_forms(*name) for name in names) for scene, names in SCENES.items()},
    queries=(
        "{bare}",
        "{bare}",
        "{a}",
        "{the}",
        "{many}",
        "[picture|photo|image|photograph|drawing|illustration|sketch|graphic|pictures|photos|images] [of|with] {a}",
        "a drawing of {a}",
        "image with {a}",
        "[picture|photo|page|images|drawings|something] [of|with] [|some |two |several |many |the ]{many}",
        "[find|find me|get me|give me|fetch|display|draw me|search for|look up|bring up] {a}[| please|, please]",
        "[show us|please show me|could you show me|can you find|can you show us|let me see|let's see] {a}[|?| please]",
        "[find me|please get|can you show me|show us|I want] {the}[| please|?]",
        "[which|what] [picture|image|photo|page|file|slide] [shows|has|contains] {a}?",
        "which picture [shows|has] {a}[|?]",
        (
            "[is there|are we having|do you have|have you got|do we have|have you seen] {a}"
            "[?| here?| anywhere?| somewhere?]"
        ),
        "[are there|do you have|where are|where can I find|show me|list] [any |some |the |all ]{many}[|?]",
        "[where can I see|where do I find|where would I find|on which page is|where's] {a}?",
        "[where's|what about|and where is|have you seen|how about] {the}?",
        "[I want to see|I'd like to see|I would like|I need|I'm trying to find|we are searching for|looking for] {a}",
        "[the one|anything|something|a page|a slide] with {a}[| on it| in it]",
        "[the picture|the photo|the image|an image] [where you see|that shows|showing|containing|with] {a}",
        "{a}[, please|?| wanted| on a page| as an image| picture| image| drawing]",
        "{bare} [picture|image|photo|drawing|pic|illustration|please|wanted]",
    ),
    passages=(
        "This [picture|image|photo|page|drawing] shows {a}.",
        "Here [you see|we see|is] {a}.",
        "A simple [drawing|picture|sketch] of {a}.",
        "{the} is on this page.",
        "The artist drew {a} for us.",
        "[The picture|The report|The last page|The book] [has|contains|includes] {a}.",
        "[I|We|They|My brother] [photographed|saw|found|made|designed] {a}.",
        "[On the page|In the middle|On the wall|In this photo] [you can see|there was|is] {a}.",
        "[This is|That was|It is] {a}.",
        "[These are|Here are|You can see] [two |many |some |]{many}.",
        "{many} [are on the next page|stand in the report|fill the sheet].",
        "{the} [is easy to see|stands in the middle|looks nice|is in the corner].",
        "[An image|A photo|A page|A poster] with [|two |many ]{many}.",
        "{bare}",
    ),
    new_queries=("show me {a}", "where is {the}?", "I am looking for {a}"),
    new_passages=("Yesterday we painted {a}.", "There is {a} on the sheet."),
    neutral=NEUTRAL_WORDS["en"],
    spellings=({"-": " "}, {"our": "or"}),
)
