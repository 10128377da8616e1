#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_send: send a source's tarballs to its targets."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_send
short_description: Send a source's tarballs to its targets in parallel
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.writing, altbackup.core.call.ssh]
description:
  - Runs one C(rsync --inplace) a target, all at once, each with its own limits, into the private folder that M(altbackup.core.tarball_prepare) named.
  - Files travel under the names of their digests; M(altbackup.core.tarball_accept) verifies them on the target.
  - What targets fetch themselves is put where they find it, until the next call for this base.
  - No password or host key prompt is possible; failures hold the words of C(ssh) and C(rsync).
requirements:
  - rsync, and ssh for targets on other machines
options:
  base:
    description: The source's base folder, which holds the marker C(.altbackup/).
    type: path
    required: true
  targets:
    description: What goes where.
    type: list
    elements: dict
    required: true
    suboptions:
      peer:
        description:
          - How the target is reached, a mapping. Needed are C(node), its inventory name, and C(folder), where files arrive there.
          - Without C(host), the address to dial, it is this machine. Optional are C(port), C(user), C(ssh_key) (a path on this node).
          - Limits are C(bwlimit) (as C(rsync --bwlimit) takes it), C(connect_timeout) and C(io_timeout) (seconds, 15 and 60),
            C(min_rate) (bytes a second, none).
          - C(nice) and C(ionice) are the priorities of the other end. A key with a forced command lets no such wish through.
        type: dict
        required: true
      tarballs:
        description: What to send, in order; mappings of relpath, size, dig and alg.
        type: list
        elements: dict
        required: true
      fetched:
        description: Whether the target fetches it itself (C(pull)); then only the peer's C(node) matters here.
        type: bool
        default: false
attributes:
  check_mode:
    description: Sends nothing.
    support: full
"""

EXAMPLES = r"""
- name: Send a tarball to one target
  altbackup.core.tarball_send:
    base: /home/scm/backup/dayabay
    targets:
      - peer:
          node: cms01
          host: cms01.example.org
          user: backup
          folder: /data/backup/.altbackup/incoming/dayabay
        tarballs:
          - relpath: svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz
            size: 1915051630
            dig: 7b87e78cc03ea544e2ad3abae46eecd1
            alg: md5
"""

RETURN = r"""
sent:
  description: Bytes of the tarballs sent to each target.
  returned: always
  type: dict
  sample: {cms01: 1915051630}
wire:
  description: Bytes that went to and from each target, which are less where it had a part of them.
  returned: always
  type: dict
  sample: {cms01: 19206118}
offered:
  description: Folders from which targets fetch.
  returned: always
  type: dict
  sample: {}
notes:
  description: What of a killed run was removed, and whose lock was taken over.
  returned: always
  type: list
  elements: str
  sample: []
failures:
  description: What went wrong, with the target as its delegate.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.synchronize.peers import SSH, parse_peer
from ..module_utils.synchronize.send import send
from ..module_utils.system.process_groups import end_with_children
from ..module_utils.system.processes import Deadline
from ..module_utils.tree.leftovers import remove_leftovers
from ..module_utils.tree.locks import WRITING, run_exclusive
from ..module_utils.tree.module_call import run_module

EMPTY: dict = {"sent": {}, "wire": {}, "offered": {}, "notes": []}
TARGET = {
    "peer": {"type": "dict", "required": True},
    "tarballs": {"type": "list", "elements": "dict", "required": True},
    "fetched": {"type": "bool", "default": False},
}


def run(options: dict, check_mode: bool) -> dict:
    """Send; in check mode do nothing and report a change."""
    if check_mode:
        return {"changed": True}
    return run_exclusive(options, lambda _: transfer(options), clean=remove_leftovers)


def transfer(options: dict) -> dict:
    """Send to targets, and lay out for those that fetch."""
    pairs = [
        (parse_peer(target["peer"], options["ssh_args"]), target["tarballs"], target["fetched"])
        for target in options["targets"]
    ]
    return send(
        options["base"],
        [(peer, tarballs) for peer, tarballs, fetched in pairs if not fetched],
        Deadline(options["step_timeout"], "transfer"),
        [(peer.node, tarballs) for peer, tarballs, fetched in pairs if fetched],
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "targets": {"type": "list", "elements": "dict", "options": TARGET, "required": True},
            **SSH,
            **WRITING,
        },
        supports_check_mode=True,
    )
    end_with_children()
    run_module(module, "synchronize", EMPTY, lambda: run(module.params, module.check_mode))


if __name__ == "__main__":
    main()
