"""Check the links of the built site: `python scripts/site_links.py site`.

Every link, image, script and style inside the site leads to a file, every anchor to an id on its page. Links to other
hosts are listed by `--external` and never fetched.
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

HOST = "http://site.invalid/"


class Page(HTMLParser):
    """The ids and the links of a page, as written."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids.update(value for name in ("id", "name") if (value := found.get(name)))
        if tag != "base" and found.get("rel") not in ("canonical", "preconnect"):
            self.links += [found[name] for name in ("href", "src") if name in found]


def file_of(site: Path, path: str) -> Path:
    """Return the file that a server answers a path with."""
    file = site / unquote(path).lstrip("/")
    return file / "index.html" if path.endswith("/") or file.is_dir() else file


def address(site: Path, file: Path) -> str:
    """Return the address of a page."""
    return HOST + file.relative_to(site).as_posix().removesuffix("index.html")


def faults(site: Path) -> Iterator[str]:
    """Yield ``PAGE: LINK (reason)`` for each link that leads nowhere."""
    pages = {file: Page(file.read_text("utf-8")) for file in sorted(site.rglob("*.html"))}
    for file, page in pages.items():
        for link in page.links:
            whole = urljoin(address(site, file), link)
            if not whole.startswith(HOST):
                continue
            parts = urlsplit(whole)
            target = file_of(site, parts.path)
            if not target.is_file():
                yield f"{file.relative_to(site)}: {link} (no such file)"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                yield f"{file.relative_to(site)}: {link} (no such anchor)"


def external(site: Path) -> list[str]:
    """Return the addresses on other hosts that the pages link to or load from."""
    pages = [Page(file.read_text("utf-8")) for file in site.rglob("*.html")]
    return sorted({link for page in pages for link in page.links if link.startswith(("http:", "https:", "//"))})


def main(site: Path, *options: str) -> int:
    """Print the faults; return the exit code."""
    if "--external" in options:
        print("\n".join(external(site)))
    found = list(faults(site))
    number = len(list(site.rglob("*.html")))
    print("\n".join([*found, f"{number} pages, {len(found)} dead links"]))
    return 1 if found or not number else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
