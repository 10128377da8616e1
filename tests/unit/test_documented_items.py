"""The inventories that the pages show are such: their YAML is read, and the plan finds no error in it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.inventories import plan_of

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "docs" / "applications.md"
PAGES = sorted(path for path in (ROOT / "docs").glob("*.md") if "altbackup_items:" in path.read_text())
INVENTORY = re.compile(r"altbackup_\w+: |altbackup_items:|- \{?kind: |before: ")
OTHER = re.compile(r"bin/altbackup |#!/bin/sh")
CONTROLLERS = re.compile(r"(?m)^altbackup_encrypt_to: .*\n")
"""A setting whose file is the controller's, not the page's"""


def blocks(page: Path) -> list[str]:
    """Return the blocks of code of a page, without their indentation."""
    found = re.findall(r"(?m)(?:^    .*\n(?:\n+(?=    ))?)+", page.read_text(encoding="utf-8"))
    return [CONTROLLERS.sub("", re.sub(r"(?m)^    ", "", block)) for block in found]


def settings_of(block: str) -> dict[str, Any]:
    """Return what a block says as variables of a source: settings, items, or keys of an item."""
    said = yaml.safe_load(block)
    if isinstance(said, list):
        return {"altbackup_items": said}
    if "before" in said:
        return {"altbackup_items": [{"kind": "folder", "name": "srv", "path": "/srv", **said}]}
    return dict(said)


SHOWN = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks(page), 1)
    if INVENTORY.match(block) and (page == RECIPES or "altbackup_items:" in block)
]


@pytest.mark.parametrize("block", SHOWN)
def test_an_inventory_that_a_page_shows_has_no_error(block: str) -> None:
    plan = plan_of({"dayabay": settings_of(block)})
    assert plan["errors"] == []
    source = plan["sources"]["dayabay"]
    assert source["item_errors"] == []
    assert source["item_list"] or source["hooks"]


def test_scripts_of_recipes_are_such() -> None:
    scripts = [block for block in blocks(RECIPES) if block.startswith("#!/bin/sh")]
    assert scripts
    for script in scripts:
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_no_recipe_is_left_out() -> None:
    assert [block for block in blocks(RECIPES) if not INVENTORY.match(block) and not OTHER.match(block)] == []
    recipes = re.findall(r"(?m)^### (.*)$", RECIPES.read_text(encoding="utf-8"))
    assert [title for title in recipes if not re.search(r"\((not )?tried\)$", title)] == []
