#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_list: what lies in a tree."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_list
short_description: List the tarballs of a base folder and their state
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.reading, altbackup.core.call.moment]
description:
  - Lists tarballs with digest and size as their sidecars say; reads no bytes of them.
  - Tarballs of a time that has not come count nowhere, and are failures.
options:
  base:
    description: A base folder; it or its parent holds the marker C(.altbackup/).
    type: path
    required: true
  day:
    description: The day, empty for today, V(-1) for yesterday, C(YYYY/MM/DD), or V(all).
    type: str
    default: all
  expected:
    description: A day, as C(YYYY/MM/DD), of which there must be a verified tarball; empty for none.
    type: str
    default: ''
  records:
    description: Whether to add what the dump recorded of each item.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: List all that is kept of one source
  altbackup.core.tarball_list:
    base: /data/backup/dayabay
"""

RETURN = r"""
tarballs:
  description: The tarballs, newest last; O(ignore:state) is V(verified), V(missing), V(malformed) or V(mismatch), as the sidecar has it,
    V(alone) for a differential whose full tarball is not here, or V(future), where O(clock) and O(stamp) are both earlier.
    C(incomplete) is true in one that its dump recorded not to be whole.
    Without O(records), C(suspect) is why its content is doubtful, in one that nobody accepted, C(hold) why it is held, in one that is, and
    C(proved) when it was last proved to restore, in one that was.
  returned: always
  type: list
  elements: dict
  sample:
    - category: svn
      name: dybsvn
      stamp: 2013/05/10/104701
      relpath: svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz
      path: /data/backup/dayabay/svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz
      size: 1915051630
      dig: 7b87e78cc03ea544e2ad3abae46eecd1
      alg: md5
      state: verified
listed:
  description: Whether the base could be read, but for folders that are failures.
  returned: always
  type: bool
  sample: true
free:
  description: Free bytes of the disk; 0 where that is not known.
  returned: always
  type: int
  sample: 8400000000
notes:
  description: Verified tarballs that are not named as one of their item, so that nothing counts, copies or purges them, and what to do.
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

import os
import shutil

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.synchronize.offer import NOT_LISTED, listing
from ..module_utils.tree.failures import failure
from ..module_utils.tree.locks import READING, run_shared
from ..module_utils.tree.module_call import run_module
from ..module_utils.tree.stamps import MOMENT, day_of, interpret_day, moment_of, today_in

STAGE = "list"
EMPTY = {**NOT_LISTED, "free": 0}


def run(options: dict) -> dict:
    """List the tree; add a failure if it has no verified tarball of the day `expected`."""
    day = "" if options["day"] == "all" else interpret_day(options["day"], today_in(options["timezone"]))
    moment = moment_of(options)
    result = listing(options["base"], day, moment=moment, records=options["records"])
    result["free"] = free_below(options["base"])
    expected = options["expected"]
    if expected and not any(
        tarball["state"] == "verified" and day_of(tarball["stamp"]) == expected for tarball in result["tarballs"]
    ):
        reason = (
            f"no verified tarball of {expected} lies in {options['base']}: if another day is meant, give altbackup_day"
        )
        result["failures"] = [*result["failures"], failure(STAGE, reason)]
    return result


def free_below(base: str) -> int:
    """Return the free bytes on a base's disk; the base may not exist yet, if nothing was sent to it."""
    return shutil.disk_usage(base if os.path.isdir(base) else os.path.dirname(base)).free


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "day": {"type": "str", "default": "all"},
            "expected": {"type": "str", "default": ""},
            "records": {"type": "bool", "default": False},
            **MOMENT,
            **READING,
        },
        supports_check_mode=True,
    )
    options = module.params
    run_module(module, STAGE, EMPTY, lambda: run_shared(options, lambda: run(options)))


if __name__ == "__main__":
    main()
