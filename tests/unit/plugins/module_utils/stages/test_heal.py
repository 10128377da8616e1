"""Healing: which good copy may take the place of what rotted."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from helpers.tarballs import stamp_of

from ansible_collections.altbackup.core.plugins.module_utils.stages import heal as room
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.offer import Offer
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree.quarantine import Quarantined
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

RELPATH = f"svn/x/{stamp_of('01')}/x.tar"
GOOD, ROTTEN, OTHER = (Dna(letter * 64, 5) for letter in "abc")
ENTRY = Quarantined(RELPATH, "/q/x", GOOD, ROTTEN, stamp_of("05"))
MOMENT = Moment(stamp_of("10"), stamp_of("12"))


@pytest.mark.parametrize(
    ("dna", "entry"),
    [
        pytest.param(GOOD, ENTRY, id="what its sidecar says"),
        pytest.param(ROTTEN, ENTRY, id="what its bytes are, as the sidecar may have rotted"),
        pytest.param(ROTTEN, replace(ENTRY, dna=None), id="its sidecar cannot be read"),
        pytest.param(GOOD, replace(ENTRY, read=None), id="its bytes cannot"),
    ],
)
def test_a_copy_of_what_lies_in_the_quarantine_is_taken(dna: Dna, entry: Quarantined) -> None:
    assert room._awaited(Offer(RELPATH, dna, {}), entry, MOMENT) is entry


@pytest.mark.parametrize(
    ("dna", "entry"),
    [
        pytest.param(OTHER, ENTRY, id="another content"),
        pytest.param(replace(GOOD, size=6), ENTRY, id="another size"),
        pytest.param(replace(GOOD, alg="md5"), ENTRY, id="another digest"),
        pytest.param(GOOD, None, id="nothing lies there"),
        pytest.param(GOOD, replace(ENTRY, dna=None, read=None), id="nothing is known of it"),
    ],
)
def test_nothing_else_is_taken(dna: Dna, entry: Quarantined | None) -> None:
    said = f"{RELPATH} with {dna.alg} {dna.dig} is not what lies in the quarantine: it was not taken"
    with pytest.raises(AltbackupError, match=f"^{re.escape(said)}$"):
        room._awaited(Offer(RELPATH, dna, {}), entry, MOMENT)


@pytest.mark.parametrize(("day", "is_taken"), [("10", True), ("11", True), ("12", True), ("13", False)])
def test_what_is_of_a_time_that_has_not_come_is_not_taken(day: str, is_taken: bool) -> None:
    offer = Offer(f"svn/x/{stamp_of(day)}/x.tar", GOOD, {})
    if is_taken:
        assert room._awaited(offer, ENTRY, MOMENT) is ENTRY
        return
    with pytest.raises(AltbackupError, match="It was not taken"):
        room._awaited(offer, ENTRY, MOMENT)


@pytest.mark.parametrize("held", [RELPATH, f"svn/y/{stamp_of('02')}/y-5.tar.zst"])
def test_where_a_copy_lies_elsewhere_is_a_path_of_a_tarball(held: str) -> None:
    assert room._held({"held": held}) == held


@pytest.mark.parametrize(
    "held", ["", None, "../../etc/passwd", "/etc/passwd", f"{RELPATH}/x", f"{RELPATH}\0", 5, [RELPATH]]
)
def test_all_else_is_refused(held: Any) -> None:
    with pytest.raises(InvalidInput, match="x: it is not said where it lies elsewhere"):
        room._held({"relpath": "x", "held": held})
    with pytest.raises(InvalidInput, match="it is not said where it lies elsewhere"):
        room._held({})
