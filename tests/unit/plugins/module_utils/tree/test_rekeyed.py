"""What takes the places of a target's tarballs that were encrypted to others."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.pair import Pair
from helpers.rekeyed import KEY, NOW, Site, with_differentials
from helpers.trees import FIRST, SECOND, THIRD

from ansible_collections.altbackup.core.plugins.module_utils.synchronize import accept
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.offer import CARRIED
from ansible_collections.altbackup.core.plugins.module_utils.tree import rekeyed
from ansible_collections.altbackup.core.plugins.module_utils.tree.arrivals import arrivals
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.leftovers import remove_leftovers
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import held
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import read_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return a source with a chain."""
    site = Site(tmp_path)
    with_differentials(site)
    return site


@pytest.fixture
def pair(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Return the source and a target that has all of it."""
    monkeypatch.setattr("helpers.pair.NOW", NOW)
    (tmp_path / "cms01/.altbackup").mkdir(parents=True)
    pair = Pair(site.base.path, tmp_path / "cms01", options={"day": "2013/05/31", "keep": 9})
    assert pair.run(moment=NOW) == []
    return pair


def replace(pair: Pair, **entry: Any) -> dict[str, Any]:
    """Bring what the source has now; return the result of accepting it."""
    prepared = pair.prepare(rekeyed=True, carried=True)
    for one in prepared["tarballs"]:
        place = pair.incoming / CARRIED / one["relpath"]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(pair.source / one["relpath"], place)
        one.update(entry)
    with held(open_tree(str(pair.tree)), None) as hold:
        return accept.accept(hold, prepared["tarballs"], moment=NOW, carried=True, rekeyed=True)


def test_a_night_touches_neither_and_says_what_to_do(site: Site, pair: Pair) -> None:
    before = pair.there()
    site.rekey()
    found = pair.run(moment=NOW)
    assert len(found) == 3
    assert all("encrypted it anew since: altbackup.core.rekey does so here" in reason for reason in found)
    assert pair.there() == before


def test_it_takes_their_places_with_their_arrivals(site: Site, pair: Pair) -> None:
    tree = open_tree(str(pair.tree))
    came = arrivals(tree, KEY)
    site.rekey()
    result = replace(pair)
    assert result["failures"] == []
    assert pair.there() == {one.relpath: (site.base.path / one.relpath).read_bytes() for one in site.tarballs()}
    assert arrivals(tree, KEY) == came
    assert all(one.verified for one in scan(tree).tarballs)
    for stamp in (FIRST, SECOND, THIRD):
        assert read_record(tree, KEY, stamp)["to"] == list(site.after)
    assert pair.run(moment=NOW) == []
    assert list(pair.incoming.rglob("*.age")) == []


def test_what_holds_something_else_is_not_replaced(site: Site, pair: Pair) -> None:
    site.rekey()
    before = pair.there()
    result = replace(pair, record={**site.record(FIRST), "content": "0" * 64})
    assert ["holds something else here" in entry["reason"] for entry in result["failures"]] == [True] * 3
    assert pair.there() == before


class Killed(BaseException):
    """A kill."""


@pytest.mark.sampled(6)
@pytest.mark.parametrize("step", ["write_text", "flush_folder", "write_record", "write_sidecar"])
def test_a_kill_leaves_one_or_the_other_whole(
    site: Site, pair: Pair, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    site.rekey()

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(rekeyed, "settle", lambda *_: "")
        patch.setattr(rekeyed, step, killed)
        with pytest.raises(Killed):
            replace(pair)
    remove_leftovers(open_tree(str(pair.tree)))
    assert set(pair.there()) == {one.relpath for one in site.tarballs()}
    assert replace(pair)["failures"] == []
    assert pair.there() == {one.relpath: (site.base.path / one.relpath).read_bytes() for one in site.tarballs()}
