#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_accept: verify what arrived and give it its final name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_accept
short_description: Verify tarballs that arrived on a target and publish them
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.writing,
  altbackup.core.call.moment, altbackup.core.call.origin, altbackup.core.call.ssh]
description:
  - Moves each file out of the folder of arriving files to a temporary name beside its final one, reads it again, compares it with the source's dna,
    notes that it came in the run of O(stamp), renames it, writes its sidecar, and moves C(last).
  - A file that arrived in part stays for the next run to go on with; one with other bytes is thrown away.
options:
  base:
    description: The source's tree on this target; its parent holds the marker C(.altbackup/).
    type: path
    required: true
  tarballs:
    description: The tarballs that were sent, with the source's dna; mappings of relpath, size, dig, alg and record.
    type: list
    elements: dict
    required: true
  peer:
    description:
      - The source that offers them, if this target is to fetch them itself (C(pull)).
      - A mapping like the peers of M(altbackup.core.tarball_send).
    type: dict
  carried:
    description: Whether the tarballs are another target's, which M(altbackup.core.tarball_carry) has brought.
    type: bool
    default: false
  rekeyed:
    description:
      - Whether the tarballs are what this target has, encrypted to others (see M(altbackup.core.tarball_rekey)), and take the places of those, which are
        gone then. Their arrivals stay what they were.
    type: bool
    default: false
  retry:
    description: Whether what arrived with other bytes is named in RV(wrong), to be sent once more, and no failure yet.
    type: bool
    default: false
attributes:
  check_mode:
    description: Accepts nothing.
    support: full
"""

EXAMPLES = r"""
- name: Accept a tarball
  altbackup.core.tarball_accept:
    base: /data/backup/dayabay
    tarballs:
      - relpath: svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz
        size: 1915051630
        dig: 7b87e78cc03ea544e2ad3abae46eecd1
        alg: md5
"""

RETURN = r"""
tarballs:
  description: The tarballs that now stand verified on this target.
  returned: always
  type: list
  elements: dict
  sample: []
wrong:
  description: The tarballs whose bytes were other ones, as given, with what was found.
  returned: always
  type: list
  elements: dict
  sample: []
wire:
  description: Bytes that fetching moved.
  returned: always
  type: int
  sample: 1915080000
notes:
  description: What was ended or removed.
  returned: always
  type: list
  elements: str
  sample: []
failures:
  description:
    - What went wrong, one entry a tarball.
    - C(good) in one is the stamp of the newest whole tarball of its item in this tree for which its sidecar vouches, empty if there is none.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.synchronize.accept import accept
from ..module_utils.synchronize.peers import SSH, parse_peer
from ..module_utils.synchronize.rsync import fetch
from ..module_utils.system.process_groups import end_with_children
from ..module_utils.system.processes import Deadline
from ..module_utils.tree.locks import WRITING, Hold, run_exclusive
from ..module_utils.tree.module_call import run_module
from ..module_utils.tree.origin import ORIGIN, parse_origin
from ..module_utils.tree.stamps import MOMENT, moment_of

EMPTY = {"tarballs": [], "wrong": [], "wire": 0, "notes": []}


def run(options: dict, check_mode: bool) -> dict:
    """Accept what arrived; in check mode predict only whether anything would change."""
    if check_mode:
        return {"changed": bool(options["tarballs"])}
    return run_exclusive(options, lambda hold: receive(options, hold))  # type: ignore[arg-type]  # it is held


def receive(options: dict, hold: Hold) -> dict:
    """Accept what arrived, under the lock."""
    peer = parse_peer(options["peer"], options["ssh_args"]) if options["peer"] else None
    deadline = Deadline(options["step_timeout"], "transfer")
    fetching = None if peer is None else lambda incoming, wanted: fetch(incoming, peer, wanted, deadline)
    return accept(
        hold,
        options["tarballs"],
        moment=moment_of(options),
        fetch=fetching,
        retry=options["retry"],
        origin=parse_origin(options["origin"]),
        carried=options["carried"],
        rekeyed=options["rekeyed"],
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "tarballs": {"type": "list", "elements": "dict", "required": True},
            "peer": {"type": "dict"},
            **ORIGIN,
            "carried": {"type": "bool", "default": False},
            "rekeyed": {"type": "bool", "default": False},
            "retry": {"type": "bool", "default": False},
            **SSH,
            **MOMENT,
            **WRITING,
        },
        supports_check_mode=True,
    )
    end_with_children()
    run_module(module, "synchronize", EMPTY, lambda: run(module.params, module.check_mode), good=module.params)


if __name__ == "__main__":
    main()
