#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module preflight: what a node must have before anything is changed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check markers, tools and clock of a node, and discover its items
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.writing, altbackup.core.call.ssh]
description:
  - Checks that base folders are marked and writable, that tools are installed, and that the clock agrees with the controller's.
  - Finds every repository below given folders, damaged ones, too, and reports what is none.
  - It is a failure if something there cannot be seen, if nothing is found, or if what was backed up is no repository any more.
  - Tries in the private folders of bases that are to be written whether their file systems have links and keep modes; what they have not
    is a note.
  - Takes trees for a run, and removes what killed runs have left in their private folders, before space is estimated.
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
  programs:
    description: Programs that this node needs besides, by its settings, such as C(age) to encrypt and C(rclone) to fill stores.
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
  space:
    description: Whether space is estimated, for O(items), what O(discover) finds, and O(trees).
    type: bool
    default: true
  items:
    description: Items that are dumped to the first of the bases, as the inventory has them, for an estimate of space.
    type: list
    elements: dict
    default: []
  trees:
    description:
      - Trees in the bases, mappings of C(base), C(keys), C(keeps) and C(rules) (as O(keeps) and O(rules)), and C(origin), which is as in
        M(altbackup.core.tarball_prepare). Of these, space is estimated, for the tarballs that they receive.
      - One that does not answer, bears a marker of its own, or holds the copies of another origin, is unusable, and leaves the others as they are.
    type: list
    elements: dict
    default: []
  keeps:
    description: A mapping of category/name to the number of days and contents that are kept, of the first of the bases, for an estimate of what these come to.
    type: dict
    default: {}
  rules:
    description: What else is kept there, as M(altbackup.core.tarball_purge) takes it.
    type: dict
    default: {}
  peers:
    description: The other ends of this node's transfers, all tried at once; mappings as in M(altbackup.core.tarball_send).
    type: list
    elements: dict
    default: []
  fetch:
    description: Whether those transfers are fetched by this node, not sent.
    type: bool
    default: false
  locks:
    description: Trees that the I(run) takes for itself, from now until M(altbackup.core.run_lock) gives them back.
    type: list
    elements: path
    default: []
  owners:
    description:
      - Whose the bases are, mappings of C(base), C(role) (C(source) or C(target)), C(name) and, if it had any, C(former_names).
      - What a run that writes finds to be nobody's is marked as that owner's; what is another one's is unusable.
    type: list
    elements: dict
    default: []
  watch:
    description:
      - What the node is to know of the source of the first of O(trees) to notice by itself that it does not come, such as C(source), C(target), C(items),
        C(max_age) and C(mail). An empty one ends that, none leaves it as it is. Where its check does not run, that is a failure.
    type: dict
  watch_secrets:
    description: Of that what nobody is to see, C(password), C(ping_url) and C(push_url).
    type: dict
    default: {}
  watch_program:
    description: The program of that check, as base64.
    type: str
    default: ''
attributes:
  check_mode:
    description: Takes no lock, marks no base and removes nothing.
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
discovered:
  description: Whether these are all, since no folder was missing, empty or unreadable, and nothing that was backed up is gone.
  returned: always
  type: bool
  sample: true
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
identities:
  description:
    - What tells each base of O(owners) that can be used from all others. C(id) is empty while no run has marked it.
    - C(machine) is derived from the machine-id, and empty without one.
    - Then C(boot), C(device) and C(inode) tell whether two are one.
  returned: always
  type: list
  elements: dict
  sample:
    - base: /home/scm/backup/dayabay
      role: source
      name: dayabay
      id: 5f0c2d8d1c0b4b8f9f0e6a7d3c2b1a09
      machine: 0d3c9a3b5b5f4b0e8b0c6b1f2a7e4d55
      boot: 0f2a4a8e-7d0e-4f6b-9a51-0c6f3f6f2b1d
      device: 64769
      inode: 131073
pairs:
  description: What the base of a source knows of its trees on its targets, by target what M(altbackup.core.tarball_purge) returned as pair.
  returned: always
  type: dict
  sample: {}
lacking:
  description:
    - Those of the RV(notes) that tell what the file systems of bases of O(owners) have not, such as links and modes.
    - In check mode what their types tell.
  returned: always
  type: list
  elements: str
  sample: []
steady:
  description:
    - What a base of O(items), and each of O(trees), holds, its trash with it, and what it needs once all that is to be kept is there, both in
      bytes, if space is estimated. C(device) tells whose C(free) bytes are the same.
  returned: always
  type: list
  elements: dict
  sample: [{base: /home/scm/backup/dayabay, held: 4600000000, needed: 4600000000, free: 8400000000, device: 64769}]
unreachable_peers:
  description: The peers that could not be reached.
  returned: always
  type: list
  elements: str
  sample: []
usable:
  description: Whether any of the base folders can be used.
  returned: always
  type: bool
  sample: true
unusable:
  description: The base folders that cannot be used, and those of O(trees) that do not answer, bear a marker of their own, or hold the copies of others.
  returned: always
  type: list
  elements: str
  sample: []
absent:
  description: The base folders that are not there, or not marked, as those of disks that are not mounted, each with the reason of its failure.
  returned: always
  type: dict
  sample: {}
failures:
  description: What is wrong.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.stages.preflight import inspect, parse_demands
from ..module_utils.synchronize.peers import SSH
from ..module_utils.system.priority import lower_priority
from ..module_utils.system.process_groups import end_with_children
from ..module_utils.tree.locks import WRITING
from ..module_utils.tree.module_call import run_module

EMPTY = {
    "items": [],
    "discovered": False,
    "notes": [],
    "free": {},
    "usable": False,
    "unusable": [],
    "absent": {},
    "unreachable_peers": [],
    "identities": [],
    "pairs": {},
    "lacking": [],
    "steady": [],
}


def run(options: dict, check_mode: bool) -> dict:
    """Inspect the node; return the result."""
    lower_priority(options["nice"], options["ionice"])
    return inspect(parse_demands(options, check_mode=check_mode))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "bases": {"type": "list", "elements": "path", "required": True},
            "tools": {"type": "list", "elements": "str", "default": []},
            "programs": {"type": "list", "elements": "str", "default": []},
            "ext": {"type": "str", "default": ""},
            "discover": {"type": "dict", "default": {}},
            "now": {"type": "float"},
            "writable": {"type": "bool", "default": True},
            "space": {"type": "bool", "default": True},
            "items": {"type": "list", "elements": "dict", "default": []},
            "trees": {"type": "list", "elements": "dict", "default": []},
            "keeps": {"type": "dict", "default": {}},
            "rules": {"type": "dict", "default": {}},
            "peers": {"type": "list", "elements": "dict", "default": []},
            "fetch": {"type": "bool", "default": False},
            "locks": {"type": "list", "elements": "path", "default": []},
            "owners": {"type": "list", "elements": "dict", "default": []},
            "watch": {"type": "dict"},
            "watch_secrets": {"type": "dict", "default": {}, "no_log": True},
            "watch_program": {"type": "str", "default": "", "no_log": True},  # not a secret, but long
            **SSH,
            **WRITING,
        },
        supports_check_mode=True,
    )
    end_with_children()
    run_module(module, "preflight", EMPTY, lambda: run(module.params, module.check_mode))


if __name__ == "__main__":
    main()
