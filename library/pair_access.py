#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module pair_access: what a peer's key may do on the node that it dials."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pair_access
short_description: Let the key of one peer add to, or read, one folder and nothing else
version_added: 0.2.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call]
description:
  - For the side that is dialled. Puts the forced command of this collection below C(.altbackup/bin/) of the base, and its line into
    C(~/.ssh/authorized_keys) of the user as whom peers log in. Lines of others keep their places and their bytes.
  - Returns the host keys with which this node answers, so that the peer can pin them.
options:
  base:
    description: The base of this node, which holds the marker C(.altbackup/).
    type: path
    required: true
  kind:
    description: The folder of the pair. Into C(incoming) the key only adds, C(outgoing) it only reads.
    type: str
    choices: [incoming, outgoing]
    required: true
  peer:
    description: The inventory name of the peer, which is that of the folder.
    type: str
    required: true
  public_keys:
    description: The keys of the peer, as type and key. Lines of this pair with others are removed. Empty leaves the lines as they are.
    type: list
    elements: str
    default: []
  sources:
    description: The addresses from which the keys may come, as sshd takes them after C(from=). C(any) is all, empty what the lines have now.
    type: str
    default: ''
  limit:
    description: Bytes that may lie in the folder; 0 for as many as the disk holds.
    type: int
    default: 0
  user:
    description: As whom peers log in. Empty is the user of this call. As another one's, the file is read and written as that one, for which it needs root.
    type: str
    default: ''
  port:
    description: A further port on which this node's sshd answers; 0 for none.
    type: int
    default: 0
  owner:
    description:
      - Whose base it is, as C(role), C(name) and C(former_names). Nothing is changed where the base is known to be another's, as where two names lead to
        one machine. Empty asks for nothing.
    type: dict
    default: {}
  state:
    description: Whether there are to be such lines; C(asked) changes nothing, and returns what identifies the base.
    type: str
    choices: [present, absent, asked]
    default: present
attributes:
  check_mode:
    description: Writes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Let a source add to its folder
  altbackup.core.pair_access:
    base: /data/backup
    kind: incoming
    peer: dayabay
    public_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII]
    sources: 192.0.2.7
"""

RETURN = r"""
host_keys:
  description: The host keys with which this node answers, as type and key.
  returned: always
  type: list
  elements: str
  sample: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII]
sources:
  description: From where the keys may come; empty for anywhere.
  returned: always
  type: str
  sample: 192.0.2.7
folder:
  description: The folder of the pair.
  returned: always
  type: str
  sample: /data/backup/.altbackup/incoming/dayabay
identities:
  description: What identifies the base, where O(owner) says whose it is and it has its marker; at most one.
  returned: always
  type: list
  elements: dict
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
from ..module_utils.synchronize.trust import admit, base_identity, dismiss, host_keys
from ..module_utils.system.process_groups import end_with_children
from ..module_utils.tree.module_call import CALL, run_module
from ..module_utils.tree.owner import parse_owner

EMPTY = {"host_keys": [], "sources": "", "folder": "", "identities": []}


def run(options: dict, check_mode: bool) -> dict:
    """Write or remove the peer's lines in authorized_keys; return the result."""
    base, kind, peer, user = (options[name] for name in ("base", "kind", "peer", "user"))
    identities = base_identity(base, parse_owner(options["owner"]) if options["owner"] else None)
    if options["state"] == "asked":
        return {**EMPTY, "changed": False, "identities": identities, "failures": []}
    if options["state"] == "absent":
        return {**EMPTY, "changed": dismiss(base, kind, peer, user=user, write=not check_mode), "failures": []}
    found = {"changed": check_mode, "sources": "", "folder": ""}  # the key does not exist yet
    if options["public_keys"]:
        found = admit(
            base,
            kind,
            peer,
            options["public_keys"],
            sources=options["sources"],
            limit=options["limit"],
            user=user,
            write=not check_mode,
        )
    return {**found, "host_keys": host_keys(options["port"]), "identities": identities, "failures": []}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "kind": {"type": "str", "choices": ["incoming", "outgoing"], "required": True},
            "peer": {"type": "str", "required": True},
            "public_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "sources": {"type": "str", "default": ""},
            "limit": {"type": "int", "default": 0},
            "user": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 0},
            "owner": {"type": "dict", "default": {}},
            "state": {"type": "str", "choices": ["present", "absent", "asked"], "default": "present"},
            **CALL,
        },
        supports_check_mode=True,
    )
    end_with_children()
    run_module(module, "trust", EMPTY, lambda: run(module.params, module.check_mode))


if __name__ == "__main__":
    main()
