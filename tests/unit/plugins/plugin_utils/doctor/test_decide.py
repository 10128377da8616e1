"""The doctor's judgement of facts: each fault is named at its place, with its remedy; what is right is named, too."""

from __future__ import annotations

from helpers.findings import DENIED, PAIR, authorized_with, healthy, judged, wrong


def test_what_is_right_is_said_to_be_so_and_mends_nothing() -> None:
    findings = judged(healthy())
    assert {finding.state for finding in findings} == {"ok"}
    assert {finding.mend for finding in findings} == {""}
    looked_at = {(finding.pair or finding.node, finding.what) for finding in findings}
    assert {
        ("dayabay -> cms01", what) for what in ("name", "host key", "key", "forced command", "way", "one machine")
    } < looked_at
    assert {("cms01", what) for what in ("way", "python", "clock", "tools", "base of the target")} < looked_at


def test_what_cannot_be_known_is_unknown_and_the_other_side_is_judged_all_the_same() -> None:
    facts = healthy()
    facts["cms01"]["bases"][0]["marker"] = False
    said = {
        "dayabay": {
            "facts": {},
            "unreachable": True,
            "said": "ssh: connect to host dayabay port 22: Connection refused",
        }
    }
    findings = judged({"cms01": facts["cms01"]}, said=said)
    assert [(place, what) for place, what, _ in wrong(findings)] == [("dayabay", "port"), ("cms01", "marker")]
    assert (PAIR, "way") in [(finding.pair, finding.what) for finding in findings if finding.state == "unknown"]


def test_what_mends_nodes_is_told_before_what_sets_up_pairs_between_them() -> None:
    facts = healthy()
    authorized_with(DENIED, lines=[])(facts)
    facts["cms01"].update(boot="1")
    facts["cms01"]["bases"][0].update(inode=facts["dayabay"]["bases"][0]["inode"])
    told = [(place, what) for place, what, _ in wrong(judged(facts))]
    assert told.index(("cms01", "one place")) < told.index((PAIR, "key"))
