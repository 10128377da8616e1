"""What is wrong on a node by itself, with what mends it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from helpers.findings import (
    CHANGED,
    COMMANDS,
    DENIED,
    PAIR,
    TARGET,
    UNKNOWN,
    Facts,
    base_with,
    healthy,
    judged,
    planned,
    require_alone,
    variables,
    wrong,
)
from helpers.findings import base as base_of

from ansible_collections.altbackup.core.plugins.plugin_utils.doctor import nodes


@pytest.mark.parametrize(
    ("said", "what", "mend"),
    [
        ("ssh: Could not resolve hostname cms01: Name or service not known", "name", "# set ansible_host"),
        (UNKNOWN, "host key", "ssh-keyscan -p 2200 cms01 >> /k"),
        (CHANGED, "host key changed", "ssh-keygen -R '[cms01]:2200' -f /k && ssh-keyscan -p 2200 cms01 >> /k"),
        (DENIED, "key", "ssh-copy-id -p 2200 scm@cms01"),
        ("sudo: unknown user nightly\nsudo: error initializing audit plugin", "become", "name=nightly system=true"),
        ("Missing sudo password", "become", "sudo tee /etc/sudoers.d/altbackup"),
        ("/bin/sh: 1: sudo: not found", "become", "name=sudo state=present update_cache=true"),
        ("/bin/sh: 1: /usr/bin/python3: not found", "python", "apt-get install -y python3"),
    ],
)
def test_a_node_that_cannot_be_examined_is_told_of_by_why(said: str, what: str, mend: str) -> None:
    facts = healthy()
    del facts["cms01"]
    found = wrong(judged(facts, said={"cms01": {"facts": {}, "said": said}}))
    assert [(place, thing) for place, thing, _ in found] == [("cms01", what)]
    assert mend in found[0][2]


def test_two_bases_in_one_place_and_two_names_of_one_machine_are_found() -> None:
    facts = healthy()
    facts["cms01"].update(boot="1")
    facts["cms01"]["bases"][0].update(inode=facts["dayabay"]["bases"][0]["inode"])
    assert [(place, what) for place, what, _ in wrong(judged(facts))] == [("cms01", "one place"), (PAIR, "one machine")]


@pytest.mark.parametrize("taken", ["", "cms01", "cms01b"])
def test_of_two_names_of_one_target_the_one_to_take_out_is_said_once(taken: str) -> None:
    facts, given = healthy(), variables()
    given["dayabay"]["altbackup_targets"] = ["cms01", "cms01b"]
    given["cms01b"] = dict(given["cms01"])
    facts["cms01b"] = copy.deepcopy(facts["cms01"])
    if taken:
        owner = "cms01b" if taken == "cms01" else "cms01"
        said = f"/data/backup is the base of target {owner}, as /data/backup/.altbackup/owner says, but target {taken} has it for its own, too"
        facts[taken]["bases"][0]["taken"] = said
    plan = planned(given, {"sources": ["dayabay"], "targets": ["cms01", "cms01b"]})
    ((place, what, mend),) = wrong(judged(facts, plan))
    out = taken or "cms01b"
    assert (place, what) == (out, TARGET if taken else "one place")
    assert mend.startswith(f"# take {out} out of the inventory")


@pytest.mark.parametrize(("fault", "what"), [({"there": False}, TARGET), ({"marker": False}, "marker")])
@pytest.mark.parametrize("allowed", [True, False])
def test_a_base_on_the_root_file_system_is_made_where_set_up_would_make_it(
    fault: dict[str, bool], what: str, allowed: bool
) -> None:
    facts, given = healthy(), variables()
    facts["cms01"]["bases"][0].update(on_root=True, **fault)
    given["cms01"]["altbackup_allow_root_filesystem"] = allowed
    (found,) = [each for each in judged(facts, planned(given)) if each.state == "wrong"]
    assert (found.what, found.set_up) == (what, allowed)
    if allowed:
        assert "path=/data/backup/.altbackup" in found.mend
    else:
        assert "root file system" in found.why
        assert found.mend.startswith("# mount") and "altbackup_allow_root_filesystem: true for cms01" in found.mend


def test_one_node_with_both_its_bases_in_one_folder_gets_another_folder() -> None:
    facts = healthy()
    own = base_of("/data/backup", "source")
    facts["cms01"]["bases"] = [own, base_of("/data/backup", "target")]
    ((place, what, mend),) = [each for each in wrong(judged(facts)) if each[1] == "one place"]
    assert (place, what) == ("cms01", "one place") and "/data/backup-cms01-target" in mend


@pytest.mark.parametrize(
    ("change", "where", "what", "mend"),
    [
        (base_with("cms01", marker=False), "cms01", "marker", "file -a 'path=/data/backup/.altbackup state=directory mode=0700'"),
        (base_with("cms01", there=False), "cms01", TARGET, "path=/data/backup/.altbackup state=directory"),
        (base_with("cms01", uid=7, owner="web (uid 7)"), "cms01", TARGET, "file -a 'path=/data/backup owner=root mode=0700'"),
        (base_with("cms01", mode="0777"), "cms01", TARGET, "file -a 'path=/data/backup mode=0700'"),
        (base_with("cms01", read_only=True, writable=False), "cms01", TARGET, "mount"),
        (base_with("cms01", taken="is the base of another"), "cms01", TARGET, "/data/backup-cms01-target"),
        (base_with("dayabay", marker=False), "dayabay", "marker", "path=/home/scm/backup/.altbackup"),
        (lambda facts: facts["cms01"].update(began=910.0), "cms01", "clock", "date --utc --set=@$(date +%s)"),
        (lambda facts: facts["cms01"].update(ended=1191.0), "cms01", "clock", "date --utc --set=@$(date +%s)"),
        (lambda facts: facts["cms01"]["tools"].update(svnlook=""), "cms01", "tools", "package -a 'name=subversion state=present update_cache=true'"),
        (lambda facts: facts["cms01"].update(missing_compressor=["zstd is not installed on"]), "cms01", "tools", "name=zstd"),
        (lambda facts: facts["dayabay"]["items"][0].update(problem="No such file"), "dayabay", "items", "# correct its path"),
        (lambda facts: facts["cms01"].update(space=["/data is full"]), "cms01", "space", "# free room"),
    ],
)  # fmt: skip
def test_a_fault_of_a_node_is_named_alone_with_what_mends_it(
    change: Callable[[dict[str, Facts]], None], where: str, what: str, mend: str
) -> None:
    require_alone(change, where, what, mend)


@pytest.mark.parametrize(
    ("facts", "after", "why"),
    [
        ({}, None, "as the controller's"),
        ({"asked": 1000.0, "began": 1000.0, "ended": 1001.0}, 1002.0, "as the controller's"),
        ({"asked": 1000.0, "began": 5000.0, "ended": 5001.0}, 6000.0, "as the controller's"),
        ({"asked": 1000.0, "began": 940.0, "ended": 941.0}, 1002.0, "as the controller's"),
        (
            {"asked": 1000.0, "began": 939.0, "ended": 940.0},
            1002.0,
            "61 s behind the controller's: one of them is wrong",
        ),
        ({"asked": 1000.0, "began": 1001.0, "ended": 1062.0}, 1002.0, "as the controller's"),
        (
            {"asked": 1000.0, "began": 1001.0, "ended": 1063.0},
            1002.0,
            "61 s ahead of the controller's: one of them is wrong",
        ),
        ({"asked": 0, "began": 5.0}, 0, "as the controller's"),
    ],
)
def test_how_long_a_call_takes_proves_nothing_of_a_clock(facts: dict[str, Any], after: float | None, why: str) -> None:
    found = nodes._clock("cms01", facts, after, COMMANDS)
    assert (found.why, found.state) == (why, "wrong" if "wrong" in why else "ok")


@pytest.mark.parametrize(
    ("tool", "system", "package"),
    [
        ("rsync", {}, "rsync"),
        ("svnadmin", {}, "subversion"),
        ("ssh", {"id": "debian"}, "openssh-client"),
        ("ssh", {"id": "linuxmint", "id_like": "ubuntu debian"}, "openssh-client"),
        ("ssh", {"id": "almalinux", "id_like": "rhel fedora"}, "openssh-clients"),
        ("ssh", {}, "openssh-clients"),
        ("something", {}, "something"),
    ],
)
def test_a_program_has_a_package(tool: str, system: dict[str, str], package: str) -> None:
    assert nodes._package(tool, {"system": system}) == package


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("rsync  version 3.2.7  protocol", "3.2.7"),
        ("tar (GNU tar) 1.34", "1.34"),
        ("there", "there"),
        ("x" * 50, "x" * 20),
        ("1", "1"),
    ],
)
def test_of_a_version_its_number_is_told(version: str, number: str) -> None:
    assert nodes._number(version) == number


@pytest.mark.parametrize(
    ("base", "uid", "is_of_others"),
    [
        ({"uid": 0, "writable": True}, 0, False),
        ({"uid": 7, "writable": True}, 7, False),
        ({"uid": 7, "writable": True}, 0, True),
        ({"uid": 7, "writable": True}, 8, True),
        ({"uid": 0, "writable": True}, 7, False),
        ({"uid": 0, "writable": False}, 7, True),
    ],
)
def test_a_base_is_who_writes_theres(base: dict[str, Any], uid: int, is_of_others: bool) -> None:
    assert nodes._is_of_others(base, {"uid": uid}) is is_of_others


@pytest.mark.parametrize(
    ("examined", "state", "what"),
    [
        ({}, "unknown", "way"),
        ({"facts": {"user": "root"}, "said": ""}, "ok", "way"),
        ({"facts": {"user": "root"}, "said": "Connection refused"}, "wrong", "port"),
        ({"facts": {}, "said": ""}, "wrong", "way"),
        ({"facts": {}, "said": "something else"}, "wrong", "way"),
    ],
)
def test_a_way_leads_to_its_end_or_it_is_said_where_not(examined: dict[str, Any], state: str, what: str) -> None:
    (found,) = nodes.reached("cms01", examined, {}, COMMANDS)
    assert (found.state, found.what) == (state, what)
    assert bool(found.mend) is (state == "wrong")


def test_what_is_told_as_it_should_be_is_no_finding() -> None:
    assert nodes.untrue("cms01", []) == []
    (found,) = nodes.untrue("cms01", ["bases", "uid"])
    assert (found.state, found.why) == ("wrong", "what it said is no answer, and was left out: bases, uid")
