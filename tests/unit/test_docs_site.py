"""What `make docs` builds the site from is whole: seen without building it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import charts
from scripts import site_hooks, site_links
from tests.unit.test_layers import PUBLIC

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CONFIG = (ROOT / "mkdocs.yml").read_text("utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
LOCKS = ("cpu", "dev", "light", "docs")


class Loader(yaml.SafeLoader):
    """YAML in which mkdocs names Python objects; they are of no concern here."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)


def in_nav(config: str) -> list[str]:
    """Return the pages of the navigation, in its order."""

    def names(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        for child in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
            yield from names(child)

    return list(names(yaml.load(config, Loader)["nav"]))


def nav_faults(config: str, docs: set[str]) -> Iterator[str]:
    """Yield what the navigation lacks, has twice, or has without a page."""
    named = in_nav(config)
    pages = docs | set(site_hooks.ROOT_PAGES.values())
    yield from (
        f"{name} is in the nav {named.count(name)} times" for name in sorted(set(named)) if named.count(name) > 1
    )
    yield from (f"{name} is in the nav, and not in docs/" for name in sorted(set(named) - pages))
    yield from (f"{name} is not in the nav of mkdocs.yml: add it, or uncomment its line" for name in pages - set(named))


def test_every_page_is_in_the_navigation_once() -> None:
    assert list(nav_faults(CONFIG, {page.name for page in DOCS.glob("*.md")})) == []


def test_a_page_that_is_missing_twice_there_or_not_written_is_seen() -> None:
    docs = {page.name for page in DOCS.glob("*.md")}
    line = "      - MCP: mcp.md\n"
    assert CONFIG.count(line) == 1
    assert "mcp.md is not in the nav" in "".join(nav_faults(CONFIG.replace(line, ""), docs))
    assert "mcp.md is in the nav 2 times" in "".join(nav_faults(CONFIG.replace(line, line * 2), docs))
    assert "mcp.md is in the nav, and not in docs/" in "".join(nav_faults(CONFIG, docs - {"mcp.md"}))


def described(pages: dict[str, str]) -> set[str]:
    """Return the names that the pages of the API describe."""
    return {name for text in pages.values() for name in re.findall(r"^::: (\S+)$", text, re.MULTILINE)}


def test_the_api_pages_describe_every_public_name() -> None:
    """And no other; a name of the package itself that a folder exports too stands with the package."""
    top = PUBLIC["__init__.py"] - {"__version__"}
    names = {f"vllm_jina_embed.{name}" for name in top}
    for place in PUBLIC.keys() - {"__init__.py"}:
        folder = Path(place).parent.name
        shared = top if folder == "late_interaction" else set()
        names |= {f"vllm_jina_embed.{folder}.{name}" for name in PUBLIC[place] - shared}
    assert described({page.name: page.read_text("utf-8") for page in DOCS.glob("api*.md")}) == names


def test_the_drawings_are_those_of_the_figures() -> None:
    """`python -m benchmarks.charts` writes them."""
    result = json.loads((DOCS / "performance.json").read_text("utf-8"))
    drawings = charts.drawings(result)
    assert {page.name for page in DOCS.glob("performance-*.svg")} == set(drawings)
    page = (DOCS / "performance.md").read_text("utf-8")
    for name, svg in drawings.items():
        assert (DOCS / name).read_text("utf-8") == svg, name
        assert f"]({name})" in page


def test_a_drawing_shows_medians_and_leaves_out_who_cannot() -> None:
    seconds = {"ours": [1.0, 2.0, 9.0], "bare vLLM": [4.0, 4.0, 4.0], "transformers": [1.0]}
    assert charts.speeds({"items": 8, "seconds": seconds}) == {"ours": 4.0, "bare vLLM": 2.0}
    svg = charts.drawing("a & b", {"loads": {"short": {"items": 8, "seconds": seconds}}})
    assert re.findall(r'<rect class="([a-z ]+)" [^>]*width="([\d.]+)"', svg) == [
        ("bar ours", "200.0"),
        ("bar", "100.0"),
    ]
    assert "a &amp; b" in svg
    assert "transformers" not in svg


# --- links ------------------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site write them."""
    headings = re.findall(r"^#+ (.+)$", site_hooks.FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_anchors(page: Path, text: str) -> list[str]:
    links = re.findall(r"\]\(([^):\s]*)#([^)\s]+)\)", site_hooks.FENCE.sub("", text))
    targets = [(page.parent / name if name else page, anchor) for name, anchor in links]
    return [f"{target.name}#{anchor}" for target, anchor in targets if anchor not in anchors(target.read_text("utf-8"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_anchors_are_headings(page: Path) -> None:
    assert dead_anchors(page, page.read_text("utf-8")) == []


def test_a_dead_anchor_is_seen() -> None:
    page = DOCS / "media.md"
    assert dead_anchors(page, "[a](server.md#serve) [b](#limits)") == []
    assert dead_anchors(page, "[a](server.md#sevre) [b](#limts)") == ["server.md#sevre", "media.md#limts"]


@pytest.mark.parametrize(
    ("page", "text", "shown"),
    [
        ("a.md", "[x](b.md#c)", "[x](b.md#c)"),
        ("a.md", "[b.md](b.md)", "[The other](b.md)"),
        ("a.md", "[t](../tests/unit/x.py)", "[t](source/tests/unit/x.py.md)"),
        ("a.md", "[c](../CONTRIBUTING.md#set-up)", "[c](contributing.md#set-up)"),
        ("contributing.md", "[b](docs/b.md), [c](CHANGELOG.md)", "[b](b.md), [c](changelog.md)"),
        ("a.md", "[s](https://example.org/b.md), [h](#here)", "[s](https://example.org/b.md), [h](#here)"),
        ("a.md", "```text\n[b.md](b.md)\n```\n", "```text\n[b.md](b.md)\n```\n"),
    ],
)
def test_links_lead_to_where_the_site_has_the_file(page: str, text: str, shown: str) -> None:
    assert site_hooks.redirected(page, text, {"b.md": "The other"}) == shown


def test_a_file_that_is_shown_keeps_its_fences() -> None:
    """A page whose code holds a fence itself."""
    text = site_hooks.shown("scripts/site_hooks.py")
    assert text.count("``````python\n") == 1
    assert text.rstrip().endswith("``````")
    assert "exclude: true" in text


def test_a_notebook_is_shown_as_its_cells() -> None:
    text = site_hooks.shown("examples/19_images_to_answers.ipynb")
    assert text.count("\n# From a folder of images to answers with citations\n") == 1
    assert text.count("``````python\n") == text.count("\n``````\n") > 5
    assert "cell_type" not in text


def test_drawings_become_part_of_their_page() -> None:
    text = site_hooks.with_drawings("![The way](picture.svg)\n\n![a photo](sunset.png)", DOCS)
    assert text.startswith('<figure class="drawing"><svg')
    assert "<style>" not in text
    assert "\n\n![a photo](sunset.png)" in text


def test_dead_links_of_a_built_site_are_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "index.html").write_text('<h1 id="top">x</h1><a href="a/">a</a><a href="a/#one">b</a><a href="/">c</a>')
    (tmp_path / "a" / "index.html").write_text(
        '<p id="one"><a href="../#top">a</a><a href="https://example.invalid/">e'
    )
    assert list(site_links.faults(tmp_path)) == []
    assert site_links.main(tmp_path) == 0
    (tmp_path / "a" / "index.html").write_text('<a href="../b/">a</a><a href="../#end">b</a><img src="c.png">')
    assert list(site_links.faults(tmp_path)) == [
        "a/index.html: ../b/ (no such file)",
        "a/index.html: ../#end (no such anchor)",
        "a/index.html: c.png (no such file)",
        "index.html: a/#one (no such anchor)",
    ]
    assert site_links.main(tmp_path) == 1


def test_an_empty_site_is_not_a_good_one(tmp_path: Path) -> None:
    assert site_links.main(tmp_path) == 1


# --- locks ------------------------------------------------------------------------------------------------------------


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "locks" / f"{name}.txt").read_text("utf-8").splitlines()
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", "\n".join(lines), re.MULTILINE))


def test_the_lock_has_what_its_input_names() -> None:
    wanted = re.findall(r"^([\w-]+)", (ROOT / "locks" / "docs.in").read_text("utf-8"), re.MULTILINE)
    assert "mkdocs-material" in wanted
    assert set(wanted) <= pins("docs").keys()


def contradictions(locks: list[dict[str, str]]) -> dict[str, set[str]]:
    """Return the packages that locks have in several versions."""
    versions: dict[str, set[str]] = {}
    for lock in locks:
        for name, version in lock.items():
            versions.setdefault(name, set()).add(version)
    return {name: found for name, found in versions.items() if len(found) > 1}


def test_no_two_locks_contradict_each_other() -> None:
    locks = [pins(lock) for lock in LOCKS]
    assert min(map(len, locks)) > 30
    assert contradictions(locks) == {}
    assert contradictions([*locks, {"click": "0.1", "other": "1"}])["click"] >= {"0.1"}
