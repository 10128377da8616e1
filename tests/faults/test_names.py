"""Items, folders and files with odd names, through the whole chain, pushed and pulled."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.conftest import Row
from faults.pairs import OLDER, Pairs
from helpers.trees import describe_tree, make_odd_tree, unpack
from integration.lab_site import DAY1, DAY2, LabSite, plant, repaired
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = [needs_namespaces, pytest.mark.full]

ITEMS = [
    "with space",
    "'single' and \"double\"",
    "$HOME `id` $(id)",
    "--checkpoint-action=exec=id",
    "a&b|c;d",
    "*?[x]",
    "日本語 é",
    "back\\slash",
]
sites = lab_fixture(["dayabay", "cms01", "sdu"], sources=["dayabay", "cms01", "sdu"])


@pytest.fixture
def lab_site(sites: Lab, tmp_path: Path) -> Iterator[LabSite]:
    """A site without hosts, whose lab is repaired afterwards."""
    with repaired(sites, tmp_path) as site:
        yield site


def test_odd_names_go_through_the_whole_chain(
    lab_site: LabSite, add_row: Callable[[Row], None], tmp_path: Path
) -> None:
    ways = {"cms01": "push", "sdu": "pull"}
    lab_site.add_source("dayabay", altbackup_targets=[*ways], altbackup_transport=ways)
    for name in ways:
        lab_site.add_target(name)
    live = lab_site.live_of("dayabay")
    for name in ITEMS:
        make_odd_tree(live / f"of {name}")
    lab_site.hosts["dayabay"]["altbackup_items"] = [
        {"kind": "folder", "name": name, "path": str(live / f"of {name}")} for name in ITEMS
    ]
    trees = [lab_site.tree("dayabay"), *(lab_site.tree("dayabay", name) for name in ways)]
    for tree, name in itertools.product(trees, ITEMS):
        plant(tree, f"folders/{name}", OLDER, f"an older night of {name}\n".encode())
    pairs = Pairs(lab_site, {"dayabay": [*ways]})
    run = lab_site.run("backup", stamp=DAY1)
    assert run.rc == 0, run.stdout
    assert pairs.wrong(healed=True) == []
    assert pairs.differences("dayabay", "sdu", "cms01") == []
    for number, name in enumerate(ITEMS):
        (tarball,) = (lab_site.tree("dayabay", "sdu") / "folders" / name / DAY1).glob("*.zst")
        top = unpack(tarball, tmp_path / f"out{number}")
        assert top.name == name
        assert describe_tree(top) == describe_tree(live / f"of {name}")
        subprocess.run(["rm", "-rf", "--", tmp_path / f"out{number}"], check=True)
    again = lab_site.run("backup", stamp=DAY1)
    assert (again.rc, again.changed) == (0, 0), again.stdout
    pairs.look()
    next_night = lab_site.run("backup", stamp=DAY2)
    assert next_night.rc == 0, next_night.stdout
    assert lab_site.sent(next_night) == {}
    for tree, name in itertools.product(trees, ITEMS):
        (first, second) = ((tree / "folders" / name / day / f"{name}.tar.zst").stat() for day in (DAY1, DAY2))
        assert first.st_ino == second.st_ino, f"{name} in {tree} is a file of its own"
    assert pairs.wrong(healed=True) == []
    seen = f"{len(ITEMS)} items with spaces, quotes, $, dashes ...; newlines and non-UTF-8 bytes in their files: rc 0, all restored as they were"
    add_row(Row("odd names (push and pull)", seen, rerun="nothing changed; next night links", bytes="0 sent"))
