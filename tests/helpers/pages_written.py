"""Pages of records, each of which must be sound."""

from __future__ import annotations

from pathlib import Path

from helpers.page_reader import Page, pages_of
from helpers.page_records import NOW

from ansible_collections.altbackup.core.plugins.plugin_utils.history.store import Record, write_records
from ansible_collections.altbackup.core.plugins.plugin_utils.page.render import page_of
from ansible_collections.altbackup.core.plugins.plugin_utils.page.write import write_page

ITEM = ("dayabay", "svn", "dybsvn")


def written(folder: Path, *records: Record, now: float = NOW) -> dict[str, Page]:
    """Write records to a history and the page of it; return its pages, each of which must be sound."""
    assert write_records("", list(records), 500, now) == []
    assert write_page(str(folder / "page"), (), now) == folder / "page" / "index.html"
    pages = pages_of(folder / "page")
    for name, page in pages.items():
        assert page.dead_links() == [], name
        assert len(page.ids) == len(set(page.ids)), name
        assert len(page.scripts) == 1, name
        assert not [entry for entry in page.attributes if entry[1].startswith("on") or entry[1] == "style"], name
        assert not {"img", "iframe", "object", "base", "link"} & set(page.tags), name
    return pages


def item(pages: dict[str, Page], key: tuple[str, str, str] = ITEM) -> Page:
    """Return the page of an item."""
    return pages[f"items/{page_of(key)}"]
