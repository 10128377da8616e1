"""Module tarball_rekey, in process on real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import is_as_documented, reasons, run_module, tree_hash
from helpers.rekeyed import Site
from helpers.trees import FIRST

NOW = "2013/05/20/104701"


def rekey(site: Site, **options: Any) -> dict[str, Any]:
    """Call the module with the recipients of today and an identity of before."""
    given = {"encrypt_to": list(site.after), "identity": site.old.text, "stamp": NOW, "clock": NOW, **options}
    return run_module("tarball_rekey", base=str(site.base.path), **given)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return a source with a tarball of before."""
    site = Site(tmp_path)
    site.dump(FIRST)
    return site


def test_it_predicts_does_and_finds_nothing_left_to_do(site: Site) -> None:
    before = tree_hash(site.base.path)
    predicted = rekey(site, check=True)
    assert tree_hash(site.base.path) == before
    assert predicted["changed"] and [entry["relpath"] for entry in predicted["rekeyed"]] == [site.tarballs()[0].relpath]
    result = rekey(site)
    assert (result["changed"], result["failures"]) == (True, [])
    assert is_as_documented("tarball_rekey", result)
    site.require_good(site.new, site.kept)
    again = rekey(site)
    assert (again["changed"], again["rekeyed"], again["current"]) == (False, [], result["current"])


def test_an_item_of_its_own_recipients_and_a_file_of_the_host_do(site: Site) -> None:
    items = [{"kind": "folder", "name": "notes", "path": str(site.live), "encrypt_to": list(site.after)}]
    result = rekey(site, items=items, encrypt_to=[], identity="", identity_file=str(site.old.path))
    assert (result["changed"], result["failures"]) == (True, [])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"identity": ""}, "give the identity of one of the former recipients"),
        ({"encrypt_to": ["age1nonsense"]}, "is no whole recipient of age"),
        ({"step": "target", "target": "../cms01"}, "is no name of a target"),
        ({"targets": [".."]}, "is no name of a target"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_touched(site: Site, options: dict[str, Any], told: str) -> None:
    before = tree_hash(site.base.path)
    (reason,) = reasons(rekey(site, fail=False, **options))
    assert told in reason
    assert tree_hash(site.base.path) == before


def test_what_lies_there_for_targets_is_removed_at_the_end(site: Site) -> None:
    rekey(site, targets=["cms01"])
    assert (site.base.path / ".altbackup/rekey/cms01/came").is_dir()
    assert rekey(site, targets=["cms01"], encrypt_to=[], identity="")["failures"] == [], (
        "what encrypts nothing needs no key"
    )
    rekey(site, step="tidy")
    assert not (site.base.path / ".altbackup/rekey").exists()
