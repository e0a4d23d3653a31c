"""What the docs site needs beyond mkdocs: called by it while it builds (``hooks`` in mkdocs.yml).

- Pages of the repository's root (``CONTRIBUTING.md``) are pages of the site too.
- A link from a page to a file outside of ``docs/`` leads to a page that shows this file.
- An SVG image becomes part of its page, so that its colours follow the light and the dark scheme.
"""

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROOT_PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages outside of docs/, and what they are named in the site."""
WIDE = ("index.md", "models.md", "alternatives.md")
"""Pages whose tables take the place of the list of headings."""
SHOWN = "source/"
"""Where the site shows files of the repository."""

FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")
SVG = re.compile(r"!\[([^\]]*)\]\(([\w./-]+\.svg)\)")
LANGUAGES = {".py": "python", ".toml": "toml", ".yml": "yaml", ".json": "json", ".md": "markdown", "": "make"}


def origin(page: str) -> str:
    """Return where a page of the site lies in the repository."""
    return next((name for name, shown in ROOT_PAGES.items() if shown == page), f"docs/{page}")


def destination(path: str) -> str:
    """Return where the site has a file of the repository."""
    if path in ROOT_PAGES:
        return ROOT_PAGES[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{SHOWN}{path}.md"


def linked(page: str, markdown: str) -> Iterator[str]:
    """Yield the repository's files that a page links to."""
    for found in LINK.finditer(FENCE.sub("", markdown)):
        yield posixpath.normpath(posixpath.join(posixpath.dirname(origin(page)), found[2]))


def titles_of(pages: Mapping[str, str]) -> dict[str, str]:
    """Return the first heading of each page of docs/ and of the root, by the page's place in the site."""
    heads = {name: re.search(r"^# (.+)$", text, re.MULTILINE) for name, text in pages.items()}
    return {name: head[1] for name, head in heads.items() if head and not name.startswith(SHOWN)}


def redirected(page: str, markdown: str, titles: Mapping[str, str]) -> str:
    """Return a page whose links lead to where the site has these files; a link named `x.md` gets that page's title."""

    def replaced(found: re.Match[str]) -> str:
        name, target, anchor = found.groups()
        shown_at = destination(posixpath.normpath(posixpath.join(posixpath.dirname(origin(page)), target)))
        name = titles.get(shown_at, name) if posixpath.basename(name) == posixpath.basename(target) else name
        return f"[{name}]({posixpath.relpath(shown_at, posixpath.dirname(page) or '.')}{anchor or ''})"

    parts, end = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [LINK.sub(replaced, markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, LINK.sub(replaced, markdown[end:])])


def with_drawings(markdown: str, folder: Path) -> str:
    """Return a page with its SVG images inside; their own ``<style>`` is for where they stand alone."""

    def drawn(found: re.Match[str]) -> str:
        svg = re.sub(r"<style>.*?</style>", "", (folder / found[2]).read_text("utf-8"), flags=re.DOTALL)
        line = re.sub(r">\s+<", "><", svg).strip()
        return f'<figure class="drawing">{line}</figure>'

    return SVG.sub(drawn, markdown)


def notebook(text: str) -> str:
    """Return the cells of a notebook as Markdown; it is committed without outputs."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    return "\n\n".join(source if kind == "markdown" else f"``````python\n{source}\n``````" for kind, source in cells)


def shown(path: str) -> str:
    """Return a page that shows a file of the repository; the search leaves it out."""
    text = (ROOT / path).read_text("utf-8").rstrip("\n")
    meta = f"---\ntitle: {path}\nsearch: {{exclude: true}}\nhide: [toc]\n---\n"
    if path.endswith(".ipynb"):
        return f"{meta}\n{notebook(text)}\n\n`{path}`\n"
    language = LANGUAGES.get(Path(path).suffix, "text")
    return f"{meta}\n# {posixpath.basename(path)}\n\n`{path}`\n\n``````{language}\n{text}\n``````\n"


def on_files(files: Any, config: Any) -> Any:
    """Add the root's pages, and a page for each file outside of docs/ that a page links to."""
    from mkdocs.structure.files import File, InclusionLevel

    for name, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text("utf-8")))
    pages = {file.src_uri: file.content_string for file in files.documentation_pages()}
    paths = {path for page, text in pages.items() for path in linked(page, text)}
    for path in sorted(paths):
        if destination(path).startswith(SHOWN) and (ROOT / path).is_file():
            level = InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, destination(path), content=shown(path), inclusion=level))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Mend a page's links, draw its drawings, and make it wide."""
    if page.file.src_uri.startswith(SHOWN):
        return markdown
    if page.file.src_uri in WIDE:
        page.meta["hide"] = ["toc"]
    pages = {file.src_uri: file.content_string for file in files.documentation_pages()}
    return with_drawings(redirected(page.file.src_uri, markdown, titles_of(pages)), Path(config.docs_dir))
