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

EMPTY = {"changed": False, "items": [], "notes": [], "free": {}, "usable": False}


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
            "fail": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
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
        ),
    )
    if result["failures"] and options["fail"]:
        module.fail_json(msg=summarize(result["failures"]), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
