#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_drill_away: the steps of a drill on another host than the one that holds the tarballs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_drill_away
short_description: Prove on a scratch host that tarballs of another node restore
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.writing,
  altbackup.core.call.moment, altbackup.core.call.proving]
description:
  - The node that holds the tarballs chooses, M(altbackup.core.tarball_carry) brings them to the scratch host, which proves them as
    M(altbackup.core.tarball_drill) does, and the node keeps the proofs. Each is a step of its own.
  - On the scratch host the tarballs lie in a temporary tree. The step that drills removes it, whatever happens; one that a killed drill left is
    removed when it is made anew.
options:
  step:
    description:
      - V(choose), on the node, finds the newest verified tarball of each item.
      - V(make), on the scratch host, makes the temporary tree, if there is room for the tarballs.
      - V(drill), on the scratch host, proves what arrived there and removes the tree; V(abandon) only removes it.
      - V(keep), on the node, writes C(<tarball>.proof) beside each tarball that is still the one that was proved.
    type: str
    choices: [choose, make, drill, abandon, keep]
    required: true
  base:
    description:
      - A base folder of the node, as for M(altbackup.core.tarball_drill).
      - On the scratch host the absolute path of the temporary tree, whose name begins with C(.altbackup-drill-).
    type: path
    required: true
  size:
    description: Bytes of the tarballs that the temporary tree is to take.
    type: int
    default: 0
  chosen:
    description: What the node chose.
    type: list
    elements: dict
    default: []
  proofs:
    description: What the scratch host proved.
    type: list
    elements: dict
    default: []
  share:
    description: The part of the items that is drilled, above 0 and up to 1; those whose last proof is oldest.
    type: float
    default: 1
attributes:
  check_mode:
    description: Chooses, and says whether there is room for the temporary tree. Writes nothing.
    support: full
notes:
  - The scratch host needs Linux 5.12 or newer, whose kernel allows namespaces.
"""

EXAMPLES = r"""
- name: Choose what is to be proved elsewhere
  altbackup.core.tarball_drill_away:
    step: choose
    base: /data/backup/dayabay
  register: chosen

- name: Make room for it on the scratch host
  altbackup.core.tarball_drill_away:
    step: make
    base: /data/backup/.altbackup-drill-cms01-dayabay
    size: 1915051630

- name: Give it up, as nothing arrived
  altbackup.core.tarball_drill_away:
    step: abandon
    base: /data/backup/.altbackup-drill-cms01-dayabay
"""

RETURN = r"""
chosen:
  description: What is to be drilled, each with relpath, record, and tarballs (relpath, size, dna), a differential after its full one.
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
proved:
  description: The tarballs that were proved, or whose proof was kept, as M(altbackup.core.tarball_drill) has them.
  returned: always
  type: list
  elements: dict
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
from ..module_utils.restore.drill_away import abandon_away, choose_away, drill_away, keep_proofs, make_away
from ..module_utils.restore.drill_choice import PROVING, SHARE, STAGE, names_of
from ..module_utils.restore.order import identities_of
from ..module_utils.system.errors import InvalidInput
from ..module_utils.system.process_groups import end_with_children
from ..module_utils.system.processes import Deadline
from ..module_utils.system.sandbox import Sandbox
from ..module_utils.tree.locks import WRITING, parse_run, run_exclusive, run_shared
from ..module_utils.tree.module_call import run_module
from ..module_utils.tree.stamps import MOMENT, moment_of

EMPTY: dict = {"chosen": [], "left": [], "proved": [], "notes": []}


def choose(options: dict) -> dict:
    """Choose what another host drills."""
    return choose_away(options["base"], names_of(options), options["share"], moment_of(options))


def drill(options: dict) -> dict:
    """Prove what arrived on this host."""
    deadline = Deadline(options["step_timeout"], "drill")
    sandbox = Sandbox(options["user"])
    try:
        identities = identities_of(options, needed=False)
    except InvalidInput:
        abandon_away(options["base"])
        raise
    return drill_away(
        options["base"],
        options["chosen"],
        moment=moment_of(options),
        sandbox=sandbox,
        deadline=deadline,
        limit=options["limit"],
        verify=options["verify"],
        identities=identities,
    )


def run(options: dict, check_mode: bool) -> dict:
    """Do the step. `keep` shares the lock, so that proofs are written while others read, and between the calls of another run."""
    base, step = options["base"], options["step"]
    if step == "choose":
        return run_shared(options, lambda: choose(options))
    if step == "make":
        return make_away(base, options["size"], parse_run(options["run"]), check_mode=check_mode)
    if check_mode:
        return {}
    if step == "keep":
        return run_shared(options, lambda: keep_proofs(base, options["proofs"]))
    return run_exclusive(options, lambda _: drill(options) if step == "drill" else abandon_away(base))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "step": {"type": "str", "required": True, "choices": ["choose", "make", "drill", "abandon", "keep"]},
            "base": {"type": "path", "required": True},
            "size": {"type": "int", "default": 0},
            "chosen": {"type": "list", "elements": "dict", "default": []},
            "proofs": {"type": "list", "elements": "dict", "default": []},
            **PROVING,
            **SHARE,
            **MOMENT,
            **WRITING,
        },
        supports_check_mode=True,
    )
    end_with_children()
    run_module(module, STAGE, EMPTY, lambda: run(module.params, module.check_mode))


if __name__ == "__main__":
    main()
