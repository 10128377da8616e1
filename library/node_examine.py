#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module node_examine: facts about a node for setting it up."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_examine
short_description: Tell what a node is like, for a set-up to be judged
version_added: 0.2.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.reading, altbackup.core.call.ssh]
description:
  - Returns facts - bases with their markers, owners, modes and room, programs with their versions, the clock, schedules, authorized keys,
    and step by step how far the ways to its peers go.
  - Judges none of it, and changes nothing. C(bin/altbackup doctor) judges it.
  - With O(below), O(folders) or O(servers) it returns what could be backed up instead.
options:
  owners:
    description: The base folders and whose they are to be, as in M(altbackup.core.preflight).
    type: list
    elements: dict
    default: []
  tools:
    description: Programs that are needed.
    type: list
    elements: str
    default: []
  kinds:
    description: Kinds of items whose programs are needed, too.
    type: list
    elements: str
    default: []
  ext:
    description: The archive format that is written, if any.
    type: str
    default: ''
  items:
    description: Items as the inventory has them.
    type: list
    elements: dict
    default: []
  key_files:
    description: Paths at which a private key may lie that opens encrypted backups. If it lies in an item, its public key is returned.
    type: list
    elements: str
    default: []
  discover:
    description: A folder for each kind of item, all of whose repositories are items.
    type: dict
    default: {}
  trees:
    description: Trees in the bases that receive tarballs, as in M(altbackup.core.preflight).
    type: list
    elements: dict
    default: []
  keeps:
    description: As in M(altbackup.core.preflight).
    type: dict
    default: {}
  rules:
    description: As in M(altbackup.core.preflight).
    type: dict
    default: {}
  peers:
    description: The other ends of transfers that this node sends, mappings as in M(altbackup.core.tarball_send).
    type: list
    elements: dict
    default: []
  fetched:
    description: The other ends of transfers that this node fetches.
    type: list
    elements: dict
    default: []
  logins:
    description: Users as whom peers log in here, whose authorized keys are read.
    type: list
    elements: str
    default: []
  port:
    description: Port at which peers find this node's sshd, whose host keys are returned first; 0 for that at which the controller does.
    type: int
    default: 0
  now:
    description: The controller's clock, in seconds since 1970, which is returned beside this node's.
    type: float
  stores:
    description: Stores that this node fills, as in M(altbackup.core.store_sync). Each is asked whether it is there, and what its bucket can do.
    type: list
    elements: dict
    default: []
  below:
    description: Folders below which repositories are looked for.
    type: list
    elements: path
    default: []
  folders:
    description: Folders of which those that are there are returned.
    type: list
    elements: path
    default: []
  servers:
    description:
      - Where servers of databases are looked for, paths by kind - folders of sockets of V(postgresql), sockets of V(mysql), and folders with a
        configuration of V(ldap).
      - Nothing is connected to. A socket counts where somebody listens at it, and no link is followed.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: See what a node is like
  altbackup.core.node_examine:
    owners: [{base: /data/backup, role: target, name: cms01}]
    tools: [tar, rsync]
  register: node

- name: See what could be backed up there
  altbackup.core.node_examine:
    below: [/srv]
    folders: [/etc]
    servers: {postgresql: [/run/postgresql]}
  register: found
"""

RETURN = r"""
facts:
  description:
    - What was found out, or with O(below), O(folders) or O(servers) the C(repositories), C(folders) and C(servers) that are there, the last ones
      with their kind, path and owner.
  returned: always
  type: dict
  sample:
    user: scm
    python: 3.11.2
    began: 1780000000.0
    tools: {rsync: rsync  version 3.2.7  protocol version 31}
failures:
  description: Why nothing was found out.
  returned: always
  type: list
  elements: dict
  sample: []
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.stages.examine import Questions, examine
from ..module_utils.stages.survey import survey
from ..module_utils.stages.survey_servers import find_servers
from ..module_utils.synchronize.peers import SSH, parse_peer
from ..module_utils.system.priority import lower_priority
from ..module_utils.system.process_groups import end_with_children
from ..module_utils.system.processes import Deadline
from ..module_utils.tree.locks import READING
from ..module_utils.tree.module_call import run_module

TAKEN = (
    "owners",
    "tools",
    "kinds",
    "ext",
    "items",
    "key_files",
    "discover",
    "trees",
    "keeps",
    "rules",
    "logins",
    "port",
    "now",
)


def run(options: dict) -> dict:
    """Return the facts."""
    lower_priority(options["nice"], options["ionice"])
    deadline = Deadline(options["step_timeout"], "examining this node")
    if options["below"] or options["folders"] or options["servers"]:
        found = survey(options["below"], options["folders"], deadline)
        return {"facts": {"uid": os.geteuid(), **found, "servers": find_servers(options["servers"], deadline)}}
    peers, fetched = (
        [parse_peer(value, options["ssh_args"]) for value in options[name]] for name in ("peers", "fetched")
    )
    asked = Questions(**{name: options[name] for name in TAKEN}, peers=peers, fetched=fetched, deadline=deadline)
    facts = examine(asked)
    if options["stores"]:
        from ..module_utils.stores.examine import examine_store

        facts["stores"] = [examine_store(value, deadline) for value in options["stores"]]
    return {"facts": facts}


def main() -> None:
    """Run the module."""
    lists = {name: {"type": "list", "elements": "dict", "default": []} for name in ("owners", "items", "trees")}
    texts = {
        name: {"type": "list", "elements": "str", "default": []} for name in ("tools", "kinds", "logins", "key_files")
    }
    module = AnsibleModule(
        argument_spec={
            **lists,
            **texts,
            "ext": {"type": "str", "default": ""},
            "discover": {"type": "dict", "default": {}},
            "keeps": {"type": "dict", "default": {}},
            "rules": {"type": "dict", "default": {}},
            "peers": {"type": "list", "elements": "dict", "default": []},
            "fetched": {"type": "list", "elements": "dict", "default": []},
            "port": {"type": "int", "default": 0},
            "now": {"type": "float"},
            "stores": {"type": "list", "elements": "dict", "default": []},
            "below": {"type": "list", "elements": "path", "default": []},
            "folders": {"type": "list", "elements": "path", "default": []},
            "servers": {"type": "dict", "default": {}},
            **SSH,
            **READING,
        },
        supports_check_mode=True,
    )
    end_with_children()
    run_module(module, "examine", {"facts": {}}, lambda: run(module.params))


if __name__ == "__main__":
    main()
