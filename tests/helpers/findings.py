"""What the nodes of a source and a target tell of themselves, changes of that, and what the doctor makes of it."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.altbackup.core.plugins.plugin_utils.doctor import decide
from ansible_collections.altbackup.core.plugins.plugin_utils.doctor.finding import Commands, Finding
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
    """A source and a target, as an inventory has them."""
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
    """What both nodes tell where all is well."""
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


def base_with(node: str, **more: Any) -> Callable[[dict[str, Facts]], None]:
    return lambda facts: facts[node]["bases"][0].update(more)


def tried_with(**more: Any) -> Callable[[dict[str, Facts]], None]:
    return lambda facts: facts["dayabay"]["peers"][0].update(more)


def key_with(**more: Any) -> Callable[[dict[str, Facts]], None]:
    return lambda facts: facts["dayabay"]["peers"][0]["key"].update(more)


def authorized_with(said: str = "", **more: Any) -> Callable[[dict[str, Facts]], None]:
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


def require_alone(change: Callable[[dict[str, Facts]], None], where: str, what: str, mend: str) -> None:
    """Change what healthy nodes tell, and require one finding that is wrong, with a command that has a text and is one."""
    facts = healthy()
    change(facts)
    ((place, thing, command),) = wrong(judged(facts))
    assert (place, thing) == (where, what)
    assert mend in command
    shlex.split(command, comments=True)
