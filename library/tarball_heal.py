#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_heal: put good copies in the places of tarballs that had rotted."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_heal
short_description: Give good copies the places of tarballs that had rotted
version_added: 0.2.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.writing,
  altbackup.core.call.moment, altbackup.core.call.origin]
description:
  - Takes what M(altbackup.core.tarball_carry) brought from another node into C(.altbackup/healing/), reads it, and gives it the place and the sidecar
    of a tarball that M(altbackup.core.tarball_check) or M(altbackup.core.tarball_purge) moved to C(.altbackup/quarantine/).
  - Takes nothing but the content that lies there, by this node's own sidecar of it. What had rotted stays in the quarantine for 30 days.
options:
  base:
    description: A base folder; it or its parent holds the marker C(.altbackup/).
    type: path
    required: true
  tarballs:
    description:
      - What is to be healed, mappings of relpath, size, dig, alg and record as another node has them, and C(held), its path below the base there.
      - Where C(here) is true it is this base that has the same content at C(held), and nothing arrived.
    type: list
    elements: dict
    required: true
attributes:
  check_mode:
    description: Heals nothing.
    support: full
"""

EXAMPLES = r"""
- name: Heal a tarball of a target with what came from the source
  altbackup.core.tarball_heal:
    base: /data/backup/dayabay
    tarballs:
      - relpath: svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz
        held: svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz
        size: 1915051630
        dig: 7b87e78cc03ea544e2ad3abae46eecd1
        alg: md5
"""

RETURN = r"""
healed:
  description: The tarballs that stand verified in their places again.
  returned: always
  type: list
  elements: str
  sample: [svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz]
notes:
  description: What was removed, and whose lock was taken over.
  returned: always
  type: list
  elements: str
  sample: []
failures:
  description: Why others do not, one entry a tarball.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.stages.heal import STAGE, heal
from ..module_utils.tree.locks import WRITING, Hold, run_exclusive
from ..module_utils.tree.module_call import run_module
from ..module_utils.tree.origin import ORIGIN, parse_origin
from ..module_utils.tree.stamps import MOMENT, moment_of

EMPTY: dict = {"healed": [], "notes": []}


def run(options: dict, check_mode: bool) -> dict:
    """Heal; in check mode predict only whether anything would change."""
    if check_mode:
        return {"changed": bool(options["tarballs"])}
    return run_exclusive(options, lambda hold: put_back(options, hold))  # type: ignore[arg-type]  # it is held


def put_back(options: dict, hold: Hold) -> dict:
    """Heal, under the lock."""
    return heal(hold, options["tarballs"], moment=moment_of(options), origin=parse_origin(options["origin"]))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "tarballs": {"type": "list", "elements": "dict", "required": True},
            **ORIGIN,
            **MOMENT,
            **WRITING,
        },
        supports_check_mode=True,
    )
    run_module(module, STAGE, EMPTY, lambda: run(module.params, module.check_mode))


if __name__ == "__main__":
    main()
