"""What goes from a source to which target."""

from __future__ import annotations

from typing import Any

from helpers.plans import GIT, PLAN, SVN, TREE, loop

from ansible_collections.altbackup.core.plugins.module_utils.synchronize.offer import parse_offers
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.connections import peers, source_peers
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.transfers import (
    deliveries,
    deliveries_again,
    sendable,
)
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.trees import busy_trees
from ansible_collections.altbackup.core.plugins.plugin_utils.report import outcomes


def test_what_a_check_of_the_source_found_bad_is_not_sent() -> None:
    listed = {
        "tarballs": [
            {"relpath": path, "size": 1, "dig": "0", "alg": "sha256", "state": state}
            for path, state in ((SVN, "verified"), (GIT, "missing"))
        ]
    }
    assert [entry["relpath"] for entry in sendable(listed, {})] == [SVN]
    bad = outcomes.record({}, {"failures": [{"reason": "does not match", "relpath": SVN}]}, "check", "dayabay")
    assert sendable(listed, bad) == []
    elsewhere = outcomes.record(
        {}, loop({"failures": [{"reason": "does not match", "relpath": SVN}]}), "check", "dayabay"
    )
    assert len(sendable(listed, elsewhere)) == 1, "a bad copy on a target is no reason not to send"


def test_tarball_with_a_strange_name_keeps_no_other_from_being_sent() -> None:
    strange = "svn/dybsvn/2013/05/08/104701/apache2.tar.gz"
    listed = {
        "tarballs": [
            {"relpath": path, "size": 1, "dig": "0", "alg": "sha256", "state": "verified"}
            for path in (strange, f".snapshot/{SVN.partition('/')[2]}", SVN)
        ]
    }
    assert [entry.relpath for entry in parse_offers(sendable(listed, {}))] == [SVN]


def prepared(*nodes: str, **more: Any) -> dict[str, Any]:
    """Return what preparing these targets registered, each of which lacks one tarball."""
    tree = {**TREE, "nice": 10, "ionice": "idle"}
    calls = [{"ansible_loop_var": "tree", "tree": {**tree, "node": node}, "incoming": "/in"} for node in nodes]
    return {"results": [{**entry, "send": [SVN], **more} for entry in calls]}


def test_deliveries_name_how_each_target_is_reached() -> None:
    known = [{"relpath": SVN, "size": 7, "dig": "0", "alg": "md5"}]
    remote, local = deliveries(PLAN, "dayabay", prepared("cms01", "sdu"), known)
    assert remote["tarballs"] == known
    assert (remote["fetched"], remote["source"], remote["nice"], remote["ionice"]) == (False, {}, 10, "idle")
    assert remote["peer"] == {
        "node": "cms01",
        "folder": "/copies/.altbackup/incoming/dayabay",
        "host": "cms01.example.org",
        "port": 2222,
        "ssh_key": "~/.ssh/key",
        "connect_timeout": 20.0,
        "io_timeout": 60.0,
        "bwlimit": "2048b",
        "min_rate": 2048,
        "nice": 10,
        "ionice": "idle",
    }
    assert not {"host", "port", "user", "ssh_key"} & set(local["peer"]), "nothing is dialled on one machine"
    assert None not in [*remote.values(), *local.values()], (
        "older versions of Ansible hand it to modules as an empty text"
    )
    assert "ssh_args" not in remote["peer"], "what is in a result is shown"
    assert peers(PLAN, "dayabay") == [remote["peer"]]
    assert source_peers(PLAN, "dayabay", "cms01") == []


def test_targets_that_fetch_are_told_how_they_reach_the_source_and_come_last() -> None:
    source = PLAN["sources"]["dayabay"] | {"transport": {"cms01": "pull", "sdu": "push"}}
    plan = {**PLAN, "sources": {"dayabay": source}}
    pushed, fetched = deliveries(plan, "dayabay", prepared("cms01", "sdu"), [], [SVN])
    assert (pushed["node"], fetched["node"], fetched["fetched"]) == ("sdu", "cms01", True)
    assert fetched["source"] == {
        "node": "dayabay",
        "folder": "/backup/.altbackup/outgoing/cms01",
        "host": "dayabay.example.org",
        "port": 2200,
        "user": "scm",
        "ssh_key": "~/.ssh/fetch",
        "connect_timeout": 20.0,
        "io_timeout": 60.0,
        "bwlimit": "2048b",
        "min_rate": 2048,
        "nice": 5,
    }
    assert peers(plan, "dayabay") == []
    assert source_peers(plan, "dayabay", "cms01") == [fetched["source"]]
    assert source_peers(plan, "dayabay", "sdu") == []


def test_targets_that_lack_nothing_or_are_busy_get_nothing_now() -> None:
    assert deliveries(PLAN, "dayabay", prepared("cms01", send=[]), []) == []
    busy = prepared("cms01", busy=True)
    assert deliveries(PLAN, "dayabay", busy, []) == []
    assert [tree["node"] for tree in busy_trees(busy)] == ["cms01"]
    assert busy_trees(prepared("cms01")) == []


def test_what_arrived_with_other_bytes_is_delivered_again_and_nothing_else() -> None:
    known = [{"relpath": path, "size": 7, "dig": "0", "alg": "md5"} for path in (SVN, GIT)]
    sent = deliveries(PLAN, "dayabay", prepared("cms01", "sdu", send=[SVN, GIT]), known)
    wrong = {**known[1], "wrong": "md5 1 over 7 bytes"}
    calls = [
        {"ansible_loop_var": "entry", "entry": sent[0], "wrong": [wrong]},
        {"ansible_loop_var": "entry", "entry": sent[1]},
    ]
    (again,) = deliveries_again(sent, {"results": calls})
    assert again == {**sent[0], "tarballs": [wrong]}
    assert deliveries_again(sent, {}) == []
