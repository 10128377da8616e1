"""A page of HTML, parsed as strictly as it was written, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_VOID = {"meta", "input", "br", "img", "link", "hr"}


@dataclass
class Page(HTMLParser):
    """A parsed page; wrong nesting is an AssertionError."""

    path: Path
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    """(tag, name, value)"""
    scripts: list[str] = field(default_factory=list)
    text: str = ""
    """All visible text, with single spaces"""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self.feed(self.path.read_text(encoding="utf-8"))
        self.close()
        assert self._open == [], f"{self.path}: not closed: {self._open}"
        self.text = " ".join(self.text.split())

    def __hash__(self) -> int:
        return id(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that has no end of its own."""
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        """Require that the tag ends what was opened last."""
        assert self._open and self._open[-1] == tag, f"{self.path}: </{tag}> in {self._open}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if "script" in self._open:
            self.scripts.append(data)
        elif "style" not in self._open:
            self.text += f"{data} "

    def dead_links(self) -> list[str]:
        """Return the links that lead to no file beside this page."""
        dead = []
        for link in self.links:
            parts = urlsplit(link)
            target = self.path if not parts.path else (self.path.parent / unquote(parts.path)).resolve()
            if (
                parts.scheme
                or parts.netloc
                or not target.is_file()
                or (not parts.path and parts.fragment not in self.ids)
            ):
                dead.append(link)
        return dead


def pages_of(folder: Path) -> dict[str, Page]:
    """Return {name: page} of the folder of a page."""
    return {path.relative_to(folder).as_posix(): Page(path) for path in sorted(folder.rglob("*.html"))}
