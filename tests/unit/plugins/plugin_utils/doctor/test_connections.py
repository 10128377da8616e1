"""What is wrong with the connection of a pair, with what mends it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from helpers.findings import (
    CHANGED,
    COMMANDS,
    DENIED,
    HOST_KEY,
    INCOMING,
    KEY,
    PAIR,
    UNKNOWN,
    Facts,
    authorized_with,
    healthy,
    judged,
    key_with,
    planned,
    require_alone,
    tried_with,
    variables,
    wrong,
)

from ansible_collections.altbackup.core.plugins.plugin_utils.doctor import connections, decide
from ansible_collections.altbackup.core.plugins.plugin_utils.doctor.connections import Connection


@pytest.mark.parametrize(
    ("change", "where", "what", "mend"),
    [
        (tried_with(name="cms01: Name or service not known"), PAIR, "name", "192.0.2.7 cms01"),
        (tried_with(port="cms01 port 22: Connection refused"), PAIR, "port", "altbackup_rsync_port: 2200"),
        (tried_with(said=UNKNOWN), PAIR, "host key", f"cms01 {HOST_KEY}"),
        (tried_with(said=CHANGED), PAIR, "host key", f"cms01 {HOST_KEY}"),
        (key_with(there=False, why="No such file"), PAIR, "key", "ssh-keygen"),
        (key_with(mode="0644"), PAIR, "key", "file -a 'path=/root/.ssh/altbackup mode=0600'"),
        (authorized_with(DENIED, lines=[]), PAIR, "key", "altbackup run setup --limit dayabay -e altbackup_only_targets=cms01 -i"),
        (authorized_with(DENIED, problem="there is no user backup"), PAIR, "key", 'altbackup_rsync_user: \\"root\\"'),
        (
            authorized_with(DENIED, lines=[], loose=[{"path": "/home/backup", "mode": "0777", "uid": 0}]),
            PAIR,
            "key",
            "altbackup run setup --limit dayabay -e altbackup_only_targets=cms01 -i",
        ),
        (
            lambda facts: (authorized_with(DENIED, loose=[{"path": "/home/backup", "mode": "0777"}])(facts), key_with(public="")(facts)),
            PAIR,
            "key",
            "file -a 'path=/home/backup mode=go-w owner=backup'",
        ),
        (authorized_with(lines=[f'command="rrsync -wo {INCOMING}" {KEY}']), PAIR, "forced command", "altbackup_rrsync: true"),
        (tried_with(said="cms01 was reached, but has no rsync: install it"), PAIR, "tools", "name=rsync state=present update_cache=true"),
        (tried_with(said="mkdir failed: Input/output error"), PAIR, "way", "# its words"),
    ],
)  # fmt: skip
def test_a_fault_of_a_way_is_named_alone_with_what_mends_it(
    change: Callable[[dict[str, Facts]], None], where: str, what: str, mend: str
) -> None:
    require_alone(change, where, what, mend)


@pytest.mark.parametrize(
    ("options", "fine"),
    [("", False), ('command="rrsync -wo /other" ', False), (f'restrict,command="rrsync -wo {INCOMING}" ', True)],
)
def test_a_key_that_is_to_be_bound_is_bound_to_its_folder(options: str, fine: bool) -> None:
    given = variables()
    given["cms01"]["altbackup_rrsync"] = True
    facts = healthy()
    facts["cms01"]["authorized"]["backup"]["lines"] = [f"{options}{KEY}"]
    found = wrong(judged(facts, planned(given)))
    assert [(place, what) for place, what, _ in found] == ([] if fine else [(PAIR, "forced command")])
    assert fine or f"rrsync -wo {INCOMING}" in found[0][2]


def test_setup_is_what_makes_a_key() -> None:
    facts = healthy()
    tried_with(said=DENIED)(facts)
    key_with(there=False, named=False)(facts)
    examined = {node: {"facts": own, "said": ""} for node, own in facts.items()}
    found = wrong(decide.decide(planned(variables()), [], examined, {}, COMMANDS))
    assert [(place, what) for place, what, _ in found] == [(PAIR, "key")]
    assert "altbackup run setup --limit dayabay -e altbackup_only_targets=cms01 -i /inventory" in found[0][2]


def test_a_key_of_a_pair_that_set_up_binds_is_admitted_by_that_and_opens_no_shell() -> None:
    facts = healthy()
    authorized_with(DENIED, lines=[])(facts)
    examined = {node: {"facts": own, "said": ""} for node, own in facts.items()}
    found = decide.decide(planned(variables()), {}, examined, {}, COMMANDS)
    mends = [finding.mend for finding in found if finding.what == "key"]
    assert mends and all("run setup" in mend and "restrict" not in mend for mend in mends)


@pytest.mark.parametrize(
    ("command", "leads"),
    [
        (None, False),
        ("", False),
        ("rrsync -wo /data/in", True),
        ("rrsync -wo '/data/in'", True),
        ('rrsync -wo \\"/data/in\\"', True),
        ("rrsync -wo /data/in/", False),
        ("rrsync -wo /data/incoming", False),
        ("rrsync -wo /other/data/in", False),
        ("/data/in", True),
        ("rrsync -wo /data/in -munge", True),
    ],
)
def test_a_forced_command_names_the_folder_and_not_one_that_begins_so(command: str | None, leads: bool) -> None:
    found = None if command is None else re.search(r'command="((?:[^"\\]|\\.)*)"', f'command="{command}"')
    assert connections._leads_to(found, "/data/in") is leads


def connection(tried: dict[str, Any] | None = None, entry: dict[str, Any] | None = None, **more: Any) -> Connection:
    told = {"name": "", "port": "", "said": "", "dialled": {}, "key": {}, **(tried or {})}
    return Connection(PAIR, "dayabay", "cms01", told, {}, {}, {"rrsync": False, **(entry or {})}, INCOMING, {}, **more)


@pytest.mark.parametrize(
    ("fetched", "line"),
    [
        (False, f'restrict,command="rrsync -wo {INCOMING}" {KEY}'),
        (True, f'restrict,command="rrsync -ro {INCOMING}" {KEY}'),
    ],
)
def test_a_key_that_rrsync_binds_is_admitted_for_what_it_is_for_alone(fetched: bool, line: str) -> None:
    assert connections._line(connection(entry={"rrsync": True}, fetched=fetched), KEY) == line


@pytest.mark.parametrize(
    ("tried", "steps"),
    [
        ({"name": "cms01: no such name", "port": "closed", "said": "x"}, [("name", "wrong")]),
        ({"port": "closed", "said": "x"}, [("port", "wrong")]),
        ({"port": "closed", "dialled": {"direct": True}}, [("name", "ok"), ("port", "wrong")]),
        ({"said": "Host key verification failed."}, [("host key", "wrong")]),
        ({"said": "Permission denied (publickey)"}, [("host key", "ok"), ("key", "wrong")]),
        ({"said": "cms01 was reached, but has no rsync"}, [("host key", "ok"), ("tools", "wrong")]),
        ({"said": "something else"}, [("host key", "ok"), ("way", "wrong")]),
        ({}, [("host key", "ok"), ("way", "ok")]),
        ({"key": {"path": "/k", "there": True, "mode": "0600"}}, [("host key", "ok"), ("key", "ok"), ("way", "ok")]),
        ({"key": {"path": "/k", "there": True, "mode": "0640", "mine": True}}, [("host key", "ok"), ("key", "wrong")]),
        (
            {"key": {"path": "/k", "there": True, "mode": "0640", "mine": False}},
            [("host key", "ok"), ("key", "ok"), ("way", "ok")],
        ),
        ({"key": {"path": "/k", "named": True, "there": False}}, [("host key", "ok"), ("key", "wrong")]),
        ({"key": {"path": "/k", "named": False, "there": False}}, [("host key", "ok"), ("way", "ok")]),
        (
            {"said": "Host key verification failed.", "key": {"path": "/k", "named": True, "there": False}},
            [("host key", "wrong"), ("key", "wrong")],
        ),
    ],
)
def test_a_way_is_told_as_far_as_it_goes(tried: dict[str, Any], steps: list[tuple[str, str]]) -> None:
    found = connections.judged(connection(tried), COMMANDS)
    assert [(finding.what, finding.state) for finding in found] == steps
    assert all(finding.pair == PAIR and finding.node == "dayabay" for finding in found)
    assert all(bool(finding.mend) is (finding.state == "wrong") for finding in found)


@pytest.mark.parametrize(
    ("change", "settings", "set_up"),
    [
        (tried_with(said=UNKNOWN), {}, True),
        (tried_with(said=UNKNOWN), {"altbackup_rrsync": True}, False),
        (authorized_with(DENIED, lines=[]), {}, True),
        (authorized_with(DENIED, lines=[]), {"altbackup_rrsync": True}, False),
        (key_with(there=False), {}, False),
        (key_with(mode="0644"), {}, False),
        (authorized_with(DENIED, problem="there is no user backup"), {}, False),
        (tried_with(port="Connection refused"), {}, False),
    ],
)
def test_set_up_mends_the_keys_of_pairs_that_it_makes(
    change: Callable[[dict[str, Facts]], None], settings: dict[str, Any], set_up: bool
) -> None:
    facts, given = healthy(), variables()
    change(facts)
    given["cms01"].update(settings)
    found = [each for each in judged(facts, planned(given)) if each.state == "wrong"]
    assert [each.set_up for each in found] == [set_up] * len(found) and found


def test_set_up_mends_nothing_of_a_node_that_the_controller_does_not_reach() -> None:
    facts = healthy()
    del facts["cms01"]
    tried_with(said=UNKNOWN)(facts)
    for said in (UNKNOWN, DENIED):
        found = judged(facts, said={"cms01": {"facts": {}, "said": said}})
        assert [each.set_up for each in found if each.state == "wrong"] == [False, False]
