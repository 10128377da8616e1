#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_find: what a node holds of some items, for a restore."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_find
short_description: Find the tarballs that a node holds of some items
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.reading]
description:
  - Lists the tarballs of some items in some trees of a node, with what their sidecars say and what the dump recorded; reads no bytes of them.
  - What is wrong with a tree, such as that it is not there or that another run has it, is told as its C(problem) and is no failure.
options:
  trees:
    description: The trees, mappings of source (its name), base (its path), keys (items, C(<category>/<name>)) or every, true for all items, and
      own, true for the base of the source itself, of which nothing is found if it is known to be that of another owner.
    type: list
    elements: dict
    required: true
  run:
    description: The run of a playbook that this call belongs to, as its plan has it. A tree that is another run's is not looked at.
    type: dict
"""

EXAMPLES = r"""
- name: Find what this node holds of a repository
  altbackup.core.tarball_find:
    trees:
      - source: dayabay
        base: /data/backup/dayabay
        keys: [svn/dybsvn]
"""

RETURN = r"""
trees:
  description:
    - The trees, as given, each with its tarballs of the items, newest last, the keys of all items in it, and its problem, if there is one.
    - C(origin) is base and id of the source whose tree it is, or whose copies it holds, as far as that is known.
    - The state of a tarball is V(verified), V(missing), V(malformed) or V(mismatch), as the sidecar has it, V(alone) for a differential without its
      full one, or V(quarantined) where it rotted and no good copy has come yet.
  returned: always
  type: list
  elements: dict
  sample:
    - source: dayabay
      base: /data/backup/dayabay
      problem: ''
      origin: {base: /home/scm/backup/dayabay, id: 5f0c2d8d1c0b4b8f9f0e6a7d3c2b1a09}
      keys: [svn/dybsvn, tracs/dybsvn]
      tarballs:
        - relpath: svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz
          stamp: 2013/05/10/104701
          size: 1915051630
          dig: 7b87e78cc03ea544e2ad3abae46eecd1
          alg: md5
          base: ''
          base_dig: ''
          state: verified
          problem: ''
          record: {kind: svn, uuid: 9f1e2c4e-6c38-4d1c-9d27-0c0b3c1c5e0f, revision: 20496}
failures:
  description: What went wrong with the call itself.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.restore.find import find
from ..module_utils.system.priority import lower_priority
from ..module_utils.tree.locks import WRITING, parse_run
from ..module_utils.tree.module_call import run_module

EMPTY: dict = {"trees": []}


def run(options: dict) -> dict:
    """Find what the trees hold; return the result."""
    lower_priority(options["nice"], options["ionice"])
    return find(options["trees"], parse_run(options["run"]))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "trees": {"type": "list", "elements": "dict", "required": True},
            **WRITING,
        },
        supports_check_mode=True,
    )
    run_module(module, "restore", EMPTY, lambda: run(module.params))


if __name__ == "__main__":
    main()
