#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_count: count tarballs against what should be there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_count
short_description: Count the verified tarballs of a day against the number expected
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.reading,
  altbackup.core.call.moment, altbackup.core.call.counting]
description:
  - Counts the tarballs of a day that have a well-formed sidecar of equal size, and reads no bytes of them.
  - The count of a name is the number of its items that have such a tarball; several stamps on one day count once.
  - Can demand that a tarball of each item was proved to restore not long ago; of proofs, only the small files beside tarballs are read.
  - Tarballs of a time that has not come, of any day, count nowhere and are failures.
  - Too few, too many, tarballs without sidecar and tarballs of no item are failures, and all of them are named.
"""

EXAMPLES = r"""
- name: Count today's tarballs
  altbackup.core.tarball_count:
    base: /data/backup/dayabay
    expect:
      dybsvn: 2
      svnsetup: 1
"""

RETURN = r"""
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
from ..module_utils.stages.count import COUNTING, EMPTY, count_demanded
from ..module_utils.tree.locks import READING, run_shared
from ..module_utils.tree.module_call import run_module
from ..module_utils.tree.stamps import MOMENT


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **COUNTING,
            **MOMENT,
            **READING,
        },
        supports_check_mode=True,
    )
    options = module.params
    run_module(module, "check", EMPTY, lambda: run_shared(options, lambda: count_demanded(options)), good=module.params)


if __name__ == "__main__":
    main()
