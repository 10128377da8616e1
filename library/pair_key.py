#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module pair_key: the key with which a node dials a peer, and the peer's host keys."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pair_key
short_description: Make the key with which a node dials one peer for transfers, and try it
version_added: 0.2.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.ssh]
description:
  - For the side that runs rsync. Makes an ed25519 key for this peer alone, which never leaves this node, in C(.altbackup/trust/PEER/) of its base.
    Transfers use it by themselves from then on.
  - Pins the host keys that are given in a file of its own, whatever the peer's address.
  - Logs in to the peer as transfers do, and returns what its forced command says, such as the address that it saw.
options:
  base:
    description: The base of this node, which holds the marker C(.altbackup/).
    type: path
    required: true
  peer:
    description: A mapping like the peers of M(altbackup.core.tarball_send).
    type: dict
    required: true
  rotate:
    description: Whether a new key is made. Both are valid until a trial with the new one went well; then it is the only one.
    type: bool
    default: false
  host_keys:
    description: The host keys of the peer, as type and key. Empty leaves those that are known.
    type: list
    elements: str
    default: []
  trial:
    description: Whether to log in, and whether it is a failure where that does not lead to the folder of the pair.
    type: str
    choices: ['no', ask, require]
    default: 'no'
  state:
    description: Whether there is to be a key.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Makes no key and pins nothing; tries the key that there is.
    support: full
"""

EXAMPLES = r"""
- name: Make a key for a target
  altbackup.core.pair_key:
    base: /home/scm/backup/dayabay
    peer: {node: cms01, host: cms01.example.org, folder: /data/backup/.altbackup/incoming/dayabay}
"""

RETURN = r"""
public_keys:
  description: The public keys that are valid, as type and key; two while a key is rotated.
  returned: always
  type: list
  elements: str
  sample: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII]
answer:
  description: What the forced command said, such as the C(address) that it saw; empty where nobody asked, or it did not answer.
  returned: always
  type: dict
  sample: {address: 192.0.2.7, does: add, folder: /data/backup/.altbackup/incoming/dayabay, landlock: 4, rsync: true, key: key}
refused:
  description: Why a trial went wrong; empty where it did not.
  returned: always
  type: str
  sample: ''
failures:
  description: What went wrong.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.synchronize.peers import SSH, parse_peer
from ..module_utils.synchronize.trust import dial, forget
from ..module_utils.system.process_groups import end_with_children
from ..module_utils.tree.module_call import CALL, run_module

EMPTY = {"public_keys": [], "answer": {}, "refused": ""}


def run(options: dict, check_mode: bool) -> dict:
    """Make, try or remove the key for the peer; return the result."""
    peer = parse_peer(options["peer"], options["ssh_args"])
    if options["state"] == "absent":
        return {**EMPTY, "changed": forget(options["base"], peer.node, write=not check_mode)}
    return dial(
        options["base"],
        peer,
        rotate=options["rotate"],
        host_keys=options["host_keys"],
        trial=options["trial"],
        write=not check_mode,
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "peer": {"type": "dict", "required": True},
            "rotate": {"type": "bool", "default": False},
            "host_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "trial": {"type": "str", "choices": ["no", "ask", "require"], "default": "no"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            **SSH,
            **CALL,
        },
        supports_check_mode=True,
    )
    end_with_children()
    run_module(module, "trust", EMPTY, lambda: run(module.params, module.check_mode))


if __name__ == "__main__":
    main()
