"""What a node tells of itself is taken as far as it has its form; a node may say anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from helpers.findings import healthy, judged, wrong

from ansible_collections.altbackup.core.plugins.module_utils.stages.examine import Questions, examine
from ansible_collections.altbackup.core.plugins.module_utils.stages.survey import survey
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.peers import Peer
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.plugin_utils.doctor.facts import examined_facts, surveyed_facts

BASE = {"base": "/b", "role": "source"}
TRIED = {"node": "cms01", "fetch": False}
SURVEY: dict[str, Any] = {"uid": 0, "repositories": [], "folders": [], "unseen": [], "cut": False}


def test_all_that_a_node_tells_as_it_should_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".altbackup").mkdir()
    owners = [
        {"base": str(base), "role": role, "name": "here", "source": "here"}
        for base, role in ((tmp_path, "source"), (tmp_path / "none", "target"))
    ]
    peer = Peer("here", "/none", host="127.0.0.1", port=1, ssh_key=str(tmp_path / "key"))
    asked = Questions(
        owners=owners,
        tools=["tar", "no-such-tool"],
        ext=".tar",
        items=[{"kind": "folder", "name": "x", "path": "/none"}],
        discover={"git": str(tmp_path)},
        peers=[peer],
        logins=["", "no-such-user"],
        now=1.8e9,
    )
    facts = examine(asked)
    sound, odd = examined_facts(facts)
    assert odd == []
    assert set(facts) == set(sound)
    for own in healthy().values():
        assert examined_facts(own) == (own, [])


@pytest.mark.parametrize(
    "odd",
    [
        {"user": ["root"]},
        {"uid": True},
        {"uid": "0"},
        {"asked": float("nan")},
        {"began": "1000"},
        {"ended": [1]},
        {"system": "debian"},
        {"tools": ["rsync"]},
        {"tools": {"rsync": ["3.2"]}},
        {"missing_compressor": "zstd"},
        {"space": 7},
        {"bases": "/b"},
        {"bases": [1]},
        {"bases": [{}]},
        {"bases": [{**BASE, "role": "evil"}]},
        {"bases": [{**BASE, "mode": "abc"}]},
        {"bases": [{**BASE, "mode": "07777"}]},
        {"bases": [{**BASE, "free": "lots"}]},
        {"bases": [{**BASE, "inode": {}}]},
        {"bases": [{**BASE, "above": "/"}]},
        {"boot": {}},
        {"machine": 1},
        {"items": ["x"]},
        {"items": [{"key": "folders/x"}]},
        {"discovered": [{"count": "many"}]},
        {"discovered": [{"problems": 1}]},
        {"peers": ["x"]},
        {"peers": [{"node": "cms01"}]},
        {"peers": [{**TRIED, "key": "x"}]},
        {"peers": [{**TRIED, "key": {"mode": "rw"}}]},
        {"peers": [{**TRIED, "dialled": {"port": "22"}}]},
        {"peers": [{**TRIED, "said": {"a": 1}}]},
        {"host_keys": [1]},
        {"authorized": ["x"]},
        {"authorized": {"backup": {}}},
        {"authorized": {"backup": {"path": "/x", "problem": None}}},
        {"peers": [{**TRIED, "key": None}]},
        {"bases": [{"base": None, "role": "source"}]},
        {"authorized": {"backup": {"path": "/x", "lines": "all"}}},
        {"authorized": {"backup": {"path": "/x", "loose": [{}]}}},
    ],
    ids=str,
)
@pytest.mark.parametrize("node", ["dayabay", "cms01"])
def test_what_is_no_fact_is_left_out_and_told_and_all_else_is_judged(node: str, odd: dict[str, Any]) -> None:
    facts = healthy()
    facts[node].update(odd)
    facts["cms01" if node == "dayabay" else "dayabay"]["space"] = ["the disk is small"]
    assert examined_facts(facts[node])[1] == list(odd)
    told = [(place, what) for place, what, _ in wrong(judged(facts))]
    assert (node, "facts") in told
    assert ("cms01" if node == "dayabay" else "dayabay", "space") in told, "the other node is judged all the same"


@pytest.mark.parametrize("facts", [None, [], "x", 7])
def test_what_is_no_mapping_tells_nothing(facts: Any) -> None:
    assert examined_facts(facts) == ({}, ["all"])
    assert surveyed_facts(facts) is None


def test_what_is_not_there_is_no_lie() -> None:
    assert examined_facts({"asked": None, "odd": object()}) == ({}, [])


def test_a_survey_is_taken_whole(tmp_path: Path) -> None:
    (tmp_path / "x.git" / "refs").mkdir(parents=True)
    (tmp_path / "x.git" / "objects").mkdir()
    (tmp_path / "x.git" / "HEAD").write_text("ref: refs/heads/main\n")
    found = {"uid": os.geteuid(), **survey([str(tmp_path)], [str(tmp_path)], Deadline())}
    assert [entry["kind"] for entry in found["repositories"]] == ["git"]
    assert surveyed_facts(found) == found


@pytest.mark.parametrize(
    "odd",
    [
        {"uid": None},
        {"cut": "no"},
        {"folders": "/etc"},
        {"folders": ["etc"]},
        {"folders": ["/a\nb: c"]},
        {"unseen": [1]},
        {"repositories": [{"kind": "git"}]},
        {"repositories": [{"kind": "git\n  evil: /", "path": "/x"}]},
        {"repositories": [{"kind": "evil", "path": "/x"}]},
        {"repositories": [{"kind": "git", "path": "x"}]},
        {"repositories": {"kind": "git", "path": "/x"}},
    ],
    ids=str,
)
def test_a_survey_of_another_form_is_none(odd: dict[str, Any]) -> None:
    assert surveyed_facts(SURVEY) == SURVEY
    assert surveyed_facts({**SURVEY, **odd}) is None
