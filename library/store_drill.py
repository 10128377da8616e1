#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module store_drill: prove that what a store has restores."""

from __future__ import annotations

DOCUMENTATION = r"""
module: store_drill
short_description: Prove that tarballs of a store restore
version_added: 0.2.0
author: altbackup developers (@altbackup)
extends_documentation_fragment:
  - altbackup.core.call
  - altbackup.core.call.limits
  - altbackup.core.call.writing
  - altbackup.core.call.moment
  - altbackup.core.call.proving
  - altbackup.core.call.store
description:
  - Brings the newest verified tarball of a few items from a store to the node that fills it, unpacks it in a scratch folder and proves it, as
    M(altbackup.core.tarball_drill) does, and removes it. Those of which nothing was proved from this store for the longest time come first, so that all
    have their turn.
options:
  base:
    description: The tree on this node from which the store is filled.
    type: path
    required: true
  source:
    description: The name of the source.
    type: str
    required: true
  items:
    description: Of how many items a call brings the newest tarball, 0 for none.
    type: int
    default: 1
  folder:
    description: Absolute path of the folder on this node to unpack in; the private folder of the tree by default.
    type: str
    default: ''
attributes:
  check_mode:
    description: Says what would be drilled.
    support: full
requirements:
  - rclone 1.60 or newer
"""

EXAMPLES = r"""
- name: Prove two items of what a disk has
  altbackup.core.store_drill:
    store: {name: drawer, remote: /mnt/drawer}
    base: /data/backup/dayabay
    source: dayabay
    items: 2
"""

RETURN = r"""
proved:
  description: The tarballs that were proved, as M(altbackup.core.tarball_drill) returns them.
  returned: always
  type: list
  elements: dict
  sample: []
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
  description: What was not proved, and why.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.restore.drill_choice import STAGE
from ..module_utils.stores.drill import DRILLING, EMPTY, drill_store
from ..module_utils.stores.settings import STORE
from ..module_utils.system.process_groups import end_with_children
from ..module_utils.tree.leftovers import run_on_tree
from ..module_utils.tree.locks import WRITING
from ..module_utils.tree.stamps import MOMENT


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "source": {"type": "str", "required": True},
            **DRILLING,
            **STORE,
            **MOMENT,
            **WRITING,
        },
        supports_check_mode=True,
    )
    end_with_children()
    options, check_mode = module.params, module.check_mode
    run_on_tree(module, STAGE, EMPTY, lambda _: drill_store(options, check_mode))


if __name__ == "__main__":
    main()
