"""A plan of one source and two targets, and results that tasks register on its trees."""

from __future__ import annotations

from typing import Any

TREE = {"node": "cms01", "source": "dayabay", "base": "/copies/dayabay", "role": "target"}

SVN = "svn/dybsvn/2013/05/10/104701/dybsvn-1.tar.zst"

GIT = "git/toolbox/2013/05/10/104701/toolbox.tar.zst"

PLAN: dict[str, Any] = {
    "sources": {
        "dayabay": {
            "base": "/backup",
            "targets": ["cms01", "sdu"],
            "local_targets": ["sdu"],
            "transport": {"cms01": "push", "sdu": "push"},
            "rsync_host": "dayabay.example.org",
            "rsync_port": 2200,
            "rsync_user": "scm",
            "rrsync": False,
            "nice": 5,
            "ionice": "",
            "connect_timeout": 15.0,
            "io_timeout": 60.0,
            "bwlimit": 4096,
            "min_rate": 8192,
            "ssh_key": "~/.ssh/key",
        }
    },
    "targets": {
        name: {
            "target_base": "/copies",
            "rsync_host": f"{name}.example.org",
            "rsync_port": port,
            "rsync_user": "",
            "connect_timeout": 20.0,
            "io_timeout": 30.0,
            "bwlimit": 2048,
            "min_rate": 3072,
            "ssh_key": "~/.ssh/fetch",
            "rrsync": False,
            "nice": 10,
            "ionice": "idle",
        }
        for name, port in (("cms01", 2222), ("sdu", None))
    },
    "nodes": {
        "dayabay": {
            "check_scope": "all",
            "step_timeout": 60.5,
            "trees": [{"role": "source", "source": "dayabay", "base": "/backup"}],
        },
        "cms01": {
            "check_scope": "day",
            "step_timeout": 30.0,
            "trees": [{"role": "target", "source": "dayabay", "base": "/copies/dayabay"}],
        },
        "sdu": {
            "check_scope": "day",
            "step_timeout": 30.0,
            "trees": [{"role": "target", "source": "dayabay", "base": "/copies/dayabay"}],
        },
    },
}


def loop(*results: dict[str, Any]) -> dict[str, Any]:
    """Return results as a task in a loop registers them."""
    return {"results": [{"ansible_loop_var": "tree", "tree": TREE, **result} for result in results]}


def drilled(node: str, dig: str, role: str = "target") -> dict[str, Any]:
    """Return the results of a drill of a tree, which proved the tarball SVN."""
    tree = {**TREE, "node": node, "role": role}
    proof = {"relpath": SVN, "dig": dig, "alg": "sha256", "size": 5, "when": "2013-05-11T04:00:00Z"}
    return {"results": [{"tree": tree, "ansible_loop_var": "tree", "proved": [proof]}]}


def counted(node: str, dna: str, role: str = "target") -> dict[str, Any]:
    """Return the results of a check of a tree, in which the tarball SVN has a dna."""
    tree = {**TREE, "node": node, "role": role}
    return {"results": [{"tree": tree, "ansible_loop_var": "tree", "relpaths": {}, "dnas": {SVN: dna}}]}
