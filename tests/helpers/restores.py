"""Orders of a restore, and what nodes tell that they hold for them."""

from __future__ import annotations

from typing import Any

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan import build_plan
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.restore import choose, plan_restores

NOW = 1368182821.0
SVN = {"kind": "svn", "name": "dybsvn", "path": "/home/scm/svn/dybsvn"}
FOLDER = {"kind": "folder", "name": "svnsetup", "path": "/etc/apache2/svnsetup"}
ENTRY = {"source": "dayabay", "kind": "svn", "name": "dybsvn"}
HOSTS = ["dayabay", "cms01", "sdu", "fresh"]
OLD, NEW = "2013/05/09/104701", "2013/05/10/104701"
DIG, OTHER_DIG = "a" * 64, "b" * 64


def plan_of(**every: Any) -> dict[str, Any]:
    """Return a plan of one source with two targets; extra variables for all hosts."""
    variables: dict[str, dict[str, Any]] = {
        "dayabay": {
            "altbackup_base": "/backup",
            "altbackup_items": [SVN, FOLDER],
            "altbackup_discover": {"git": "/home/scm/git"},
            "altbackup_targets": ["cms01", "sdu"],
        },
        "cms01": {"altbackup_target_base": "/copies"},
        "sdu": {"altbackup_target_base": "/copies"},
    }
    for values in variables.values():
        values.update({f"altbackup_{name}": value for name, value in every.items()})
    groups = {"all": HOSTS, "sources": ["dayabay"], "targets": ["cms01", "sdu"]}
    plan = build_plan(variables, groups, {}, NOW)
    assert plan["errors"] == []
    return plan


def plan_entry(value: Any, **every: Any) -> dict[str, Any]:
    """Return the restores of one entry."""
    return plan_restores(plan_of(restore=[value], **every), HOSTS)


def order_of(**more: Any) -> dict[str, Any]:
    """Return the order of a good entry."""
    planned = plan_entry({**ENTRY, **more})
    assert planned["failures"] == []
    (order,) = planned["orders"]
    return dict(order)


def tarball(stamp: str, *, state: str = "verified", filename: str = "dybsvn-3.tar.zst", **more: Any) -> dict[str, Any]:
    """Return a tarball as tarball_find tells of it."""
    problem = "" if state == "verified" else "has no dna: still arriving, or its transfer failed"
    known = {"relpath": f"svn/dybsvn/{stamp}/{filename}", "stamp": stamp, "size": 1000, "dig": DIG, "alg": "sha256"}
    return {**known, "base": "", "base_dig": "", "state": state, "problem": problem, "record": {"kind": "svn"}, **more}


def found(*tarballs: dict[str, Any], problem: str = "", base: str = "/copies/dayabay") -> dict[str, Any]:
    """Return what tarball_find registered on a node."""
    tree = {"source": "dayabay", "base": base, "tarballs": list(tarballs), "keys": ["svn/dybsvn"], "problem": problem}
    return {"trees": [tree], "changed": False}


UNREACHABLE = {"unreachable": True, "msg": "ssh: connect to host\n timed out"}
PEERS: dict[str, dict[str, Any]] = {host: {"node": host, "host": f"{host}.example.org"} for host in HOSTS}


def choose_one(
    order: dict[str, Any], nodes: dict[str, Any], speeds: Any = None, peers: Any = None, **every: Any
) -> dict[str, Any]:
    """Choose for one order."""
    run = {"when": "2013-05-10 10:47:01 UTC", "by": "scm on controller"}
    return choose(plan_of(**every), [order], nodes, peers or PEERS, speeds or {}, run)
