#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module store_fetch: what a store holds of a source, and tarballs of it brought to this node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: store_fetch
short_description: Find and fetch tarballs of a store
version_added: 0.2.0
author: altbackup developers (@altbackup)
extends_documentation_fragment:
  - altbackup.core.call
  - altbackup.core.call.limits
  - altbackup.core.call.reading
  - altbackup.core.call.moment
  - altbackup.core.call.store
description:
  - Tells what a store holds of a source, or brings tarballs of it into a private folder of this node, from where they are restored, or removes that folder.
  - What a delete marker hides in a bucket is read below it.
options:
  base:
    description: The tree on this node from which the store is filled.
    type: path
    required: true
  source:
    description: The name of the source.
    type: str
    required: true
  step:
    description:
      - With V(find) what the store holds of O(keys) is returned as C(trees), with V(list) all as C(tarballs); V(fetch) brings O(tarballs), and V(remove)
        removes what was brought.
    type: str
    choices: [find, list, fetch, remove]
    required: true
  keys:
    description: Items (category/name), all where none are named.
    type: list
    elements: str
    default: []
  tarballs:
    description: Tarballs, each with relpath, size, dig and alg.
    type: list
    elements: dict
    default: []
  day:
    description: The day that is listed, V(all) or empty for all of them.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: See what a disk has of a source
  altbackup.core.store_fetch:
    step: list
    store: {name: drawer, remote: /mnt/drawer}
    base: /data/backup/dayabay
    source: dayabay
"""

RETURN = r"""
trees:
  description: With O(step=find), the tree of the source in the store, as M(altbackup.core.tarball_find) returns it; its base is where O(step=fetch) brings it.
  returned: always
  type: list
  elements: dict
  sample: []
tarballs:
  description: With O(step=list), all tarballs of the source in the store, newest last, as M(altbackup.core.tarball_list) returns them.
  returned: always
  type: list
  elements: dict
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
from ..module_utils.stores.fetch import STEPS, fetch, find, listed, remove
from ..module_utils.stores.settings import STORE
from ..module_utils.stores.work import STAGE
from ..module_utils.tree.locks import READING, run_unlocked
from ..module_utils.tree.module_call import run_module
from ..module_utils.tree.stamps import MOMENT

EMPTY: dict = {"trees": [], "tarballs": []}


def run(options: dict, check_mode: bool) -> dict:
    """Do the step in the module's parameters; in check mode nothing is brought."""
    if check_mode and options["step"] in ("fetch", "remove"):
        return {**EMPTY, "changed": False, "failures": []}
    step = {"find": find, "list": listed, "fetch": fetch, "remove": remove}[options["step"]]
    return {**EMPTY, **run_unlocked(options, lambda: step(options))}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "source": {"type": "str", "required": True},
            "step": {"type": "str", "choices": list(STEPS), "required": True},
            "keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "tarballs": {"type": "list", "elements": "dict", "default": []},
            "day": {"type": "str", "default": ""},
            **STORE,
            **MOMENT,
            **READING,
        },
        supports_check_mode=True,
    )
    run_module(module, STAGE, EMPTY, lambda: run(module.params, module.check_mode))


if __name__ == "__main__":
    main()
