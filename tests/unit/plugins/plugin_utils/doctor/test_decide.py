"""The doctor's judgement of facts: each fault is named at its place, with its remedy; what is right is named, too."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.doctor import controller, decide, inventory
from ansible_collections.altbackup.core.plugins.plugin_utils.doctor.finding import Commands, Finding, both
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan import build_plan

KEY = f"ssh-ed25519 {'A' * 68}"
HOST_KEY = f"ssh-ed25519 {'B' * 68}"
INCOMING = "/data/backup/.altbackup/incoming/dayabay"
COMMANDS = Commands(
    ["/inventory"],
    "ansible",
    "altbackup",
    {"/inventory/hosts.yml": ["source:", "  hosts:"], "/inventory/host_vars/cms01.yml": []},
)
Facts = dict[str, Any]


def variables() -> dict[str, dict[str, Any]]:
    """A source and a target, as in an inventory."""
    items = [{"kind": "folder", "name": "notes", "path": "/srv/notes"}]
    return {
        "dayabay": {
            "altbackup_base": "/home/scm/backup",
            "altbackup_targets": ["cms01"],
            "altbackup_items": items,
            "altbackup_ssh_key": "~/.ssh/altbackup",
        },
        "cms01": {"altbackup_target_base": "/data/backup", "altbackup_rsync_user": "backup"},
    }


def planned(given: Mapping[str, Mapping[str, Any]], groups: Mapping[str, list[str]] | None = None) -> dict[str, Any]:
    return build_plan(given, groups or {"sources": ["dayabay"], "targets": ["cms01"]}, {}, 1.8e9)


def base(path: str, role: str, **more: Any) -> Facts:
    found = {"base": path, "role": role, "there": True, "marker": True, "problem": "", "taken": "", "writable": True}
    place = {"uid": 0, "owner": "root (uid 0)", "mode": "0700", "device": 1, "inode": hash(path), "free": 10**9}
    return {**found, **place, "above": {"path": "/", "writable": True}, "read_only": False, **more}


def healthy() -> dict[str, Facts]:
    """Facts of both nodes if all is well."""
    common = {
        "user": "root",
        "uid": 0,
        "python": "3.11.2",
        "asked": 1000.0,
        "began": 1090.0,
        "ended": 1095.0,
        "tools": {"rsync": "rsync  version 3.2.7"},
        "space": [],
    }
    key = {"path": "/root/.ssh/altbackup", "named": True, "there": True, "mode": "0600", "mine": True, "public": KEY}
    dialled = {"host": "cms01", "address": "cms01", "port": 22, "known_hosts": "/root/.ssh/known_hosts", "direct": True}
    tried = {"node": "cms01", "fetch": False, "name": "", "port": "", "said": "", "dialled": dialled, "key": key}
    accepted = {
        "path": "/home/backup/.ssh/authorized_keys",
        "user": "backup",
        "problem": "",
        "lines": [f"restrict {KEY}"],
        "loose": [],
    }
    item = {"key": "folders/notes", "path": "/srv/notes", "problem": "", "denied": False}
    return {
        "dayabay": {
            **copy.deepcopy(common),
            "boot": "1",
            "bases": [base("/home/scm/backup", "source")],
            "items": [item],
            "peers": [tried],
        },
        "cms01": {
            **common,
            "boot": "2",
            "bases": [base("/data/backup", "target")],
            "host_keys": [HOST_KEY],
            "authorized": {"backup": accepted},
        },
    }


def judged(
    facts: Mapping[str, Facts], plan: Mapping[str, Any] | None = None, said: Mapping[str, Facts] | None = None
) -> list[Finding]:
    examined = {**{node: {"facts": own, "said": "", "after": 1100.0} for node, own in facts.items()}, **(said or {})}
    ways = {"cms01": {"address": "cms01", "number": "192.0.2.7", "port": 2200, "user": "scm", "known_hosts": "/k"}}
    return decide.decide(plan or planned(variables()), ["sources", "targets"], examined, ways, COMMANDS)


def wrong(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [
        (finding.pair or finding.node, finding.what, finding.mend) for finding in findings if finding.state == "wrong"
    ]


def test_what_is_right_is_said_to_be_so_and_mends_nothing() -> None:
    findings = judged(healthy())
    assert {finding.state for finding in findings} == {"ok"}
    assert {finding.mend for finding in findings} == {""}
    looked_at = {(finding.pair or finding.node, finding.what) for finding in findings}
    assert {
        ("dayabay -> cms01", what) for what in ("name", "host key", "key", "forced command", "way", "one machine")
    } < looked_at
    assert {("cms01", what) for what in ("way", "python", "clock", "tools", "base of the target")} < looked_at


def _base(node: str, **more: Any) -> Callable[[dict[str, Facts]], None]:
    return lambda facts: facts[node]["bases"][0].update(more)


def _tried(**more: Any) -> Callable[[dict[str, Facts]], None]:
    return lambda facts: facts["dayabay"]["peers"][0].update(more)


def _key(**more: Any) -> Callable[[dict[str, Facts]], None]:
    return lambda facts: facts["dayabay"]["peers"][0]["key"].update(more)


def _authorized(said: str = "", **more: Any) -> Callable[[dict[str, Facts]], None]:
    def change(facts: dict[str, Facts]) -> None:
        facts["cms01"]["authorized"]["backup"].update(more)
        facts["dayabay"]["peers"][0]["said"] = said

    return change


DENIED = "backup@cms01: Permission denied (publickey)."
UNKNOWN = (
    "No ED25519 host key is known for cms01 and you have requested strict checking.\nHost key verification failed."
)
CHANGED = "@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed."
PAIR = "dayabay -> cms01"
TARGET = "base of the target"


@pytest.mark.parametrize(
    ("change", "where", "what", "mend"),
    [
        (_base("cms01", marker=False), "cms01", "marker", "file -a 'path=/data/backup/.altbackup state=directory mode=0700'"),
        (_base("cms01", there=False), "cms01", TARGET, "path=/data/backup/.altbackup state=directory"),
        (_base("cms01", uid=7, owner="web (uid 7)"), "cms01", TARGET, "file -a 'path=/data/backup owner=root mode=0700'"),
        (_base("cms01", mode="0777"), "cms01", TARGET, "file -a 'path=/data/backup mode=0700'"),
        (_base("cms01", read_only=True, writable=False), "cms01", TARGET, "mount"),
        (_base("cms01", taken="is the base of another"), "cms01", TARGET, "/data/backup-cms01-target"),
        (_base("dayabay", marker=False), "dayabay", "marker", "path=/home/scm/backup/.altbackup"),
        (lambda facts: facts["cms01"].update(began=910.0), "cms01", "clock", "date --utc --set=@$(date +%s)"),
        (lambda facts: facts["cms01"].update(ended=1191.0), "cms01", "clock", "date --utc --set=@$(date +%s)"),
        (lambda facts: facts["cms01"]["tools"].update(svnlook=""), "cms01", "tools", "package -a 'name=subversion state=present'"),
        (lambda facts: facts["cms01"].update(missing_compressor=["zstd is not installed on"]), "cms01", "tools", "name=zstd"),
        (lambda facts: facts["dayabay"]["items"][0].update(problem="No such file"), "dayabay", "items", "# correct its path"),
        (lambda facts: facts["cms01"].update(space=["/data is full"]), "cms01", "space", "# free room"),
        (_tried(name="cms01: Name or service not known"), PAIR, "name", "192.0.2.7 cms01"),
        (_tried(port="cms01 port 22: Connection refused"), PAIR, "port", "altbackup_rsync_port: 2200"),
        (_tried(said=UNKNOWN), PAIR, "host key", f"cms01 {HOST_KEY}"),
        (_tried(said=CHANGED), PAIR, "host key", f"cms01 {HOST_KEY}"),
        (_key(there=False, why="No such file"), PAIR, "key", "ssh-keygen"),
        (_key(mode="0644"), PAIR, "key", "file -a 'path=/root/.ssh/altbackup mode=0600'"),
        (_authorized(DENIED, lines=[]), PAIR, "key", f"restrict {KEY}"),
        (_authorized(DENIED, problem="there is no user backup"), PAIR, "key", 'altbackup_rsync_user: \\"root\\"'),
        (
            _authorized(DENIED, lines=[], loose=[{"path": "/home/backup", "mode": "0777", "uid": 0}]),
            PAIR,
            "key",
            f"restrict {KEY}",
        ),
        (
            lambda facts: (_authorized(DENIED, loose=[{"path": "/home/backup", "mode": "0777"}])(facts), _key(public="")(facts)),
            PAIR,
            "key",
            "file -a 'path=/home/backup mode=go-w owner=backup'",
        ),
        (_authorized(lines=[f'command="rrsync -wo {INCOMING}" {KEY}']), PAIR, "forced command", "altbackup_rrsync: true"),
        (_tried(said="cms01 was reached, but has no rsync: install it"), PAIR, "tools", "name=rsync state=present"),
        (_tried(said="mkdir failed: Input/output error"), PAIR, "way", "# its words"),
    ],
)  # fmt: skip
def test_a_fault_is_named_alone_with_what_mends_it(
    change: Callable[[dict[str, Facts]], None], where: str, what: str, mend: str
) -> None:
    facts = healthy()
    change(facts)
    ((place, thing, command),) = wrong(judged(facts))
    assert (place, thing) == (where, what)
    assert mend in command
    shlex.split(command, comments=True)


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


@pytest.mark.parametrize(
    ("said", "what", "mend"),
    [
        ("ssh: Could not resolve hostname cms01: Name or service not known", "name", "# set ansible_host"),
        (UNKNOWN, "host key", "ssh-keyscan -p 2200 cms01 >> /k"),
        (CHANGED, "host key changed", "ssh-keygen -R '[cms01]:2200' -f /k && ssh-keyscan -p 2200 cms01 >> /k"),
        (DENIED, "key", "ssh-copy-id -p 2200 scm@cms01"),
        ("sudo: unknown user nightly\nsudo: error initializing audit plugin", "become", "name=nightly system=true"),
        ("Missing sudo password", "become", "sudo tee /etc/sudoers.d/altbackup"),
        ("/bin/sh: 1: sudo: not found", "become", "name=sudo state=present"),
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


@pytest.mark.parametrize(
    ("change", "groups", "where", "mend"),
    [
        ({"dayabay": {"altbackup_kep": 3}}, None, "dayabay", "# write altbackup_keep in the place of altbackup_kep"),
        ({}, {"source": ["dayabay"], "targets": ["cms01"]}, "localhost", "\\1sources\\2#g' /inventory/hosts.yml"),
        ({"cms01": {"altbackup_target_base": None}}, None, "cms01", "/var/backups/altbackup/.altbackup"),
        ({"dayabay": {"altbackup_targets": None}}, None, "dayabay", 'altbackup_targets: [\\"cms01\\"]'),
        ({"dayabay": {"altbackup_targets": ["cms1"]}}, None, "dayabay", "# write cms01 in the place of cms1"),
        ({}, {"sources": ["dayabay"], "targets": ["cms01", "sdu"]}, "localhost", '[\\"cms01\\", \\"sdu\\"]'),
    ],
)  # fmt: skip
def test_errors_of_the_inventory_are_findings_with_what_mends_them(
    change: dict[str, Facts], groups: dict[str, list[str]] | None, where: str, mend: str
) -> None:
    given: dict[str, Facts] = copy.deepcopy(variables())
    for host, more in change.items():
        given[host].update(more)
    plan = planned(given, groups)
    found = wrong(inventory.errors(plan, groups or {"sources": [], "targets": []}, COMMANDS))
    assert mend in "\n".join(command for _, _, command in found), found
    assert decide.decide(plan, groups or [], {}, {}, COMMANDS), "the rest is judged as far as that goes"


def test_what_went_since_the_last_run_is_told_until_somebody_says_so() -> None:
    plan = planned(variables())
    trees = [("dayabay", "dayabay", "source"), ("cms01", "dayabay", "target"), ("sdu", "dayabay", "target")]
    items = [("dayabay", "folders/notes"), ("dayabay", "svn/old")]
    found = wrong(inventory.gone(plan, trees, items, COMMANDS))
    assert [place for place, _, _ in found] == ["localhost", "dayabay"]
    assert found[1][2] == "altbackup retire dayabay/svn/old -i /inventory"
    plan["marks"] = {"dayabay": {"retired": {"svn/old": "2026/11/01"}}}
    assert wrong(inventory.gone(plan, trees[:2], items, COMMANDS)) == []


@pytest.mark.parametrize("evil", ["{{ secret }}", "{% raw %}", "{# x #}"])
def test_what_a_node_says_is_never_a_template_of_a_command(evil: str) -> None:
    assert COMMANDS.on("cms01", "file", path=f"/home/{evil}").startswith("# ")
    assert COMMANDS.run_on("cms01", ["mount", evil]).startswith("# ")
    facts = healthy()
    facts["cms01"]["authorized"]["backup"].update(path=f"/home/{evil}", lines=[])
    facts["cms01"]["host_keys"] = [evil]
    facts["cms01"]["user"] = evil
    _tried(said=DENIED)(facts)
    _base("cms01", uid=7)(facts)
    for change in (None, _key(there=False), _tried(said=UNKNOWN), _authorized(DENIED, problem="there is no user x")):
        if change:
            change(facts)
        for _, _, command in wrong(judged(facts)):
            assert evil not in command or command.startswith("# "), command
    assert Commands(["/i"]).setting("cms01", "x", evil).startswith("# ")


def test_where_a_playbook_sets_pairs_up_it_is_what_makes_a_key() -> None:
    facts = healthy()
    _tried(said=DENIED)(facts)
    _key(there=False, named=False)(facts)
    examined = {node: {"facts": own, "said": ""} for node, own in facts.items()}
    for has_setup, mend in ((True, "altbackup run setup --limit dayabay -i /inventory"), (False, "ssh-keygen")):
        found = wrong(decide.decide(planned(variables()), [], examined, {}, replace(COMMANDS, has_setup=has_setup)))
        assert [(place, what) for place, what, _ in found] == [(PAIR, "key")]
        assert mend in found[0][2]


def test_a_sentence_goes_before_commands() -> None:
    assert both("a", "b") == "a && b"
    assert both("a", "# by hand") == "# by hand"


@pytest.mark.parametrize(
    ("line", "makes"),
    [
        ("30 1 * * * cd /opt/x && bin/altbackup run backup.yml -i inventory/sites", True),
        ("30 1 * * * /opt/x/bin/altbackup run backup -i /sites", True),
        ('"/opt/x/bin/altbackup" "run" "backup" "-i" "/sites/"', True),
        ("ansible-playbook -i /sites altbackup.core.backup", True),
        ("30 1 * * * /opt/x/bin/altbackup run backup -i /sites-b", False),
        ("0 7 * * 0 cd /home/backup/x && altbackup run check -i /sites", False),
    ],
)
def test_a_line_makes_backups_of_an_inventory_if_it_says_both(line: str, makes: bool) -> None:
    assert bool(controller.scheduled([{"line": line}], ["/sites"])) is makes


def test_a_key_of_a_pair_that_set_up_binds_is_admitted_by_that_and_opens_no_shell() -> None:
    facts = healthy()
    _authorized(DENIED, lines=[])(facts)
    examined = {node: {"facts": own, "said": ""} for node, own in facts.items()}
    found = decide.decide(planned(variables()), {}, examined, {}, replace(COMMANDS, has_setup=True))
    mends = [finding.mend for finding in found if finding.what == "key"]
    assert mends and all("run setup" in mend and "restrict" not in mend for mend in mends)


def test_a_setting_whose_value_goes_over_lines_is_set_by_hand() -> None:
    commands = replace(COMMANDS, files={"/inventory/host_vars/web.yml": ["altbackup_targets:", "  - a"]})
    assert commands.setting("web", "altbackup_targets", ["a", "b"]).startswith("# ")
    commands = replace(COMMANDS, files={"/inventory/host_vars/web.yml": ["altbackup_targets: [a]  # one"]})
    assert "lineinfile" in commands.setting("web", "altbackup_targets", ["a", "b"])
