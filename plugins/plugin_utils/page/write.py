"""Writes the page of inventories, from their histories, into a folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from importlib.util import find_spec
from pathlib import Path

from ...module_utils.system.errors import AltbackupError
from ...module_utils.tree.failures import explain
from ..history.store import opened
from ..history.versions import collection_version
from .folder import write_folder
from .site import items, read_site


def write_page(folder: str, inventory: Sequence[str], now: float) -> Path:
    """Write how copies stand and runs went; return the first page. `inventory` is as `opened` takes it, `now` in seconds since 1970.

    Raise AltbackupError or OSError.
    """
    if find_spec("jinja2") is None:
        raise AltbackupError("the page is written by Jinja2, which this Python lacks; that of Ansible has it")
    from jinja2 import TemplateError

    from .render import INDEX, ITEMS, Pages

    with ExitStack() as stack:
        histories = opened(inventory)
        for history in histories:
            stack.enter_context(closing(history.database))
        try:
            site = read_site(histories, now)
            pages = Pages(site, collection_version())

            def first() -> Iterator[tuple[str, str]]:
                yield INDEX, pages.index()

            write_folder(folder, site.inventories, ITEMS, pages.items(items(histories, site)), first())
        except TemplateError as error:
            raise AltbackupError(f"a template of the page is wrong: {error}") from error
        except sqlite3.Error as error:
            raise AltbackupError(f"the history cannot be read: {error}") from error
    return Path(folder, INDEX)


def noted_page(folder: str, inventory: Sequence[str], now: float) -> list[str]:
    """Write the page; return notes on why that failed, instead of raising."""
    try:
        write_page(folder, inventory, now)
    except (AltbackupError, OSError) as error:
        return [f"the page was not written to {folder} (altbackup_report_dir): {explain(error)}"]
    return []
