"""Drills on a scratch host: what goes there, and who is responsible for failures on the way."""

from __future__ import annotations

from typing import Any

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.drill import errand, errand_report, predicted

FULL = "svn/dybsvn/2013/05/09/104701/dybsvn-1.tar.zst"
DIFF = "svn/dybsvn/2013/05/10/104701/dybsvn-2.diff.tar.zst"
TREE = {
    "role": "target",
    "source": "dayabay",
    "node": "cms01",
    "base": "/copies/dayabay",
    "drill_host": "scratch01",
    "drill_folder": "/scratch",
    "drill_limit": 0,
    "drill_user": "nobody",
    "nice": 0,
    "ionice": "",
    "verify": {},
}
CHOSEN = [
    {
        "relpath": DIFF,
        "record": {"kind": "svn"},
        "tarballs": [{"relpath": FULL, "size": 70, "dna": "{}"}, {"relpath": DIFF, "size": 7, "dna": "{}"}],
    }
]
PEERS: dict[str, dict[str, Any]] = {
    "cms01": {"node": "cms01", "host": "203.0.113.7"},
    "scratch01": {"node": "scratch01", "host": "203.0.113.9"},
}


def test_an_errand_brings_a_differential_with_its_full_to_a_tree_of_its_own() -> None:
    planned = errand(TREE, CHOSEN, PEERS)
    assert planned["away"] == "/scratch/.altbackup-drill-cms01-dayabay"
    assert (planned["size"], planned["problem"], planned["chosen"]) == (77, "", CHOSEN)
    assert planned["carry"] == {
        "origin": {"node": "cms01", "host": "203.0.113.7", "folder": "/copies/dayabay"},
        "destination": {"node": "scratch01", "host": "203.0.113.9", "folder": planned["away"]},
        "relpaths": [FULL, DIFF],
    }
    own = errand({**TREE, "role": "source"}, CHOSEN, PEERS)
    assert own["away"] == "/scratch/.altbackup-drill-cms01-own"


def test_a_host_that_is_not_reached_by_ssh_is_a_problem() -> None:
    ways = {**PEERS, "scratch01": {"node": "scratch01", "problem": "is reached by docker, not by ssh"}}
    assert errand(TREE, CHOSEN, ways)["problem"] == "scratch01 is reached by docker, not by ssh"


def test_what_is_told_of_a_call_elsewhere_names_the_scratch_host() -> None:
    what = errand_report({"notes": ["old"], "unreachable": True}, [{"reason": "no route"}], "scratch01")
    assert what == {
        "failures": [{"reason": "drilled on scratch01: no route"}],
        "notes": ["drilled on scratch01: old"],
    }


def test_what_would_be_drilled_is_predicted() -> None:
    planned = errand(TREE, CHOSEN, PEERS)
    assert predicted({**planned, "size": 77 << 20}) == {
        "proved": [{"relpath": DIFF, "when": "", "node": "cms01"}],
        "notes": ["cms01: would bring 77 MiB of dayabay to scratch01 to drill them there"],
    }
