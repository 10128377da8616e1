#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_drill: prove that tarballs restore."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_drill
short_description: Restore tarballs into a scratch folder and prove that they are what was dumped
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.writing,
  altbackup.core.call.moment, altbackup.core.call.proving]
description:
  - Reads the newest verified tarball of each item, compares it with its dna and with what its dump recorded, and refuses what no dump would make.
  - Unpacks it, lets the engine whose data it is look for faults, and compares what it holds with what its dump recorded.
  - 'Programs that read what was unpacked run in a sandbox: as an unprivileged user, without network, within limits, with all other files read-only.
    Nothing archived is loaded as configuration or run as a hook.'
  - Removes all that it unpacked, whatever happens, and writes C(<tarball>.proof) beside each tarball that was proved.
options:
  base:
    description: A base folder; it or its parent holds the marker C(.altbackup/).
    type: path
    required: true
  keys:
    description:
      - Whether, instead of restoring anything, the newest encrypted tarball of each item is opened to its end with the identity of each of its recipients. One
        whose identity is not there is a failure.
    type: bool
    default: false
  folder:
    description: Absolute path of the folder on this node to unpack in; the private folder of the tree by default.
    type: str
    default: ''
  share:
    description: The part of the items that is drilled, above 0 and up to 1; those whose last proof is oldest.
    type: float
    default: 1
attributes:
  check_mode:
    description: Says what would be drilled.
    support: full
notes:
  - Needs Linux 5.12 or newer, whose kernel allows namespaces.
"""

EXAMPLES = r"""
- name: Prove that the newest tarball of each item restores
  altbackup.core.tarball_drill:
    base: /home/scm/backup/dayabay

- name: Prove a tenth of the items, in at most 20 GB
  altbackup.core.tarball_drill:
    base: /home/scm/backup/dayabay
    share: 0.1
    limit: 20000000000
"""

RETURN = r"""
proved:
  description: The tarballs that were proved, each with relpath, category, name, stamp, dig, size, alg, kind, when, seconds, versions, facts and notes.
  returned: always
  type: list
  elements: dict
  sample:
    - {relpath: svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz, kind: svn, when: '2013-05-11T04:00:00Z', seconds: 512.1, versions: {svnadmin: 1.14.2}}
left:
  description: The newest tarballs of items that were left for another drill.
  returned: always
  type: list
  elements: str
  sample: []
notes:
  description: What could not be compared, and what a killed drill had left.
  returned: always
  type: list
  elements: str
  sample: []
failures:
  description:
    - What was not proved, and why.
    - C(good) in one is the stamp of the newest whole tarball of its item in this tree for which its sidecar vouches, empty if there is none.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.restore.drill import drill
from ..module_utils.restore.drill_choice import PROVING, SHARE, STAGE, names_of
from ..module_utils.restore.key_drill import drill_keys
from ..module_utils.restore.order import identities_of
from ..module_utils.system.process_groups import end_with_children
from ..module_utils.system.processes import Deadline
from ..module_utils.system.sandbox import Sandbox
from ..module_utils.tree.leftovers import run_on_tree
from ..module_utils.tree.locks import WRITING
from ..module_utils.tree.stamps import MOMENT, moment_of

EMPTY: dict = {"proved": [], "left": [], "notes": []}


def run(options: dict, check_mode: bool) -> dict:
    """Drill, or try keys; return the result."""
    if options["keys"]:
        deadline = Deadline(options["step_timeout"], "drill")
        identities = identities_of(options)
        return drill_keys(
            options["base"], names_of(options), identities=identities, moment=moment_of(options), deadline=deadline
        )
    return drill(
        options["base"],
        names_of(options),
        moment=moment_of(options),
        sandbox=Sandbox(options["user"]),
        deadline=Deadline(options["step_timeout"], "drill"),
        share=options["share"],
        limit=options["limit"],
        folder=options["folder"],
        verify=options["verify"],
        identities=identities_of(options, needed=False),
        check_mode=check_mode,
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "folder": {"type": "str", "default": ""},
            "keys": {"type": "bool", "default": False, "no_log": False},
            **PROVING,
            **SHARE,
            **MOMENT,
            **WRITING,
        },
        supports_check_mode=True,
    )
    end_with_children()
    options, check_mode = module.params, module.check_mode
    run_on_tree(module, STAGE, EMPTY, lambda _: run(options, check_mode))


if __name__ == "__main__":
    main()
