#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module store_sync: fill a store with what a node holds verified, read it in turn, count and purge it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: store_sync
short_description: Fill, check and purge a store
version_added: 0.2.0
author: altbackup developers (@altbackup)
extends_documentation_fragment:
  - altbackup.core.call
  - altbackup.core.call.limits
  - altbackup.core.call.writing
  - altbackup.core.call.moment
  - altbackup.core.call.store
description:
  - A store is a place that this node reaches with rclone, or a folder on a disk that is mounted sometimes. It gets the verified tarballs of one
    source that this node holds, under the same paths and with the same sidecars, the newest first, and never over what is there.
  - What a killed call left there has no sidecar, and is completed or replaced. What the store gives back with other bytes is a failure, and replaced by a
    good one.
options:
  base:
    description: The tree on this node, of a source itself or of its copies on a target.
    type: path
    required: true
  source:
    description: The name of the source, which is that of its folder in the store. By default that of the tree.
    type: str
    default: ''
  steps:
    description: What is done.
    type: list
    elements: str
    choices: [upload, check, purge]
    default: [upload, check]
  scope:
    description: Whether a check reads the share of the night, or all that is there.
    type: str
    choices: [day, all]
    default: day
  reverify_days:
    description: In how many days all that is there is to be read back.
    type: int
    default: 7
  day:
    description: The day that is counted.
    type: str
    default: ''
  expect:
    description: The number of tarballs that are expected of that day, by name or category/name.
    type: dict
    default: {}
  items:
    description: The items (category/name) that are kept there. Without it, all.
    type: list
    elements: str
  keep:
    description: How many days and contents are kept, a number or one for each item (category/name).
    type: raw
    default: 3
  rules:
    description: The other rules of retention, as M(altbackup.core.tarball_purge) takes them.
    type: dict
    default: {}
  marks:
    description: What is accepted, held and retired of the source's copies.
    type: dict
    default: {}
  predicted:
    description: Tarballs that a run in check mode would have made, which count.
    type: list
    elements: str
    default: []
  confirm:
    description: Whether it is meant that numbers to keep fell since the last purge.
    type: bool
    default: false
  adopt:
    description: Whether it is meant that the store is another one than before, or holds something already.
    type: bool
    default: false
  guides:
    description: Files that lie beside the copies in the store, by name.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Fill a disk
  altbackup.core.store_sync:
    store: {name: drawer, remote: /mnt/drawer}
    base: /data/backup/dayabay
"""

RETURN = r"""
store:
  description: The name of the store.
  returned: always
  type: str
  sample: drawer
uploaded:
  description: Tarballs that were put there.
  returned: always
  type: list
  elements: str
  sample: [svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.zst]
replaced:
  description: Tarballs that were put in the place of what was not good.
  returned: always
  type: list
  elements: str
  sample: []
removed:
  description: Tarballs that were removed.
  returned: always
  type: list
  elements: str
  sample: []
kept:
  description: Tarballs that are there, and for which their sidecars vouch.
  returned: always
  type: list
  elements: str
  sample: []
waiting:
  description: Tarballs that were to be put there, and are not yet.
  returned: always
  type: list
  elements: str
  sample: []
match:
  description: Tarballs that were read back, or whose digest the store has, and that are what their sidecar says.
  returned: always
  type: list
  elements: str
  sample: []
mismatch:
  description: Tarballs that are not.
  returned: always
  type: list
  elements: str
  sample: []
counts:
  description: The number found for each key of O(expect).
  returned: always
  type: dict
  sample: {dybsvn: 2}
relpaths:
  description: The newest tarball of each item that counts, for each key of O(expect).
  returned: always
  type: dict
  sample: {}
newest:
  description: The newest good tarball of each item.
  returned: always
  type: list
  elements: dict
  sample: []
suspects:
  description: Why tarballs are suspect, of those that nobody accepted.
  returned: always
  type: dict
  sample: {}
locked_until:
  description: Until when tarballs are locked.
  returned: always
  type: dict
  sample: {svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.zst: '2013-06-09T10:47:01Z'}
day:
  description: The day that was counted.
  returned: always
  type: str
  sample: 2013/05/10
bytes_read:
  description: How many bytes were read back.
  returned: always
  type: int
  sample: 1531229474
bytes_freed:
  description: How many bytes of tarballs were removed.
  returned: always
  type: int
  sample: 0
wire:
  description: How many bytes were sent.
  returned: always
  type: int
  sample: 1531229474
notes:
  description: What there is to tell.
  returned: always
  type: list
  elements: str
  sample: []
failures:
  description: What is wrong.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.stores.settings import STORE
from ..module_utils.stores.sync import sync
from ..module_utils.stores.work import EMPTY, STAGE, STEPS
from ..module_utils.tree.locks import WRITING, run_exclusive
from ..module_utils.tree.marks import MARKS
from ..module_utils.tree.module_call import run_module
from ..module_utils.tree.stamps import MOMENT


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "source": {"type": "str", "default": ""},
            "steps": {"type": "list", "elements": "str", "choices": list(STEPS), "default": ["upload", "check"]},
            "scope": {"type": "str", "choices": ["day", "all"], "default": "day"},
            "reverify_days": {"type": "int", "default": 7},
            "day": {"type": "str", "default": ""},
            "expect": {"type": "dict", "default": {}},
            "items": {"type": "list", "elements": "str"},
            "keep": {"type": "raw", "default": 3},
            "rules": {"type": "dict", "default": {}},
            "predicted": {"type": "list", "elements": "str", "default": []},
            "confirm": {"type": "bool", "default": False},
            "adopt": {"type": "bool", "default": False},
            "guides": {"type": "dict", "default": {}},
            **STORE,
            **MARKS,
            **MOMENT,
            **WRITING,
        },
        supports_check_mode=True,
    )
    options, check_mode = module.params, module.check_mode
    run_module(
        module,
        STAGE,
        EMPTY,
        lambda: run_exclusive(options, lambda _: sync(options, check_mode), check_mode=check_mode),
    )


if __name__ == "__main__":
    main()
