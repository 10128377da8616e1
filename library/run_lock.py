#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module run_lock: take the leases of trees for a run, or release them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_lock
short_description: Take trees for a run, or give them back
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call]
description:
  - While a run has a tree, no other run writes to it, and no module called without a run. The lock names the run.
  - It ends by itself some time after the run's last call.
  - Every module that writes takes the lock itself. This one gives it back at the end of a run, and can take it by hand.
  - A run of the same controller whose process is gone loses its lock at once, any other when the lock expires.
options:
  bases:
    description: The trees, each of which holds the marker C(.altbackup/) or has it in the folder above.
    type: list
    elements: path
    required: true
  run:
    description: The run, as the plan of a playbook has it. Without it, C(state=absent) gives back what no live run has.
    type: dict
  state:
    description: Whether the run is to have the trees.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Takes and gives back nothing.
    support: full
"""

EXAMPLES = r"""
- name: Give a tree back
  altbackup.core.run_lock:
    bases: [/home/scm/backup/dayabay]
    state: absent
"""

RETURN = r"""
notes:
  description: Whose lock was taken over.
  returned: always
  type: list
  elements: str
  sample: []
failures:
  description: What went wrong, one entry a tree.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.system.errors import AltbackupError
from ..module_utils.system.mounts import require_answer
from ..module_utils.system.processes import Deadline
from ..module_utils.tree.failures import failure
from ..module_utils.tree.leftovers import give_back
from ..module_utils.tree.locks import held, parse_run
from ..module_utils.tree.module_call import CALL, run_module
from ..module_utils.tree.publish import require_writable


def change(base: str, run: dict | None, state: str) -> list[str]:
    """Take or, with state `absent`, release the lease of a base's tree; return notes. Raise AltbackupError or OSError."""
    require_answer(base, Deadline())
    tree = require_writable(base)
    with held(tree, parse_run(run)) as hold:
        if state == "absent":
            give_back(hold)
        return hold.notes


def run(options: dict) -> dict:
    """Take or release the leases of all trees; a failure of one does not stop the others."""
    notes, failures = [], []
    for base in options["bases"]:
        try:
            notes += change(base, options["run"], options["state"])
        except (AltbackupError, OSError) as error:
            failures.append(failure("lock", error))
    return {"notes": notes, "failures": failures}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "bases": {"type": "list", "elements": "path", "required": True},
            "run": {"type": "dict"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            **CALL,
        },
        supports_check_mode=True,
    )
    run_module(module, "lock", {"notes": []}, lambda: {} if module.check_mode else run(module.params))


if __name__ == "__main__":
    main()
