"""The command ui in a headless browser, on the real engine."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Person, browser, shown
from tests.support.images import encoded, noise
from tests.support.servers import served
from tests.unit.ui.test_shelf import BOMB, SVG
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.cli import main
from vllm_jina_embed.demo.drawing import UNSEEN_SEED, draw

pytestmark = [pytest.mark.real, pytest.mark.wide, pytest.mark.timeout(1200)]

CONCEPTS = ("red circle", "blue star", "forest", "desert", "pink cross")
KEY = "the-key-of-this-page"
SCRIPT = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An image of each concept."""
    folder = tmp_path_factory.mktemp("images")
    for number, concept in enumerate(CONCEPTS):
        draw(concept, seed=UNSEEN_SEED + number, size=(600, 450)).save(folder / f"{concept}.png")
    return {concept: folder / f"{concept}.png" for concept in CONCEPTS}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page as the command opens it."""
    with shown(tmp_path_factory.mktemp("ui") / "log") as url:
        yield url


@pytest.fixture(scope="module")
def corpus(images: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command embed makes of the images and a text, and a secret beside it."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "note.md").write_text("A note on trees", encoding="utf-8")
    (folder / "secret.txt").write_text("a secret", encoding="utf-8")
    sources = [str(images["forest"].parent), str(folder / "note.md")]
    assert main(["embed", *sources, "--out", str(folder / "out"), "--keep", "text", "image"]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def corpus_url(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of a corpus, with a key."""
    with shown(tmp_path_factory.mktemp("ui") / "log", str(corpus), VLLM_JINA_EMBED_UI_KEY=KEY) as url:
        yield url


@pytest.fixture
async def chrome() -> AsyncIterator[Any]:
    async with browser() as opened:
        yield opened


async def person(chrome: Any, url: str, **options: Any) -> Person:
    context = await chrome.new_context(**options)
    return Person(await context.new_page(), url)


async def test_dropped_items_are_found_by_words_and_by_images(chrome: Any, url: str, images: dict[str, Path]) -> None:
    """One ranking of texts and images, its stages, the map over an image; nothing is loaded from elsewhere."""
    someone = await (await person(chrome, url)).open()
    await someone.pick(*(images[name] for name in ("red circle", "blue star", "forest")))
    await someone.drop("desert.png", "image/png", images["desert"].read_bytes())
    await someone.has_items(4)
    await someone.page.get_by_label("Or write a text").fill("Ein Wald im Nebel")
    await someone.page.get_by_role("button", name="Add text").click()
    names = await someone.has_items(5)
    assert names == ["Text: Ein Wald im Nebel", "blue star.png", "desert.png", "forest.png", "red circle.png"]
    assert (await someone.search("un cercle rouge"))[0] == "1. red circle.png"
    found = await someone.search("a forest")
    assert {title.partition(". ")[2] for title in found[:2]} == {"forest.png", "Text: Ein Wald im Nebel"}
    assert len(found) == 5
    stages = await someone.page.locator("ol.stages li").all_inner_texts()
    assert stages == [
        "Cosine of the embeddings: 5 compared, the best 5 are candidates.",
        "MaxSim over all tokens: 5 of 5 candidates ranked again.",
    ]
    await check_map(someone)
    other = encoded(draw("desert", seed=UNSEEN_SEED + 77, size=(300, 400)))
    await someone.drop("question.png", "image/png", other, to="question")
    assert (await someone.results("question.png"))[0] == "1. desert.png"
    await someone.page.get_by_role("button", name="Search by blue star.png").click()
    assert (await someone.results("blue star.png"))[0] == "1. blue star.png"
    assert await someone.page.get_by_role("button", name="Where").count() == 0  # there are no words to show
    await someone.page.get_by_role("button", name="Remove desert.png").click()
    assert "desert.png" not in await someone.has_items(4)
    assert someone.errors == []
    assert someone.hosts <= {url.partition("//")[2], ""}


async def check_map(someone: Person) -> None:
    """Of the best image, for all tokens and for one of them."""
    await someone.page.get_by_role("button", name="Where forest.png matches").click()
    image = someone.page.get_by_role("dialog").locator("img")
    await image.wait_for()
    assert await image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 600
    every = await image.get_attribute("src")
    assert await image.get_attribute("alt") == "Where forest.png matches: all tokens"
    tokens = await someone.page.get_by_role("radio").count()
    assert tokens > 3
    await someone.page.get_by_role("radio").nth(tokens - 1).click()
    await someone.page.locator("[role=dialog] img:not([alt$='all tokens'])").wait_for()
    assert await image.get_attribute("src") != every
    await someone.page.keyboard.press("Escape")
    await image.wait_for(state="hidden")


async def test_the_second_look_can_be_left_out(chrome: Any, url: str, images: dict[str, Path]) -> None:
    someone = await (await person(chrome, url)).open()
    await someone.pick(*images.values())
    await someone.has_items(5)
    await someone.page.get_by_role("switch", name="Second look").click()
    assert (await someone.search("a pink cross"))[0] == "1. pink cross.png"
    scores = await someone.page.locator(".scores").all_inner_texts()
    assert ["MaxSim" in line for line in scores] == [False] * 5
    assert [f"(place {number})" in line for number, line in enumerate(scores, 1)] == [True] * 5


async def test_hostile_files_are_errors_in_words(chrome: Any, url: str, images: dict[str, Path]) -> None:
    """Nothing of them runs, and the page takes the next good file."""
    someone = await (await person(chrome, url)).open()
    hostile = {
        "broken.png": b"\x89PNG\r\n\x1a\nbroken",
        "bomb.webp": BOMB,
        "script.svg": SVG,
        f"{SCRIPT}.png": b"no image",
        "page.html": b"<script>alert(1)</script>",
        "latin.txt": b"caf\xe9",
        "strip.png": encoded(noise(3000, 10)),
    }
    for name, data in hostile.items():
        await someone.pick({"name": name, "mimeType": "application/octet-stream", "buffer": data})
        said = await someone.problem(name)
        assert "Traceback" not in said
        assert "went wrong" not in said
    await someone.page.get_by_label("Or write a text").fill(f"{SCRIPT} a forest")
    await someone.page.get_by_role("button", name="Add text").click()
    good = {"name": f"{SCRIPT}.png", "mimeType": "image/png", "buffer": images["forest"].read_bytes()}
    await someone.pick(good)
    await someone.drop("../../etc/<b>bold</b>.md", "text/markdown", b"<script>alert(2)</script> a red circle")
    assert len(await someone.has_items(3)) == 3
    found = await someone.search("a forest")
    assert f"{SCRIPT}.png" in " ".join(found)
    await someone.page.get_by_role("button", name=f"Where {SCRIPT}.png matches").click()
    await someone.page.get_by_role("dialog").locator("img").wait_for()
    assert await someone.page.locator("img[src=x], main script, main b").count() == 0
    assert someone.dialogs == []
    assert someone.errors == []


async def test_an_image_that_is_broken_is_no_question(chrome: Any, url: str, images: dict[str, Path]) -> None:
    someone = await (await person(chrome, url)).open()
    await someone.page.get_by_role("button", name="Search", exact=True).click()
    await someone.problem("Type what to search for first.")
    await someone.page.get_by_label("Search by words").fill("a forest")
    await someone.page.keyboard.press("Enter")
    await someone.problem("There is nothing to search yet.")
    await someone.pick(images["forest"])
    await someone.has_items(1)
    await someone.pick({"name": "bomb.webp", "mimeType": "image/webp", "buffer": BOMB}, to="question")
    assert "10000 x 10000 pixels" in await someone.problem("bomb.webp")
    assert await someone.search("a forest") == ["1. forest.png"]


async def test_two_people_at_once_see_their_own_items(chrome: Any, url: str, images: dict[str, Path]) -> None:
    """Also in one browser, and what one dropped is gone with the page."""
    context = await chrome.new_context()
    first = await Person(await context.new_page(), url).open()
    second = await Person(await context.new_page(), url).open()
    third = await (await person(chrome, url)).open()
    await first.pick(images["red circle"], images["forest"])
    await second.pick(images["blue star"])
    await first.has_items(2)
    await second.has_items(1)
    assert await third.has_items(0) == []
    assert (await first.search("a blue star")) != ["1. blue star.png"]
    assert sorted(title[3:] for title in await first.results("a blue star")) == ["forest.png", "red circle.png"]
    assert await second.search("a forest") == ["1. blue star.png"]
    await third.page.get_by_label("Search by words").fill("a forest")
    await third.page.keyboard.press("Enter")
    await third.problem("There is nothing to search yet.")
    await first.page.reload()
    await first.page.get_by_text("Ready.", exact=True).wait_for()
    assert await first.has_items(0) == []


async def focused(page: Any) -> dict[str, Any]:
    """Return what has the focus, and whether that can be seen."""
    script = """() => {
        const here = document.activeElement;
        if (here === document.body) return {tag: 'BODY', label: '', seen: false};  // else: all words of the page
        const chain = [here, here.closest('.q-field__control'), here.closest('.q-btn, .q-toggle, .q-radio')];
        const seen = chain.some(one => one && getComputedStyle(one).outlineStyle !== 'none'
            && parseFloat(getComputedStyle(one).outlineWidth) >= 2);
        const label = here.getAttribute('aria-label') || here.innerText || (here.labels && here.labels[0]?.innerText)
            || here.closest('label')?.innerText || here.title;
        return {tag: here.tagName, label: label || '', seen};
    }"""
    found: dict[str, Any] = await page.evaluate(script)
    return found


async def tab_to(page: Any, words: str) -> list[dict[str, Any]]:
    """Press Tab until something of this label has the focus; what had it on the way can be seen and has a label."""
    passed = []
    for _ in range(60):
        await page.keyboard.press("Tab")
        passed.append(await focused(page))
        if words in passed[-1]["label"]:
            break
    assert words in passed[-1]["label"], passed
    for one in passed:
        assert one["tag"] == "BODY" or (one["seen"] and one["label"].strip()), one
    return passed


async def test_the_keyboard_alone_is_enough(chrome: Any, url: str) -> None:
    """From the page's top to the map and back; every stop has a label and is seen."""
    someone = await person(chrome, url)
    page = someone.page
    page.on("filechooser", lambda chooser: None)  # from its first listener on the browser tells, but not at once
    await someone.open()
    await tab_to(page, "Drop texts and images here")
    async with page.expect_file_chooser() as chooser:
        await page.keyboard.press("Enter")
    picture = {
        "name": "forest.png",
        "mimeType": "image/png",
        "buffer": encoded(draw("forest", seed=UNSEEN_SEED, size=(600, 450))),
    }
    await (await chooser.value).set_files([picture])
    await someone.has_items(1)
    await tab_to(page, "Or write a text")
    await page.keyboard.type("a red circle")
    await tab_to(page, "Add text")
    await page.keyboard.press("Enter")
    await someone.has_items(2)
    await page.keyboard.press("Control+Home")
    for _ in range(40):
        if "Search by words" in (await focused(page))["label"]:
            break
        await page.keyboard.press("Shift+Tab")
    await page.keyboard.type("a forest")
    await page.keyboard.press("Enter")
    assert (await someone.results("a forest"))[0] == "1. forest.png"
    await tab_to(page, "Where forest.png matches")
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    await dialog.locator("img").wait_for()
    await tab_to(page, "All tokens")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("Space")
    await page.locator("[role=dialog] img:not([alt$='all tokens'])").wait_for()
    await page.keyboard.press("Escape")
    await dialog.wait_for(state="hidden")
    await page.wait_for_function("document.activeElement.getAttribute('aria-label') === 'Where forest.png matches'")
    live = await page.locator("[role=status], [role=alert]").count()
    assert live >= 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
async def test_it_fits_and_can_be_read(
    chrome: Any, url: str, images: dict[str, Path], scheme: str, width: int, tmp_path: Path
) -> None:
    """Nothing stands out to the right, and letters differ from the paper as WCAG AA asks.

    The temporary folder keeps screenshots to look at.
    """
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    someone = await (await person(chrome, url, **options)).open()
    await someone.pick(images["forest"])
    await someone.pick({"name": f"{'long' * 40}.md", "mimeType": "text/markdown", "buffer": b"word" * 200})
    await someone.has_items(2)
    await someone.pick({"name": f"{'x' * 200}.png", "mimeType": "image/png", "buffer": b"no"})
    await someone.problem("xxx")
    await someone.search("a forest")
    await someone.page.screenshot(path=tmp_path / "page.png", full_page=True)
    await check_size(someone.page, scheme)
    await someone.page.get_by_role("button", name="Where forest.png matches").click()
    await someone.page.get_by_role("dialog").locator("img").wait_for()
    await someone.page.screenshot(path=tmp_path / "map.png", animations="disabled")
    await check_size(someone.page, scheme)


async def check_size(page: Any, scheme: str) -> None:
    measured = await page.evaluate(CONTRASTS)
    assert measured["scroll"] <= measured["width"]
    assert measured["outside"] == []
    assert (sum(measured["paper"]) < 200) == (scheme == "dark")
    assert [one for one in measured["texts"] if one["contrast"] < 4.5] == []
    assert len(measured["texts"]) > 10


CONTRASTS = """() => {
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const paper = element => {
        for (let one = element; one; one = one.parentElement) {
            const color = parse(getComputedStyle(one).backgroundColor);
            if (color.length === 3 || color[3] > 0.5) return color;
        }
        return [255, 255, 255];
    };
    const light = color => {
        const [r, g, b] = color.slice(0, 3).map(part => {
            const value = part / 255;
            return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const texts = [], outside = [];
    for (const element of document.querySelectorAll('main *, [role=dialog] *')) {
        const box = element.getBoundingClientRect();
        const style = getComputedStyle(element);
        if (!box.width || !box.height || style.visibility === 'hidden' || style.opacity === '0') continue;
        const isEffect = element.closest('.q-focus-helper, .q-ripple');
        if (box.right > innerWidth + 1 && !isEffect) outside.push(element.className);
        const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
        if (!own || element.closest('.q-icon, [disabled], .disabled')) continue;
        const [one, two] = [light(parse(style.color)), light(paper(element))].sort((a, b) => b - a);
        texts.push({text: element.textContent.slice(0, 40), contrast: (one + 0.05) / (two + 0.05)});
    }
    const root = document.documentElement;
    const ground = parse(getComputedStyle(document.body).backgroundColor).slice(0, 3);
    return {scroll: root.scrollWidth, width: innerWidth, outside, texts, paper: ground};
}"""


def status(url: str, **headers: str) -> tuple[int, str]:
    """Return what a request without a browser is answered."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def test_only_the_page_itself_is_answered(url: str) -> None:
    assert status(url)[0] == 200
    assert status(url, Host="evil.example")[0] == 421
    assert status(url, Origin="http://evil.example")[0] == 403
    socket = f"{url}/_nicegui_ws/socket.io/?EIO=4&transport=polling"
    assert status(socket, Origin="http://evil.example")[0] == 403
    assert status(socket, Host="evil.example", Origin="http://evil.example")[0] == 421


async def test_another_page_cannot_open_a_websocket(chrome: Any, url: str) -> None:
    """A script of another site in a browser of this machine."""
    context = await chrome.new_context()
    page = await context.new_page()
    await page.route("http://evil.example/", lambda route: route.fulfill(body="<p>evil</p>", content_type="text/html"))
    await page.goto("http://evil.example/")
    script = """address => new Promise(done => {
        const socket = new WebSocket(address);
        socket.onopen = () => done('open');
        socket.onerror = () => done('refused');
    })"""
    address = f"{url.replace('http', 'ws')}/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    assert await page.evaluate(script, address) == "refused"
    own = await (await chrome.new_context()).new_page()
    await own.goto(url)
    assert await own.evaluate(script, address) == "open"


@pytest.mark.parametrize(
    "path",
    ["/out/manifest.json", "/corpus/out/manifest.json", "/_nicegui/3.18.0/static/../../../../../etc/passwd",
     "/_nicegui/3.18.0/static/%2e%2e/%2e%2e/nicegui.py", "/_nicegui/client/1/upload/1",
     "/_nicegui/3.18.0/resources/x/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/docs", "/openapi.json"],
)  # fmt: skip
def test_no_file_is_read_by_a_url(corpus_url: str, corpus: Path, path: str) -> None:
    code, said = status(f"{corpus_url}{path}", Authorization=f"Bearer {KEY}")
    assert code in (404, 405)
    assert "root:" not in said
    assert "fingerprint" not in said


async def test_a_corpus_is_searched_after_the_key(
    chrome: Any, corpus_url: str, images: dict[str, Path], demo_embedder: JinaEmbedder
) -> None:
    """By words and by an image, in one ranking with what was dropped; a wrong key opens nothing."""
    folder = images["pink cross"].parent.name
    someone = await person(chrome, corpus_url)
    await someone.page.goto(corpus_url)
    await someone.page.get_by_label("This page is open to people who know its key.").fill("wrong")
    await someone.page.keyboard.press("Enter")
    await someone.page.get_by_role("alert").get_by_text("That is not the key.").wait_for()
    assert status(corpus_url)[0] == 401
    await someone.page.locator("#key").fill(KEY)
    await someone.page.get_by_role("button", name="Open").click()
    await someone.page.get_by_text("Ready.", exact=True).wait_for(timeout=600_000)
    await someone.page.get_by_text("A corpus of 6 rows.").wait_for()
    assert (await someone.search("une étoile bleue"))[0] == f"1. {folder}/blue star.png"
    assert await someone.page.locator("ol.hits img").count() == 5
    other = encoded(draw("desert", seed=UNSEEN_SEED + 78, size=(300, 400)))
    await someone.pick({"name": "q.png", "mimeType": "image/png", "buffer": other}, to="question")
    assert (await someone.results("q.png"))[0] == f"1. {folder}/desert.png"
    await someone.pick({"name": "mine.png", "mimeType": "image/png", "buffer": images["pink cross"].read_bytes()})
    await someone.has_items(1)
    found = await someone.search("a pink cross")
    assert {title[3:] for title in found[:2]} == {"mine.png", f"{folder}/pink cross.png"}
    await someone.page.get_by_role("button", name=f"Where {folder}/pink cross.png matches").click()
    await someone.page.get_by_role("dialog").locator("img").wait_for()
    assert someone.errors == []


async def test_a_server_is_asked(chrome: Any, images: dict[str, Path], tmp_path: Path) -> None:
    """With its key from the environment; the page starts no engine."""
    key = "the-key-of-the-server"
    with (
        served("demo", tmp_path / "server", "--api-key", key, "--multi-vector") as server,
        shown(tmp_path / "log", "--server", server.url, VLLM_API_KEY=key) as url,
    ):
        someone = await (await person(chrome, url)).open()
        await someone.pick(*images.values())
        await someone.has_items(5)
        assert (await someone.search("a blue star"))[0] == "1. blue star.png"
        await someone.page.get_by_role("button", name="Where blue star.png matches").click()
        await someone.page.get_by_role("dialog").locator("img").wait_for()
    assert key not in (tmp_path / "log").read_text(errors="replace")
