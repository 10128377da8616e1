#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_check: read the tarballs of a tree again, and count them, in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_check
short_description: Read tarballs again and count them against the number expected
version_added: 0.2.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.writing,
  altbackup.core.call.moment, altbackup.core.call.counting, altbackup.core.call.rot]
description:
  - Does on a base what M(altbackup.core.dna_verify) and M(altbackup.core.tarball_count) do, in one call, and returns what both return.
options:
  scope:
    description: Whether what is read again are the tarballs of O(day), or all.
    type: str
    choices: [day, all]
    default: day
  quarantine:
    description:
      - Whether the call takes the tree for itself, reads the share of the night of the older tarballs, too (O(reverify_days)), and moves what does not
        match its dna, with sidecar and proof, into C(.altbackup/quarantine/). What cannot be read stays.
      - Without it, and in check mode, nothing is moved, and no more read than O(scope) has it.
    type: bool
    default: false
  listing:
    description: Whether all tarballs of the base are listed, too, as M(altbackup.core.tarball_list) lists them, with their records.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Read today's tarballs again, and count them
  altbackup.core.tarball_check:
    base: /data/backup/dayabay
    expect:
      dybsvn: 2
      svnsetup: 1
"""

RETURN = r"""
match:
  description: Tarballs that are what their sidecar says; paths as given, or relative to the base.
  returned: always
  type: list
  elements: str
  sample: [svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz]
mismatch:
  description: Tarballs of another digest or size than their sidecar says, or that cannot be read.
  returned: always
  type: list
  elements: str
  sample: []
missing:
  description: Tarballs without sidecar.
  returned: always
  type: list
  elements: str
  sample: []
malformed:
  description: Tarballs whose sidecar is no dna.
  returned: always
  type: list
  elements: str
  sample: []
reread:
  description: Older tarballs that were read, too, and match their dna.
  returned: always
  type: list
  elements: str
  sample: [svn/dybsvn/2013/05/03/104701/dybsvn-20310.tar.gz]
read_ahead:
  description: Tarballs that were not read again, because the dump of the same run read them while it was at work; they are in RV(match) or RV(reread), too.
  returned: always
  type: list
  elements: str
  sample: []
quarantined:
  description:
    - Tarballs in the quarantine for which no good copy has come yet. C(dig), C(size) and C(alg) are of their dna, C(read) and C(read_size) of their
      bytes. C(told) and C(reason) are tarball and reason of the failure that tells of it, empty for one that was moved before.
  returned: always
  type: list
  elements: dict
  sample: []
healed:
  description: Tarballs of which what had rotted is still in the quarantine, and that stand in their places again.
  returned: always
  type: list
  elements: str
  sample: []
orphan:
  description: Sidecars without tarball.
  returned: always
  type: list
  elements: str
  sample: []
bytes_read:
  description: How many bytes of tarballs were read.
  returned: always
  type: int
  sample: 1531229474
day:
  description: The day that was looked at.
  returned: always
  type: str
  sample: 2013/05/10
counts:
  description: The number found for each key of O(expect).
  returned: always
  type: dict
  sample: {dybsvn: 2, svnsetup: 1}
relpaths:
  description: The newest verified tarball of each item that counts, for each key of O(expect).
  returned: always
  type: dict
  sample: {svnsetup: [folders/svnsetup/2013/05/10/104701/svnsetup.tar.gz]}
incomplete:
  description: Verified tarballs of the day that their dumps recorded not to be whole.
  returned: always
  type: list
  elements: str
  sample: []
dnas:
  description: What the sidecars of the day's verified tarballs of items say, as algorithm, digest and size with colons between.
  returned: always
  type: dict
  sample: {folders/svnsetup/2013/05/10/104701/svnsetup.tar.gz: 'md5:7b87e78cc03ea544e2ad3abae46eecd1:1915051630'}
without_dna:
  description: Tarballs of the day that no sidecar vouches for.
  returned: always
  type: list
  elements: str
  sample: []
unexpected:
  description: What stands in the tree and belongs to no item.
  returned: always
  type: list
  elements: str
  sample: []
listed:
  description: Whether all tarballs were listed.
  returned: if O(listing)
  type: bool
  sample: true
tarballs:
  description: All tarballs of the base, newest last, as M(altbackup.core.tarball_list) returns them.
  returned: if O(listing)
  type: list
  elements: dict
  sample: []
notes:
  description: What the listing has to tell, and the quarantine.
  returned: always
  type: list
  elements: str
  sample: []
failures:
  description:
    - What is wrong.
    - C(good) in one is the stamp of the newest whole tarball of its item in this tree for which its sidecar vouches, empty if there is none.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.stages.check import CHECKING, ROT, check, nothing_checked
from ..module_utils.tree.locks import WRITING, run_exclusive, run_shared
from ..module_utils.tree.module_call import run_module
from ..module_utils.tree.stamps import MOMENT


def run(options: dict, check_mode: bool) -> dict:
    """Check the tree; take the exclusive lock only if rotten tarballs are to be moved to the quarantine."""
    if options["quarantine"] and not check_mode:
        return run_exclusive(
            options, lambda hold: check(options, listed=options["listing"], moving=True, run=hold.run if hold else None)
        )
    return run_shared(options, lambda: check(options, listed=options["listing"]))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CHECKING,
            **ROT,
            "listing": {"type": "bool", "default": False},
            **MOMENT,
            **WRITING,
        },
        supports_check_mode=True,
    )
    options = module.params
    run_module(module, "check", nothing_checked(), lambda: run(options, module.check_mode), good=options)


if __name__ == "__main__":
    main()
