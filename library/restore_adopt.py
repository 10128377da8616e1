#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module restore_adopt: make restored copies live data."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_adopt
short_description: Adopt restored copies, so that they are backed up again
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call]
description:
  - Removes the markers that M(altbackup.core.tarball_restore) put beside what it restored. Without its marker a thing is live data, and dumped.
options:
  path:
    description: Absolute paths of restored things.
    type: list
    elements: path
    required: true
attributes:
  check_mode:
    description: Removes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Adopt a repository that was restored
  altbackup.core.restore_adopt:
    path: /home/scm/svn/dybsvn
"""

RETURN = r"""
adopted:
  description: The paths that had a marker.
  returned: always
  type: list
  elements: str
  sample: [/home/scm/svn/dybsvn]
notes:
  description: What was found otherwise.
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
from ..module_utils.system.errors import AltbackupError
from ..module_utils.tree.failures import failure
from ..module_utils.tree.module_call import CALL, run_module
from ..module_utils.tree.restored import adopt

EMPTY: dict = {"adopted": [], "notes": []}


def run(paths: list, check_mode: bool) -> dict:
    """Adopt the copies at `paths`; a failure of one does not stop the others."""
    adopted, notes, failures = [], [], []
    for path in paths:
        try:
            marked = adopt(path, check_mode=check_mode)
            adopted += [each for each in marked if each not in adopted]
            for each in marked:
                more = "it is" if each == path else f"{path}, and all else that was restored there, is"
                notes.append(f"{'would adopt' if check_mode else 'adopted'} {each}: {more} live data from now on")
            if not marked and not any(path.startswith(f"{each}/") for each in adopted):
                notes.append(f"{path} has no marker of a restore: it is live data already")
        except (AltbackupError, OSError) as error:
            failures.append(failure("restore", error))
    return {"changed": bool(adopted), "adopted": adopted, "notes": notes, "failures": failures}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "list", "elements": "path", "required": True},
            **CALL,
        },
        supports_check_mode=True,
    )
    run_module(module, "restore", EMPTY, lambda: run(module.params["path"], module.check_mode))


if __name__ == "__main__":
    main()
