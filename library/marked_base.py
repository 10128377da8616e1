#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module marked_base: make a base with its marker, and report its room."""

from __future__ import annotations

DOCUMENTATION = r"""
module: marked_base
short_description: Make a base with its marker, and tell how much room it has
version_added: 0.2.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call]
description:
  - Makes the folder in which tarballs are to lie, and in it the marker C(.altbackup/), both mode 0700.
  - Refuses a base on the root file system, where a disk that is not mounted would have its place, unless it has a marker already or that is allowed.
  - What is there and holds something is never given another owner or mode, but a base to which others can write is a failure.
options:
  base:
    description: Absolute path of the folder.
    type: path
    required: true
  owner:
    description: The user whose it is to be, by name. Empty is the user of this call.
    type: str
    default: ''
  allow_root_filesystem:
    description: Whether it may lie on the root file system.
    type: bool
    default: false
  tools:
    description: Programs that are to be there.
    type: list
    elements: str
    default: []
  state:
    description: C(absent) removes base and marker if nothing but what set-up makes lies there.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Makes and removes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Make a base
  altbackup.core.marked_base:
    base: /data/backup
"""

RETURN = r"""
free:
  description: Free bytes on its file system.
  returned: always
  type: int
  sample: 8400000000
size:
  description: Bytes of its file system.
  returned: always
  type: int
  sample: 16000000000
file_system:
  description: The type of its file system.
  returned: always
  type: str
  sample: ext4
missing:
  description: Those of O(tools) that are not there.
  returned: always
  type: list
  elements: str
  sample: []
notes:
  description: What stays.
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
from ..module_utils.tree.marking import clear_base, mark_base
from ..module_utils.tree.module_call import CALL, run_module

EMPTY = {"free": 0, "size": 0, "file_system": "", "missing": [], "notes": []}


def run(options: dict, check_mode: bool) -> dict:
    """Make or remove the base with its marker; return the result."""
    if options["state"] == "absent":
        changed, notes = clear_base(options["base"], write=not check_mode)
        return {**EMPTY, "changed": changed, "notes": notes, "failures": []}
    found = mark_base(
        options["base"],
        owner=options["owner"],
        allow_root=options["allow_root_filesystem"],
        tools=options["tools"],
        write=not check_mode,
    )
    return {**EMPTY, **found, "failures": []}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "owner": {"type": "str", "default": ""},
            "allow_root_filesystem": {"type": "bool", "default": False},
            "tools": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            **CALL,
        },
        supports_check_mode=True,
    )
    run_module(module, "nodes", EMPTY, lambda: run(module.params, module.check_mode))


if __name__ == "__main__":
    main()
