#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_undo: put back what purge removed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_undo
short_description: Put back tarballs that purge has removed and still keeps in the trash
version_added: 0.2.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.writing, altbackup.core.call.moment]
description:
  - Reads each of the tarballs again and compares it with its dna, then puts it back with dna, proof and record. One that does not match stays in the trash.
  - Nothing is put over what stands in its place. Next time M(altbackup.core.tarball_purge) removes what its rules do not keep, so change these, too.
options:
  base:
    description: A base folder; it or its parent holds the marker C(.altbackup/).
    type: path
    required: true
  days:
    description: Days, C(YYYY/MM/DD), on which the tarballs were removed.
    type: list
    elements: str
    default: []
  stamps:
    description: Tarballs, each as C(category/name/YYYY/MM/DD/HHMMSS), whenever they were removed.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Reads what would be put back, and says so.
    support: full
"""

EXAMPLES = r"""
- name: Put back all that was removed on one day
  altbackup.core.tarball_undo:
    base: /data/backup/dayabay
    days: [2013/05/20]

- name: Put back one
  altbackup.core.tarball_undo:
    base: /data/backup/dayabay
    stamps: [svn/dybsvn/2013/05/10/104701]
"""

RETURN = r"""
put_back:
  description: The tarballs that were put back, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: [svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz]
days:
  description: Those of O(days) of which anything was put back, or would be.
  returned: always
  type: list
  elements: str
  sample: [2013/05/20]
in_trash:
  description: All that the trash of the base holds now, each as C(category/name/YYYY/MM/DD/HHMMSS).
  returned: always
  type: list
  elements: str
  sample: []
notes:
  description: What was put back, and what was found otherwise.
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
from ..module_utils.stages.undo import undo
from ..module_utils.tree.locks import WRITING, run_exclusive
from ..module_utils.tree.module_call import run_module
from ..module_utils.tree.stamps import MOMENT

EMPTY: dict = {"put_back": [], "days": [], "in_trash": [], "notes": []}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "days": {"type": "list", "elements": "str", "default": []},
            "stamps": {"type": "list", "elements": "str", "default": []},
            **MOMENT,
            **WRITING,
        },
        supports_check_mode=True,
    )
    options, check_mode = module.params, module.check_mode

    def run(_hold: object) -> dict:
        return undo(options["base"], options["days"], options["stamps"], check_mode=check_mode)

    run_module(module, "undo", EMPTY, lambda: run_exclusive(options, run, check_mode=check_mode), good=options)


if __name__ == "__main__":
    main()
