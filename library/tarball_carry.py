#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_carry: copy tarballs from one node to another by way of the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_carry
short_description: Bring tarballs from one node to another by way of the controller
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call]
description:
  - Runs on the controller, which reaches both nodes by ssh with keys. Fetches tarballs with rsync into a private folder and sends them on, so that
    the two nodes need to know nothing of each other.
  - A transfer that is cut goes on where it was, twice. The private folder is removed at the end, whatever happens; one that a killed call left is
    removed by the next.
requirements:
  - rsync and ssh on the controller, rsync on both nodes
options:
  tree:
    description: Whether the tarballs keep their paths below the folder; then one that cannot be read is a failure that holds up no other.
    type: bool
    default: false
  origin:
    description:
      - The node that holds the tarballs, a mapping of node, folder (the base of the tree), host, port, user, ssh_key, connect_timeout, io_timeout,
        min_rate and sudo. Without host it is the controller itself.
    type: dict
    required: true
  destination:
    description: The host that needs them, a mapping as in O(origin); its folder is where they are to arrive.
    type: dict
    required: true
  relpaths:
    description: The tarballs, as paths below the base. They arrive under their last names, unless O(tree).
    type: list
    elements: str
    required: true
  size:
    description: Their bytes, for which the controller must have room.
    type: int
    required: true
  spool:
    description: The folder on the controller through which they travel.
    type: path
    default: ~/.altbackup/restore
  step_timeout:
    description: Seconds after which all is ended.
    type: float
    default: 21600
  progress:
    description: A file that the call makes while it runs, to say in it how many bytes are done, and removes at its end. Empty makes none.
    type: path
    default: ''
  origin_ssh_args:
    description:
      - Further options of ssh for the way to the origin, which may hold secrets; a list of words as JSON, in base64, so that it can be
        hidden wherever it would be shown without hiding words that are like one of its own.
    type: str
    default: ''
  destination_ssh_args:
    description: Those for the way to the destination.
    type: str
    default: ''
attributes:
  check_mode:
    description: Carries nothing.
    support: full
"""

EXAMPLES = r"""
- name: Bring a tarball to a new host
  altbackup.core.tarball_carry:
    origin:
      node: cms01
      folder: /data/backup/dayabay
      host: 203.0.113.7
      port: 2222
    destination:
      node: fresh
      folder: /home/scm/svn/.altbackup-tmp-restore-dybsvn/incoming
      host: 203.0.113.9
    relpaths: [svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz]
    size: 1915051630
  delegate_to: localhost
"""

RETURN = r"""
seconds:
  description: How long it took.
  returned: always
  type: float
  sample: 41.2
notes:
  description: What was removed.
  returned: always
  type: list
  elements: str
  sample: []
failures:
  description: What went wrong.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.restore.carry import transfer
from ..module_utils.synchronize.peers import parse_peer
from ..module_utils.system import progress
from ..module_utils.system.process_groups import end_with_children
from ..module_utils.system.processes import Deadline
from ..module_utils.tree.module_call import CALL, run_module

EMPTY = {"seconds": 0.0, "notes": []}


def run(options: dict, check_mode: bool) -> dict:
    """Carry the tarballs; in check mode predict only whether anything would change."""
    if check_mode:
        return {"changed": bool(options["relpaths"])}
    ends = (
        parse_peer(options["origin"], options["origin_ssh_args"]),
        parse_peer(options["destination"], options["destination_ssh_args"]),
    )
    deadline = Deadline(options["step_timeout"], "transfer")
    with progress.reported(options["progress"]):
        return transfer(*ends, options["relpaths"], options["size"], deadline, options["spool"], tree=options["tree"])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "origin": {"type": "dict", "required": True},
            "destination": {"type": "dict", "required": True},
            "relpaths": {"type": "list", "elements": "str", "required": True},
            "size": {"type": "int", "required": True},
            "tree": {"type": "bool", "default": False},
            "spool": {"type": "path", "default": "~/.altbackup/restore"},
            "step_timeout": {"type": "float", "default": 21600},
            "progress": {"type": "path", "default": ""},
            "origin_ssh_args": {"type": "str", "default": "", "no_log": True},
            "destination_ssh_args": {"type": "str", "default": "", "no_log": True},
            **CALL,
        },
        supports_check_mode=True,
    )
    end_with_children()
    stage = "drill" if module.params["tree"] else "restore"
    run_module(module, stage, EMPTY, lambda: run(module.params, module.check_mode))


if __name__ == "__main__":
    main()
