#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_mark: store what people say of copies."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_mark
short_description: Accept suspects, hold and release tarballs, retire items
version_added: 0.2.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.writing,
  altbackup.core.call.origin, altbackup.core.call.marks]
description:
  - Keeps in the private folder of a base what O(marks) says of its copies, and does nothing else. Purge and the other modules go by that.
  - A base that is not there, or that another run has now, is a note.
options:
  base:
    description: A base folder; it or its parent holds the marker C(.altbackup/).
    type: path
    required: true
  source:
    description: Whose own base it is, a source's inventory name; its id is returned then. Empty for the copies on a target.
    type: str
    default: ''
attributes:
  check_mode:
    description: Says what would be new.
    support: full
"""

EXAMPLES = r"""
- name: Keep one tarball whatever the rules say, and take the suspects of an item for what they are
  altbackup.core.tarball_mark:
    base: /data/backup/dayabay
    marks:
      holds: {svn/dybsvn/2013/05/10/104701: before the move}
      accepted: {tracs/dybsvn: 2013/05/10/104701}
"""

RETURN = r"""
marks_kept:
  description: Whether the marks are kept.
  returned: always
  type: bool
  sample: true
held:
  description: The tarballs that are held and there, as C(category/name/YYYY/MM/DD/HHMMSS).
  returned: always
  type: list
  elements: str
  sample: [svn/dybsvn/2013/05/10/104701]
identities:
  description: What tells the base from others, see M(altbackup.core.preflight); with O(source) alone.
  returned: always
  type: list
  elements: dict
  sample: []
notes:
  description: What is new.
  returned: always
  type: list
  elements: str
  sample: ['holds svn/dybsvn/2013/05/10/104701: before the move']
failures:
  description: What went wrong.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.stages.mark import EMPTY, mark, unless_absent
from ..module_utils.tree.locks import WRITING, Hold, run_exclusive
from ..module_utils.tree.marks import MARKS
from ..module_utils.tree.module_call import run_module
from ..module_utils.tree.origin import ORIGIN, parse_origin


def run(options: dict, hold: Hold | None) -> dict:
    """Mark the tree; `hold` is None in check mode."""
    origin = parse_origin(options["origin"])
    return mark(options["base"], options["marks"], hold=hold, source=options["source"], origin=origin)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "source": {"type": "str", "default": ""},
            **MARKS,
            **ORIGIN,
            **WRITING,
        },
        supports_check_mode=True,
    )
    options, check_mode = module.params, module.check_mode
    run_module(
        module,
        "mark",
        EMPTY,
        lambda: unless_absent(
            options["base"], lambda: run_exclusive(options, lambda hold: run(options, hold), check_mode=check_mode)
        ),
    )


if __name__ == "__main__":
    main()
