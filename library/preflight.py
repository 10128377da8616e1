#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module preflight: what a node must have before anything is touched."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check markers, tools and clock of a node, and discover its items
version_added: 0.1.0
author: altbackup developers (@altbackup)
description:
  - Checks that base folders are marked and writable, that tools are installed, and that the clock agrees with the controller's.
  - Finds every repository below given folders, and reports what is none.
options:
  bases:
    description: Base folders.
    type: list
    elements: path
    required: true
  tools:
    description: Programs that must be installed.
    type: list
    elements: str
    default: []
  ext:
    description: The archive format whose compressor must be installed.
    type: str
    default: ''
  discover:
    description: A folder for each kind of item, all of whose repositories are items.
    type: dict
    default: {}
  now:
    description: The controller's clock, in seconds since 1970.
    type: float
  writable:
    description: Whether the bases must be writable.
    type: bool
    default: true
  items:
    description: Items that are dumped to the first of the bases, as the inventory has them, for an estimate of space.
    type: list
    elements: dict
    default: []
  trees:
    description: Trees that receive tarballs, mappings of C(base) and C(keys), for an estimate of space.
    type: list
    elements: dict
    default: []
  peers:
    description: Targets that this source has to reach over ssh, all tried at once.
    type: list
    elements: dict
    default: []
    suboptions:
      target:
        description: The target's inventory name.
        type: str
        required: true
      path:
        description: A folder that is there.
        type: path
        required: true
      host:
        description: The address to dial.
        type: str
        required: true
      port:
        description: The port to dial.
        type: int
      user:
        description: The user to log in as.
        type: str
        default: ''
      ssh_key:
        description: The private key's path on this node.
        type: path
      ssh_args:
        description: Further ssh options.
        type: list
        elements: str
        default: []
      connect_timeout:
        description: Seconds to wait for a connection.
        type: float
        default: 15
      io_timeout:
        description: Seconds of silence after which it is given up.
        type: float
        default: 60
  step_timeout:
    description: Seconds after which all tries are ended.
    type: float
    default: 21600
  fail:
    description: Whether the module fails when something is wrong.
    type: bool
    default: true
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
"""

EXAMPLES = r"""
- name: See whether a source is ready
  altbackup.core.preflight:
    bases: [/home/scm/backup/dayabay]
    tools: [svnadmin, rsync]
    discover: {svn: /home/scm/svn}
"""

RETURN = r"""
items:
  description: The items that were discovered.
  returned: always
  type: list
  elements: dict
  sample: [{kind: svn, name: dybsvn, path: /home/scm/svn/dybsvn}]
notes:
  description: What was found that is no item.
  returned: always
  type: list
  elements: str
  sample: []
free:
  description: Free bytes of each base.
  returned: always
  type: dict
  sample: {/home/scm/backup/dayabay: 8400000000}
unreachable_peers:
  description: The peers that could not be reached.
  returned: always
  type: list
  elements: str
  sample: []
usable:
  description: Whether all base folders can be used.
  returned: always
  type: bool
  sample: true
failures:
  description: What is wrong.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.failures import attempt, summarize
from ..module_utils.inspection import inspect
from ..module_utils.processes import Deadline, end_with_children
from ..module_utils.transfer import Peer

EMPTY = {"changed": False, "items": [], "notes": [], "free": {}, "usable": False, "unreachable_peers": []}
PEER = {
    "target": {"type": "str", "required": True},
    "path": {"type": "path", "required": True},
    "host": {"type": "str", "required": True},
    "port": {"type": "int"},
    "user": {"type": "str", "default": ""},
    "ssh_key": {"type": "path", "no_log": False},
    "ssh_args": {"type": "list", "elements": "str", "default": []},
    "connect_timeout": {"type": "float", "default": 15},
    "io_timeout": {"type": "float", "default": 60},
}


def peer_of(value: dict) -> Peer:
    """Given a peer as an option, return the Peer."""
    limits = {name: value[name] for name in ("connect_timeout", "io_timeout")}
    return Peer(
        value["target"],
        "",
        value["host"],
        value["port"],
        value["user"],
        value["ssh_key"] or "",
        tuple(value["ssh_args"]),
        **limits,
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "bases": {"type": "list", "elements": "path", "required": True},
            "tools": {"type": "list", "elements": "str", "default": []},
            "ext": {"type": "str", "default": ""},
            "discover": {"type": "dict", "default": {}},
            "now": {"type": "float"},
            "writable": {"type": "bool", "default": True},
            "items": {"type": "list", "elements": "dict", "default": []},
            "trees": {"type": "list", "elements": "dict", "default": []},
            "peers": {"type": "list", "elements": "dict", "options": PEER, "default": []},
            "step_timeout": {"type": "float", "default": 21600},
            "fail": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    end_with_children()
    options = module.params
    result = attempt(
        "preflight",
        EMPTY,
        lambda: inspect(
            options["bases"],
            discover=options["discover"],
            ext=options["ext"],
            tools=options["tools"],
            now=options["now"],
            writable=options["writable"],
            items=options["items"],
            trees=options["trees"],
            peers=[(peer_of(value), value["path"]) for value in options["peers"]],
            deadline=Deadline(options["step_timeout"], "preflight"),
        ),
    )
    if result["failures"] and options["fail"]:
        module.fail_json(msg=summarize(result["failures"]), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
