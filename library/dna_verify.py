#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module dna_verify: recompute digests and compare them with the sidecars."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dna_verify
short_description: Read tarballs again and compare them with their dna sidecars
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.reading, altbackup.core.call.moment]
description:
  - Recomputes the digest of each tarball, several at once on all cores, and compares it with the sidecar. Hard links to one file are read once.
  - Tarballs without sidecar, malformed sidecars and sidecars without tarball are told apart. The text of a sidecar is never executed.
  - No tarball at all is a failure.
options:
  path:
    description: Absolute paths of tarballs, or of their sidecars.
    type: list
    elements: path
  base:
    description: A base folder, all of whose tarballs of O(day) are verified; it or its parent holds the marker C(.altbackup/).
    type: path
  day:
    description: The day, empty for today, V(-1) for yesterday, C(YYYY/MM/DD), or V(all).
    type: str
    default: ''
  predicted:
    description: Paths below O(base) that a run in check mode would have made; with some, an empty day is no failure.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
"""

EXAMPLES = r"""
- name: Verify all that is kept of one source
  altbackup.core.dna_verify:
    base: /data/backup/dayabay
    day: all

- name: Verify one tarball
  altbackup.core.dna_verify:
    path:
      - /data/backup/dayabay/svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz
"""

RETURN = r"""
day:
  description: The day that was looked at, or V(all); empty where paths were given.
  returned: always
  type: str
  sample: 2013/05/10
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
failures:
  description:
    - What went wrong, one entry a file.
    - C(good) in one is the stamp of the newest whole tarball of its item in this tree for which its sidecar vouches, empty if there is none.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.stages.check import nothing_verified, verify_base, verify_paths
from ..module_utils.tree.locks import READING, run_shared, run_unlocked
from ..module_utils.tree.module_call import run_module
from ..module_utils.tree.stamps import MOMENT


def run(options: dict) -> dict:
    """Verify the given paths, or what the base has; return the result."""
    if options["path"] is not None:
        return run_unlocked(options, lambda: verify_paths(options["path"]))
    base, day = options["base"], options["day"]
    return run_shared(options, lambda: verify_base(base, day, options["predicted"], timezone=options["timezone"]))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "list", "elements": "path"},
            "base": {"type": "path"},
            "day": {"type": "str", "default": ""},
            "predicted": {"type": "list", "elements": "str", "default": []},
            **MOMENT,
            **READING,
        },
        required_one_of=[("path", "base")],
        mutually_exclusive=[("path", "base")],
        supports_check_mode=True,
    )
    run_module(module, "check", nothing_verified(), lambda: run(module.params), good=module.params)


if __name__ == "__main__":
    main()
