"""The programs that each node of a plan needs, which set-up installs and doctor looks for, and the packages that have them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from ...module_utils.archive.examine import DECOMPRESSORS
from ...module_utils.kinds.registry import KINDS, kind_of
from ...module_utils.system.programs import PACKAGES
from .stores import store_trees

_OTHER_PACKAGES: Mapping[str, Mapping[str, str]] = {
    "RedHat": {
        **dict.fromkeys(("ssh", "ssh-keygen"), "openssh-clients"),
        **dict.fromkeys(("pg_dump", "pg_restore"), "postgresql"),
        **dict.fromkeys(("mariadb", "mariadb-dump"), "mariadb"),
        "slapcat": "openldap-servers",
    }
}
"""{family of distributions: {program: its package, if its name differs from Debian's}}"""


def package_of(tool: str, family: str = "") -> str:
    """Return the package of a program in a family of distributions, as Ansible calls it."""
    return _OTHER_PACKAGES.get(family, {}).get(tool) or PACKAGES.get(tool, tool)


def node_tools(plan: Mapping[str, Any], node: str) -> list[str]:
    """Return the programs that a node needs, besides those of every node: to dump its items, to prove tarballs, to encrypt, and to fill stores.

    A backup does not ask for them on targets: what lacks there fails a drill, and nothing else. The plan may have errors.
    """
    source = plan["sources"].get(node, {})
    dumped = (kind_of(kind) for kind in sorted(set(_kinds(source))) if kind in KINDS)
    filled = store_trees(plan, server=node)
    found = [tool for kind in dumped for tool in (*kind.tools, *kind.clients)]
    found += [tool for tree in proved_trees(plan, node) for tool in _provers(plan, tree, node)]
    found += sealing(source)
    return list(dict.fromkeys([*found, *(["rclone"] if filled else [])]))


def sealing(source: Mapping[str, Any]) -> list[str]:
    """Return the programs that a source needs to encrypt, none where it does not."""
    asked = [source.get("encrypt_to"), *(item.get("encrypt_to") for item in source.get("item_list", ()))]
    return ["age", "ssh-keygen"] if any(asked) else []


def proved_trees(plan: Mapping[str, Any], node: str) -> list[Mapping[str, Any]]:
    """Return the trees whose tarballs a node proves in drills: its own unless another host drills them, those of others, and those in stores."""
    drilled = [
        tree
        for name, entry in plan["nodes"].items()
        for tree in entry["trees"]
        if (entry.get("drill_host") or name) == node
    ]
    return [*drilled, *(tree for tree in store_trees(plan, server=node) if plan["stores"][tree["node"]].get("drill"))]


def _kinds(source: Mapping[str, Any], *, readable: bool = True) -> Iterator[str]:
    """Yield the kinds of a source's items, only of those that are not encrypted unless it is `readable` what is."""
    sealed = bool(source.get("encrypt_to"))
    for item in source.get("item_list", ()):
        if readable or not item.get("encrypt_to", sealed):
            yield str(item["kind"])
    if readable or not sealed:
        yield from source.get("discover") or ()


def _provers(plan: Mapping[str, Any], tree: Mapping[str, Any], node: str) -> list[str]:
    """Return what the proofs of a tree's tarballs need; on a target nothing is decrypted that is not its own, see docs/drills.md."""
    source = plan["sources"].get(tree["source"], {})
    readable = node not in plan["targets"] or tree["source"] == node
    kinds = sorted(set(_kinds(source, readable=readable)).intersection(KINDS))
    if not kinds:
        return []
    ending = os.path.splitext(str(source.get("ext") or ""))[1]
    locked = sealing(source)[:1] if readable else []
    tools = [tool for kind in map(kind_of, kinds) for tool in (*kind.tools, *kind.provers)]
    return [*tools, *locked, *([DECOMPRESSORS[ending]] if ending in DECOMPRESSORS else [])]
