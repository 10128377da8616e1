"""Tarballs that go from a source to each target."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.plans import GIT, PLAN, SVN, loop

from ansible_collections.altbackup.core.plugins.module_utils.synchronize.offer import parse_offers
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.connections import peers, source_peers
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.transfers import (
    deliveries,
    sendable,
    unlisted_requests,
)
from ansible_collections.altbackup.core.plugins.plugin_utils.report import outcomes


def test_what_a_check_of_the_source_found_bad_is_not_sent() -> None:
    listed = [
        {"relpath": path, "size": 1, "dig": "0", "alg": "sha256", "state": state}
        for path, state in ((SVN, "verified"), (GIT, "missing"))
    ]
    assert [entry["relpath"] for entry in sendable(listed, {})] == [SVN]
    bad = outcomes.record({}, {"failures": [{"reason": "does not match", "relpath": SVN}]}, "check", "dayabay")
    assert sendable(listed, bad) == []
    elsewhere = outcomes.record(
        {}, loop({"failures": [{"reason": "does not match", "relpath": SVN}]}), "check", "dayabay"
    )
    assert len(sendable(listed, elsewhere)) == 1, "a bad copy on a target is no reason not to send"


def test_tarball_with_a_strange_name_keeps_no_other_from_being_sent() -> None:
    strange = "svn/dybsvn/2013/05/08/104701/apache2.tar.gz"
    listed = [
        {"relpath": path, "size": 1, "dig": "0", "alg": "sha256", "state": "verified"}
        for path in (strange, f".snapshot/{SVN.partition('/')[2]}", SVN)
    ]
    assert [entry.relpath for entry in parse_offers(sendable(listed, {}))] == [SVN]


def state_of(asked: dict[str, dict[str, str]], *offer: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a run's knowledge of a source from which these tarballs are requested, {node: {relpath: what arrived instead}}."""
    return {**outcomes.EMPTY, "asked": asked, "offer": list(offer), **more}


KNOWN = {"relpath": SVN, "size": 7, "dig": "0", "alg": "md5"}
OTHER = {"relpath": GIT, "size": 7, "dig": "0", "alg": "md5"}


def test_deliveries_name_how_each_target_is_reached() -> None:
    state = state_of({"cms01": {SVN: ""}, "sdu": {SVN: ""}}, KNOWN)
    remote, local = deliveries(PLAN, "dayabay", state)
    assert remote["tarballs"] == [KNOWN]
    assert (remote["fetched"], remote["source"], remote["base"]) == (False, {}, "/copies/dayabay")
    assert remote["peer"] == {
        "node": "cms01",
        "folder": "/copies/.altbackup/incoming/dayabay",
        "host": "cms01.example.org",
        "port": 2222,
        "ssh_key": "~/.ssh/key",
        "trust": "/backup/.altbackup/trust/cms01",
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
    state = state_of({"cms01": {SVN: ""}, "sdu": {SVN: ""}}, predicted=[SVN])
    pushed, fetched = deliveries(plan, "dayabay", state)
    assert (pushed["node"], fetched["node"], fetched["fetched"]) == ("sdu", "cms01", True)
    assert fetched["source"] == {
        "node": "dayabay",
        "folder": "/backup/.altbackup/outgoing/cms01",
        "host": "dayabay.example.org",
        "port": 2200,
        "user": "scm",
        "ssh_key": "~/.ssh/fetch",
        "trust": "/copies/.altbackup/trust/dayabay",
        "connect_timeout": 20.0,
        "io_timeout": 60.0,
        "bwlimit": "2048b",
        "min_rate": 2048,
        "nice": 5,
    }
    assert peers(plan, "dayabay") == []
    assert source_peers(plan, "dayabay", "cms01") == [fetched["source"]]
    assert source_peers(plan, "dayabay", "sdu") == []


def test_targets_that_lack_nothing_get_nothing() -> None:
    assert deliveries(PLAN, "dayabay", state_of({"cms01": {}}, KNOWN)) == []
    assert deliveries(PLAN, "dayabay", state_of({})) == []


def test_what_arrived_with_other_bytes_is_sent_with_what_these_were() -> None:
    state = state_of({"cms01": {GIT: "md5 1 over 7 bytes"}}, KNOWN, OTHER)
    (again,) = deliveries(PLAN, "dayabay", state)
    assert again["tarballs"] == [{**OTHER, "wrong": "md5 1 over 7 bytes"}]


@pytest.mark.parametrize("asked", ["../../x", "/etc/shadow", SVN.replace("dybsvn", "other")])
def test_what_the_source_does_not_have_is_not_sent_and_is_told(asked: str) -> None:
    state = state_of({"cms01": {asked: "", SVN: ""}}, KNOWN)
    (entry,) = deliveries(PLAN, "dayabay", state)
    assert entry["tarballs"] == [KNOWN]
    (told,) = unlisted_requests({"send": [asked, SVN]}, state)
    assert told["reason"].startswith("asks for what the source does not have, and does not get it: ")
    assert SVN not in told["reason"]
    assert unlisted_requests({"send": [SVN], "wrong": [KNOWN]}, state) == []
