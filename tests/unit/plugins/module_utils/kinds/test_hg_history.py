"""Loss of Mercurial's public history is found."""

from __future__ import annotations

from helpers.trees import FIRST

from ansible_collections.altbackup.core.plugins.module_utils.kinds import hg as kind


def test_vanished_heads_are_named() -> None:
    good = {"public_heads": ["a" * 40, "b" * 40], "relpath": f"hg/thing/{FIRST}/thing.tar.zst"}
    assert kind.doubts_of(good, {"a" * 40, "b" * 40}) == []
    assert kind.doubts_of(good, {"b" * 40}) == [f"1 public head of the dump of {FIRST} vanished: aaaaaaaaaaaa"]
    assert kind.doubts_of({}, set()) == []


def test_what_mercurial_says_is_read_whatever_its_order() -> None:
    one = kind.parse_state(b"a public\nb secret\n", b"a main line\n", b"m1\nm2\n")
    other = kind.parse_state(b"b secret\na public\n", b"a main line\n", b"m2\nm1\n")
    assert one.facts == other.facts and one.facts["changesets"] == 2 and one.changesets[0] == ("a", "public")
    assert (
        kind.parse_state(b"a public\nb draft\n", b"a main line\n", b"m1\nm2\n").facts["history"] != one.facts["history"]
    )


def test_extensions_are_those_that_formats_require() -> None:
    assert "extensions.largefiles=" in kind.options(["revlogv1", "largefiles"])
    assert not any("extensions" in word for word in kind.options(["revlogv1"]))
