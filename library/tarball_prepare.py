#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_prepare: what a target lacks of a source."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_prepare
short_description: Prepare a target to receive a source's tarballs
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.writing,
  altbackup.core.call.moment, altbackup.core.call.origin, altbackup.core.call.marks]
description:
  - Compares what the source holds with what this target has verified, and says what is to be sent, in order.
  - A tarball whose content the target has under another stamp of the item is stored as a hard link, or where there are none as a
    copy, after the old file was read again.
  - Tarballs that this target's own retention would remove are not asked for, but for the newest one of the day of each item.
  - What a source says that it holds of a time that has not come is not asked for, and a failure that names the source.
  - Where room is short, what fits is asked for, in order; the rest is a failure.
  - Makes the source's tree and its private folder for arriving files, below the marked base; removes from it what this run does not want.
options:
  base:
    description: The source's tree on this target; its parent holds the marker C(.altbackup/).
    type: path
    required: true
  tarballs:
    description: The source's verified tarballs, as M(altbackup.core.tarball_list) shows them.
    type: list
    elements: dict
    required: true
  day:
    description: The day of this run, C(YYYY/MM/DD); its tarballs come first, and the newest one of each item is always sent.
    type: str
    required: true
  keep:
    description: Days and contents that this target retains per item.
    type: int
    default: 3
  keeps:
    description: The same for single items, by category/name.
    type: dict
    default: {}
  rules:
    description: The further rules by which this target retains, as those of M(altbackup.core.tarball_purge).
    type: dict
    default: {}
  items:
    description: The category/name of all of the source's items, remembered for checks that cannot ask the source.
    type: list
    elements: str
    default: []
  discovered:
    description: Whether I(items) are all. If not, since a discovery failed, what was remembered before stays remembered, too.
    type: bool
    default: true
  predicted:
    description: Paths below the base that the source would have made in check mode.
    type: list
    elements: str
    default: []
  guides:
    description:
      - Texts that stand beside the sources' trees, for whoever has nothing but this target's disk, as file name and content.
      - Names are C(RESTORE.txt) and C(restore.sh). They are written where they differ.
    type: dict
    default: {}
  pair:
    description:
      - What the source knows of its tree on this target, as M(altbackup.core.tarball_purge) returned it. With another base, or fewer copies, it is
        a failure, and only tarballs of O(day) are asked for, unless O(adopt).
    type: dict
    default: {}
  adopt:
    description: Whether this target is taken as it is, whatever it was, and filled again.
    type: bool
    default: false
  node:
    description: The inventory name of this target, for messages.
    type: str
    default: ''
  carried:
    description: Whether what is offered is another target's, from which M(altbackup.core.tarball_carry) brings it; then its folder is made.
    type: bool
    default: false
  rekeyed:
    description:
      - Whether the tarballs are what this target has, encrypted to others (see M(altbackup.core.tarball_rekey)), and take the places of those, which are
        gone then. Their arrivals stay what they were.
    type: bool
    default: false
  basis:
    description: Whether a copy of an item's newest tarball is laid out, for a peer on another machine to send only what differs.
    type: bool
    default: false
  slots:
    description: Transfers into this target that may go on at a time, those of all sources; 0 for any number. Reserved only for a I(run).
    type: int
    default: 0
  slot_wait:
    description: Seconds to wait until one of them is free.
    type: float
    default: 0
attributes:
  check_mode:
    description: Links nothing and makes no folder.
    support: full
"""

EXAMPLES = r"""
- name: Ask a target what it lacks
  altbackup.core.tarball_prepare:
    base: /data/backup/dayabay
    day: 2013/05/10
    tarballs:
      - relpath: svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz
        size: 1915051630
        dig: 7b87e78cc03ea544e2ad3abae46eecd1
        alg: md5
"""

RETURN = r"""
have:
  description: Paths that this target has verified already.
  returned: always
  type: list
  elements: str
  sample: []
linked:
  description: Paths stored as hard links, or where there are none as copies.
  returned: always
  type: list
  elements: str
  sample: []
send:
  description: Paths to send, in this order.
  returned: always
  type: list
  elements: str
  sample: [svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz]
unwanted:
  description: Paths that this target's retention would remove.
  returned: always
  type: list
  elements: str
  sample: []
incoming:
  description: The folder into which to send.
  returned: always
  type: str
  sample: /data/backup/.altbackup/incoming/dayabay
free:
  description: Free bytes on this target.
  returned: always
  type: int
  sample: 8400000000
busy:
  description: Whether as many transfers into this target go on as may; then nothing is to be sent now.
  returned: always
  type: bool
  sample: false
doubted:
  description: Whether this target is not what O(pair) says, and not adopted.
  returned: always
  type: bool
  sample: false
refilled:
  description: Whether it is not what O(pair) says, and adopted.
  returned: always
  type: bool
  sample: false
marks_kept:
  description: Whether what O(marks) says is kept.
  returned: always
  type: bool
  sample: true
held:
  description: The tarballs that are held and there, as C(category/name/YYYY/MM/DD/HHMMSS).
  returned: always
  type: list
  elements: str
  sample: []
notes:
  description: What was removed.
  returned: always
  type: list
  elements: str
  sample: []
failures:
  description:
    - What went wrong.
    - C(good) in one is the stamp of the newest whole tarball of its item in this tree for which its sidecar vouches, empty if there is none.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.synchronize.prepare import prepare
from ..module_utils.synchronize.transfer_plan import parse_request
from ..module_utils.system.process_groups import end_with_children
from ..module_utils.tree.leftovers import run_on_tree
from ..module_utils.tree.locks import WRITING
from ..module_utils.tree.marks import MARKS
from ..module_utils.tree.origin import ORIGIN
from ..module_utils.tree.stamps import MOMENT

EMPTY = {
    "have": [],
    "linked": [],
    "send": [],
    "unwanted": [],
    "notes": [],
    "incoming": "",
    "free": 0,
    "busy": False,
    "doubted": False,
    "refilled": False,
    "marks_kept": False,
    "held": [],
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "tarballs": {"type": "list", "elements": "dict", "required": True},
            "day": {"type": "str", "required": True},
            "keep": {"type": "int", "default": 3},
            "keeps": {"type": "dict", "default": {}},
            "rules": {"type": "dict", "default": {}},
            "items": {"type": "list", "elements": "str", "default": []},
            "discovered": {"type": "bool", "default": True},
            "predicted": {"type": "list", "elements": "str", "default": []},
            "guides": {"type": "dict", "default": {}},
            **MARKS,
            **ORIGIN,
            "pair": {"type": "dict", "default": {}},
            "adopt": {"type": "bool", "default": False},
            "node": {"type": "str", "default": ""},
            "carried": {"type": "bool", "default": False},
            "rekeyed": {"type": "bool", "default": False},
            "basis": {"type": "bool", "default": False},
            "slots": {"type": "int", "default": 0},
            "slot_wait": {"type": "float", "default": 0},
            **MOMENT,
            **WRITING,
        },
        supports_check_mode=True,
    )
    end_with_children()
    options = module.params
    run_on_tree(module, "synchronize", EMPTY, lambda hold: prepare(parse_request(options), hold))


if __name__ == "__main__":
    main()
