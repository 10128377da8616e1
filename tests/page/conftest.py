"""A real browser: Debian's chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

SHOTS = Path(__file__).resolve().parents[2] / "var" / "page"
_OPTIONS = (
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 120_000.0
"""Milliseconds"""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser without a profile."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("there is no chromium here: make page installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_OPTIONS), timeout=PATIENCE)
        yield browser
        browser.close()


@dataclass
class Look:
    """An opened page."""

    page: Page
    said: list[str] = field(default_factory=list)
    """Messages of its console, errors and others"""
    asked: list[str] = field(default_factory=list)
    """Addresses that it loaded"""


@pytest.fixture
def look(browser: Browser) -> Iterator[Any]:
    """Open a file at a width, light or dark."""
    contexts = []

    def opened(path: Path, width: int = 1280, scheme: str = "light", **more: Any) -> Look:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        found = Look(context.new_page())
        found.page.on("console", lambda message: found.said.append(message.text))
        found.page.on("pageerror", lambda error: found.said.append(str(error)))
        found.page.on("dialog", lambda dialog: (found.said.append(dialog.message), dialog.dismiss()))
        found.page.on("request", lambda request: found.asked.append(request.url))
        found.page.goto(path.as_uri())
        return found

    yield opened
    for context in contexts:
        context.close()
