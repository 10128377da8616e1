#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_contents: list and show what is in tarballs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_contents
short_description: Look into tarballs, find names in them, and compare two of them
version_added: 0.2.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.reading]
description:
  - Reads tarballs of a base as a restore would before it unpacks anything, and tells what is in them. Unpacks nothing, writes nothing and takes no lock.
  - What no restore would unpack is a failure.
  - Paths are those below the top folder of a tarball. A byte that is no text, or that would steer a terminal, is C(%) and two hexadecimal
    digits, as O(path) and O(name) take it, too.
options:
  base:
    description: A base folder; it or its parent holds the marker C(.altbackup/).
    type: path
    required: true
  step:
    description:
      - V(list) tells what lies in a folder of each tarball, V(find) where in them a name is, V(diff) what of the first was removed and
        changed in the second, and what was added.
    type: str
    choices: [list, find, diff]
    default: list
  tarballs:
    description: The tarballs, mappings of relpath (below O(base)) and, for a differential, base (the full one that it needs, from the item's
      folder); what is told of that is what both bring back.
    type: list
    elements: dict
    required: true
  path:
    description: A folder or file in the tarballs, to which V(list) and V(diff) are narrowed; empty for all.
    type: str
    default: ''
  name:
    description: The name that V(find) looks for, a pattern with C(*), C(?) or C([...]), or with a slash the end of a path.
    type: str
    default: ''
  recursive:
    description: Whether V(list) tells all that is below the folder, not only what lies in it.
    type: bool
    default: false
  most:
    description: Most entries that are told, from 1 to 100000. All are counted.
    type: int
    default: 1000
  user:
    description: As whom the programs that read a tarball run, where the module runs as root; else they run as its own user.
    type: str
    default: nobody
  identity:
    description: What opens encrypted tarballs, the text of a file of identities of age or ssh.
    type: str
    default: ''
  identity_file:
    description: The file of this node that has it, where O(identity) is empty.
    type: path
    default: ''
"""

EXAMPLES = r"""
- name: See what is in the folder conf of a repository's tarball
  altbackup.core.tarball_contents:
    base: /data/backup/dayabay
    tarballs: [{relpath: svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz}]
    path: conf
"""

RETURN = r"""
contents:
  description:
    - The entries, in the order of their names, with relpath (of the tarball), path, type (V(file), V(folder), V(link), V(hard link), V(device) or
      V(pipe)), size, mtime (seconds since 1970), mode, owner, group and target. A folder that V(list) does not enter has the bytes of all below it,
      and entries, how many these are.
    - For V(diff) what is V(added), V(removed) or V(changed), the last with before, its former size, and differs, a list of C(type),
      C(content), C(target), C(mode), C(owner) and C(group).
  returned: always
  type: list
  elements: dict
  sample:
    - relpath: svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz
      path: conf/passwd
      type: file
      size: 309
      mtime: 1368182821
      mode: '0640'
      owner: scm
      group: scm
      target: ''
totals:
  description:
    - For V(list) entries and bytes below the folder and how many entries could be listed; for V(find) those found and the tarballs read; for V(diff)
      those added, removed, changed and the same, and bytes_added, bytes_removed, bytes_changed and bytes_before (these, formerly).
  returned: always
  type: dict
  sample: {entries: 4, bytes: 1842, listed: 4}
notes:
  description: What an operator should know.
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
from ..module_utils.restore.contents import MOST, STAGE, STEPS, look_into, parse_query
from ..module_utils.restore.order import identities_of
from ..module_utils.system.mounts import require_answer
from ..module_utils.system.process_groups import end_with_children
from ..module_utils.system.processes import Deadline
from ..module_utils.tree.layout import open_tree
from ..module_utils.tree.locks import READING, run_unlocked
from ..module_utils.tree.module_call import run_module

EMPTY: dict = {"contents": [], "totals": {}, "notes": []}


def run(options: dict) -> dict:
    """Look into the tarballs, without a lock; return the result."""
    deadline = Deadline(options["step_timeout"], STAGE)
    wanted = parse_query(options)
    require_answer(options["base"], deadline)
    identities = identities_of(options, needed=False)
    return run_unlocked(
        options,
        lambda: look_into(open_tree(options["base"]), wanted, deadline, user=options["user"], identities=identities),
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "step": {"type": "str", "choices": list(STEPS), "default": "list"},
            "tarballs": {"type": "list", "elements": "dict", "required": True},
            "path": {"type": "str", "default": ""},
            "name": {"type": "str", "default": ""},
            "recursive": {"type": "bool", "default": False},
            "most": {"type": "int", "default": MOST},
            "user": {"type": "str", "default": "nobody"},
            "identity": {"type": "str", "default": "", "no_log": True},
            "identity_file": {"type": "path", "default": "", "no_log": False},
            **READING,
        },
        supports_check_mode=True,
    )
    end_with_children()
    run_module(module, STAGE, EMPTY, lambda: run(module.params))


if __name__ == "__main__":
    main()
