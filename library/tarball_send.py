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
description:
  - Runs one C(rsync --inplace) a target, all at once, each with its own limits, into the private folder that M(altbackup.core.tarball_prepare) named.
  - Files travel under the names of their digests; M(altbackup.core.tarball_accept) verifies them on the target.
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
      target:
        description: The target's inventory name.
        type: str
        required: true
      incoming:
        description: Its folder for arriving files.
        type: path
        required: true
      tarballs:
        description: What to send, in order; mappings of relpath, size, dig and alg.
        type: list
        elements: dict
        required: true
      host:
        description: The address to dial; empty if the target is this machine.
        type: str
        default: ''
      port:
        description: The port to dial.
        type: int
      user:
        description: The user to log in as.
        type: str
        default: ''
      ssh_key:
        description: The private key's path on this node.
        type: path
      ssh_args:
        description: Further ssh options.
        type: list
        elements: str
        default: []
      bwlimit:
        description: Bytes a second, as C(rsync --bwlimit) takes it.
        type: str
        default: ''
      connect_timeout:
        description: Seconds to wait for a connection.
        type: float
        default: 15
      io_timeout:
        description: Seconds of silence after which a transfer is given up.
        type: float
        default: 60
  step_timeout:
    description: Seconds after which all transfers are ended.
    type: float
    default: 21600
  fail:
    description: Whether the module fails when something is wrong.
    type: bool
    default: true
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
      - target: cms01
        host: cms01.example.org
        user: backup
        incoming: /data/backup/.altbackup/incoming/dayabay
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
notes:
  description: What of a killed run was removed.
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

from ..module_utils.failures import attempt, summarize
from ..module_utils.processes import Deadline, end_with_children
from ..module_utils.transfer import Peer, send

EMPTY = {"changed": False, "sent": {}, "notes": []}
TARGET = {
    "target": {"type": "str", "required": True},
    "incoming": {"type": "path", "required": True},
    "tarballs": {"type": "list", "elements": "dict", "required": True},
    "host": {"type": "str", "default": ""},
    "port": {"type": "int"},
    "user": {"type": "str", "default": ""},
    "ssh_key": {"type": "path", "no_log": False},
    "ssh_args": {"type": "list", "elements": "str", "default": []},
    "bwlimit": {"type": "str", "default": ""},
    "connect_timeout": {"type": "float", "default": 15},
    "io_timeout": {"type": "float", "default": 60},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "targets": {"type": "list", "elements": "dict", "options": TARGET, "required": True},
            "step_timeout": {"type": "float", "default": 21600},
            "fail": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    end_with_children()
    options = module.params
    if module.check_mode:
        module.exit_json(**{**EMPTY, "changed": True, "failures": []})
    deliveries = [
        (
            Peer(
                target["target"],
                target["incoming"],
                target["host"],
                target["port"],
                target["user"],
                target["ssh_key"] or "",
                tuple(target["ssh_args"]),
                target["bwlimit"],
                target["connect_timeout"],
                target["io_timeout"],
            ),
            target["tarballs"],
        )
        for target in options["targets"]
    ]
    result = attempt(
        "synchronize", EMPTY, lambda: send(options["base"], deliveries, Deadline(options["step_timeout"], "transfer"))
    )
    if result["failures"] and options["fail"]:
        module.fail_json(msg=summarize(result["failures"]), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
