#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_restore: restore an item from its tarball."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_restore
short_description: Restore a thing from its tarball, verified and proven
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits]
description:
  - Reads the tarball and compares it with its dna, unpacks it into a private folder beside the destination, proves that what came out is what its kind
    ought to be, and gives it its place by one rename. What a tarball holds is taken for hostile until it is proven.
  - What stands at the destination is left alone, and that is a failure, unless it is to be moved aside.
  - A marker beside what was restored keeps it from being dumped, until M(altbackup.core.restore_adopt) removes it. With O(member) there is one only
    where that makes an item of this host doubtful, beside that item; see RV(marked).
  - What the same order restored there before, and nobody changed since, is RV(done), and nothing is changed, whatever O(replace) says.
  - A killed call leaves what stood there or the new thing, whole. The next call removes what else is left, and reports it.
requirements:
  - GNU tar, C(zstd) or C(gzip); C(svnadmin) for kind V(svn), C(git) for kind V(git)
options:
  step:
    description:
      - V(prepare) sees whether it can be done, as far as can be known without the tarball, and makes the folder RV(incoming).
      - V(restore) does it. V(abandon) removes what V(prepare) made, if the tarball did not arrive.
      - V(look) reads the tarball where it lies, in O(base), and sees what V(restore) would find in it; it writes nothing.
    type: str
    choices: [prepare, look, restore, abandon]
    default: restore
  destination:
    description: Absolute path at which the thing is to stand.
    type: path
    required: true
  kind:
    description: The kind of the item, such as V(svn), V(folder) or V(postgresql).
    type: str
    required: true
  tarballs:
    description: The tarball, or the full one and the differential, each a mapping of relpath, size, dig and alg, and of an encrypted one its record.
    type: list
    elements: dict
    required: true
  base:
    description: The tree that holds them, if it is on this node. Empty means that they are in RV(incoming).
    type: path
    default: ''
  live_base:
    description: The base of this host's own tarballs, if it is a source. While a dump works there nothing takes its place.
    type: path
    default: ''
  live_items:
    description: What is backed up on this host, each a mapping of kind and path; for RV(marked).
    type: list
    elements: dict
    default: []
  live_discover:
    description: The folders of this host in which items are discovered, by kind; for RV(marked).
    type: dict
    default: {}
  record:
    description: What the dump recorded of the item, with which the proof compares.
    type: dict
    default: {}
  origin:
    description: What the marker is to tell; a mapping of source, item, stamp, dig, node, host, when and by.
    type: dict
    default: {}
  member:
    description: The one path inside the tarball that is to be restored, such as C(dybsvn/db/trac.db). Empty means all of it.
    type: str
    default: ''
  replace:
    description: What becomes of what stands at the destination. V(refuse) is a failure; V(move_aside) renames it, with the stamp of this run.
    type: str
    choices: [refuse, move_aside]
    default: refuse
  consent:
    description: Whether a folder that differs from the backup may be moved aside; it may hold users and who has access to what.
    type: bool
    default: false
  special_modes:
    description: Whether files keep their setuid and setgid bits and capabilities, and devices and named pipes come back. What is left out is noted.
    type: bool
    default: false
  numeric:
    description:
      - Whether owners and groups have the numbers that they had in the backup. Else they are those of their names, where this host knows them; a note
        tells which it does not know, and these have their numbers. A tarball of an older version has no names.
    type: bool
    default: false
  owner:
    description: User, by name or number, to whom all of it is to belong. Empty means as archived.
    type: str
    default: ''
  group:
    description: Group, by name or number, to which all of it is to belong. Empty means as archived.
    type: str
    default: ''
  mode:
    description: Mode of the top folder, or of the file, in octal digits, such as V(0750). Empty means as archived.
    type: str
    default: ''
  selinux:
    description: SELinux context of all of it, such as C(system_u:object_r:httpd_sys_content_t:s0). Empty means as archived.
    type: str
    default: ''
  into:
    description:
      - The server into which it is loaded, for kinds V(postgresql), V(mysql) and V(ldap), as C(into) of a restore; C(user) must be given.
      - Nothing stands at O(destination) then, beside which it is unpacked; what fails leaves the server as it was.
    type: dict
    default: {}
  stamp:
    description: The run's stamp, C(YYYY/MM/DD/HHMMSS), from which what is moved aside has its name.
    type: str
    required: true
  proof_user:
    description: As whom the programs of the proof read what was unpacked, where the module runs as root. Never root.
    type: str
    default: nobody
  identity:
    description:
      - What opens encrypted tarballs, the text of a file of age or of a private key of ssh without a passphrase. It is handed to C(age) by a pipe. Only
        over connections with pipelining, as else Ansible writes it to a file of the host.
    type: str
    default: ''
  identity_file:
    description: The file of this host that has it, where O(identity) is empty.
    type: path
    default: ''
  signing_key:
    description: The public key with which the source signs its encrypted tarballs. One that it did not sign is refused then.
    type: str
    default: ''
  sources:
    description: The names under which the source signed; empty means that it does not matter.
    type: list
    elements: str
    default: []
  run:
    description: The run of a playbook that this call belongs to, as its plan has it. Trees of other runs are left alone.
    type: dict
attributes:
  check_mode:
    description: Sees whether it can be done, as far as can be known without unpacking. A tarball on this node is read for that.
    support: full
  diff_mode:
    description:
      - Shows in which lines a folder that is there differs from the backup, which may be secrets. Needs the tarball, so shows nothing in check mode.
      - Without O(consent) the result is a failure and yet C(changed), since Ansible shows the lines of what is changed alone; nothing was done.
    support: partial
"""

EXAMPLES = r"""
- name: Restore a repository from a tree on this node
  altbackup.core.tarball_restore:
    destination: /home/scm/svn/dybsvn
    kind: svn
    base: /home/scm/backup/dayabay
    tarballs:
      - relpath: svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz
        size: 1915051630
        dig: 7b87e78cc03ea544e2ad3abae46eecd1
        alg: md5
    stamp: 2013/05/11/090000
"""

RETURN = r"""
destination:
  description: Where the thing stands, or would.
  returned: always
  type: str
  sample: /home/scm/svn/dybsvn
done:
  description:
    - Whether an earlier call put just that there and nothing of it was changed since, so that there is nothing to do.
    - What this user restored in the last 90 days is remembered; contents are not read again, but sizes, modes, owners and times of all of it compared.
  returned: always
  type: bool
  sample: false
aside:
  description: Where what stood there before is now; empty if nothing was moved.
  returned: always
  type: str
  sample: /home/scm/svn/dybsvn.20130511-090000
marked:
  description: What a marker stands beside, so that it is not dumped until it is adopted; empty if nothing.
  returned: always
  type: str
  sample: /home/scm/svn/dybsvn
incoming:
  description: The folder in which tarballs of other nodes are to arrive, after step V(prepare).
  returned: always
  type: str
  sample: ''
needed:
  description: Bytes that are needed, as far as known.
  returned: always
  type: int
  sample: 1915051630
free:
  description: Bytes that are free there.
  returned: always
  type: int
  sample: 80000000000
proof:
  description: What the proof found.
  returned: always
  type: dict
  sample: {}
seconds:
  description: How long it took.
  returned: always
  type: float
  sample: 41.2
notes:
  description: What was removed, made, left out, or not proven.
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

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.kinds.into import place_of  # isort: skip
from ..module_utils.restore.order import REPLACE, parse_order
from ..module_utils.restore.restore import STAGE, abandon, look, prepare, restore
from ..module_utils.system import progress
from ..module_utils.system.priority import lower_priority
from ..module_utils.system.process_groups import end_with_children
from ..module_utils.system.processes import Deadline
from ..module_utils.system.visible import printable
from ..module_utils.tree.failures import as_failures, failure
from ..module_utils.tree.locks import WRITING, parse_run
from ..module_utils.tree.module_call import run_module

EMPTY = {
    "done": False,
    "destination": "",
    "aside": "",
    "marked": "",
    "incoming": "",
    "needed": 0,
    "free": 0,
    "proof": {},
    "seconds": 0.0,
    "notes": [],
}


def run(options: dict, *, check_mode: bool, show_lines: bool) -> dict:
    """Do the step; each failure names the item and the restore."""
    with progress.reported(options["progress"]):
        result = as_failures(STAGE, {}, lambda: do_step(options, check_mode=check_mode, show_lines=show_lines))
    return {
        **result,
        "failures": [{**entry, **about(options, entry["reason"])} for entry in result.get("failures", [])],
    }


def do_step(options: dict, *, check_mode: bool, show_lines: bool) -> dict:
    """Do the step. Raise AltbackupError or OSError."""
    lower_priority(options["nice"], options["ionice"])
    order = parse_order(options, options["stamp"])
    if options["step"] == "abandon":
        return abandon(order) if not check_mode else {}
    deadline = Deadline(options["step_timeout"], "restore")
    if options["step"] == "look":
        with progress.at_work(str(order.origin.get("item"))):
            return look(order, deadline, run=parse_run(options["run"]))
    if options["step"] == "prepare" or check_mode:
        result = prepare(order, run=parse_run(options["run"]), check_mode=check_mode)
        if options["step"] == "restore" and order.base and not result.get("done"):
            seen = look(order, deadline, run=parse_run(options["run"]))
            result["notes"] += seen["notes"]
        return result
    with progress.at_work(str(order.origin.get("item"))):
        result = restore(order, deadline, run=parse_run(options["run"]), show_lines=show_lines)
    refused = result.pop("refused", "")
    diff = result.pop("diff", "")
    result["failures"] = [failure(STAGE, refused)] if refused else []
    return {**result, **({"diff": {"prepared": diff}} if diff else {})}


def about(options: dict, reason: str) -> dict:
    """Return the category, the name and the reason of a failure, which names the destination."""
    where = place_of(options["kind"], options["into"]) if options["into"] else options["destination"]
    shown = printable(where)
    category, _, rest = str(options["tarballs"][0].get("relpath", "") if options["tarballs"] else "").partition("/")
    whole = reason if shown in reason else f"to {shown}: {reason}"
    return {"category": category, "name": rest.partition("/")[0], "reason": whole}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "step": {"type": "str", "choices": ["prepare", "look", "restore", "abandon"], "default": "restore"},
            "destination": {"type": "path", "required": True},
            "kind": {"type": "str", "required": True},
            "tarballs": {"type": "list", "elements": "dict", "required": True},
            "record": {"type": "dict", "default": {}},
            "origin": {"type": "dict", "default": {}},
            "into": {"type": "dict", "default": {}},
            "live_items": {"type": "list", "elements": "dict", "default": []},
            "live_discover": {"type": "dict", "default": {}},
            "replace": {"type": "str", "choices": list(REPLACE), "default": "refuse"},
            "consent": {"type": "bool", "default": False},
            "special_modes": {"type": "bool", "default": False},
            "numeric": {"type": "bool", "default": False},
            "stamp": {"type": "str", "required": True},
            "proof_user": {"type": "str", "default": "nobody"},
            "identity": {"type": "str", "default": "", "no_log": True},
            "identity_file": {"type": "path", "default": "", "no_log": False},
            "signing_key": {"type": "str", "default": "", "no_log": False},
            "sources": {"type": "list", "elements": "str", "default": []},
            **{name: {"type": "path", "default": ""} for name in ("base", "live_base")},
            **{name: {"type": "str", "default": ""} for name in ("member", "owner", "group", "mode", "selinux")},
            **WRITING,
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    end_with_children()
    options, modes = module.params, {"check_mode": module.check_mode, "show_lines": bool(module._diff)}
    run_module(module, STAGE, {**EMPTY, "destination": options["destination"]}, lambda: run(options, **modes))


if __name__ == "__main__":
    main()
