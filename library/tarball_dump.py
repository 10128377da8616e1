#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_dump: one run's tarballs of a list of items."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_dump
short_description: Make one run's tarballs of Subversion, Trac, Git, folder and SQLite items
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.writing, altbackup.core.call.marks]
description:
  - Makes a consistent, deterministic archive of each item while it is in use; archive, compression and digest are one pass over the data.
  - Each tarball is written under a temporary name, flushed, read back and compared, then renamed; then its sidecar is written, then C(last) is moved.
  - An item that did not change since an earlier day is stored as a hard link to that day's tarball, which is read again first;
    where there are no hard links it is a file of its own, which shares its blocks where it can.
  - An item that has a verified tarball under this stamp is not dumped again.
  - Items fail independently of each other. One on a mount whose server does not answer within 30 seconds is left out, and named.
requirements:
  - GNU tar, and C(zstd), C(pigz) or C(gzip); C(svnadmin) and C(svnlook) for kind V(svn), C(git) for kind V(git),
    2.45 or newer where references are in a table (reftable)
options:
  base:
    description: The source's base folder, which holds the marker C(.altbackup/).
    type: path
    required: true
  items:
    description:
      - What to dump, each a mapping of C(kind) (V(svn), V(trac), V(git), V(hg), V(folder), V(sqlite), V(postgresql), V(mysql), V(ldap),
        V(command) or V(set)), C(name) (without slash, newline or leading dot) and absolute C(path).
      - Commands and servers have no path, but a C(user) and keys of their own, as O(altbackup.core.altbackup#role:source:altbackup_items) has them.
      - A set has C(members), a list of items, or of the names (category/name) of some beside it. These are dumped one after another, then the list of them.
      - A folder may have C(exclude), a list of patterns as in a C(.gitignore), whose root is the folder. One that cannot be meant is an error of its item,
        one that is new and matches nothing a note.
      - A folder may have C(exclude_caches) (V(true) leaves out what is in folders that a C(CACHEDIR.TAG) marks) and C(exclude_if_present), a list of
        names that mark such folders. The folder and its mark are stored.
      - A file that only grows while a folder is read is stored as it was when it was looked at. What changes otherwise in each attempt, and paths
        that are too long, are named, the rest is stored, and the item is a failure. C(changing), patterns of the same form, names what may change.
      - A folder may have C(require), a path that must exist in it, for instance one that is there only when its disk is mounted.
      - A folder that is empty, or all of which is excluded, is a failure.
      - A Git repository may have C(may_move), a list of names or patterns of references (C(refs/heads/wip/*)) of which it is not doubted that they
        are rewritten or vanish, a database or Trac environment C(may_empty), the same of tables that lose all their rows.
      - C(keep) is not used here, so that items may be passed as the inventory has them. A bad item is a failure of its own.
    type: list
    elements: dict
    required: true
  received:
    description: Folders where this node keeps the copies that it receives as a target. An item that holds one of them is a failure of its own.
    type: list
    elements: path
    default: []
  controller:
    description:
      - The controller's inventory and this collection, as P(altbackup.core.controller#lookup) packs them.
      - They are one more item, the folder C(altbackup-controller). Empty means that there is no such item.
    type: str
    default: ''
  stamp:
    description: The run's stamp, C(YYYY/MM/DD/HHMMSS).
    type: str
    required: true
  clock:
    description:
      - The latest stamp that the controller's clock had shown when the run began; that of now by this node's clock by default.
      - C(last) that points to a later one is moved back.
    type: str
    default: ''
  timezone:
    description: The zone of stamps.
    type: str
    default: UTC
  ext:
    description: The archive format; V(.tar.gz) is made by C(pigz) where it is installed.
    type: str
    choices: [.tar.zst, .tar.gz, .tar]
    default: .tar.zst
  compress_level:
    description: The compressor's level, 1 (fast) to 19; gzip's end at 9.
    type: int
    default: 1
  algorithm:
    description: The digest of the sidecars; V(md5) is byte for byte what the original scripts wrote.
    type: str
    choices: [sha256, sha512, md5]
    default: sha256
  encrypt_to:
    description:
      - Recipients to whom C(age) encrypts the tarballs, such as C(age1...), C(ssh-ed25519 AAAA...) or C(ssh-rsa AAAA...). Their names end in C(.age)
        then, and their dna is that of what is encrypted. An item may have an C(encrypt_to) of its own.
    type: list
    elements: str
    default: []
  signing_key:
    description: The public key of the signatures of this source, by which its encrypted tarballs are known. With another one nothing is encrypted.
    type: str
    default: ''
  full_every:
    description:
      - Nights from one full tarball of an item to the next, up to 100. Above V(1), the tarballs between hold what changed since the full one (kinds V(svn),
        V(trac) and V(folder)), and are restored with it. An item may have a C(full_every) of its own.
      - With O(algorithm=md5) every tarball is full.
    type: int
    default: 1
  verify_every:
    description: Days after which the scratch copy of a Subversion or Git repository is built anew and verified whole.
    type: int
    default: 7
  shrink:
    description:
      - By which part, above 0 and up to 1, a dump may hold less of an item than the largest of the last seven good nights. One that holds still less is
        suspect, as is one whose identity changed. It is stored, and a failure until it is accepted. An item may have a C(shrink) of its own.
    type: float
    default: 0.3
  churn:
    description:
      - Which part of the files of a folder, above 0 and up to 1, may be gone or hold something else since the last good night, if what came in their place
        can hardly be compressed, or the path of the item leads elsewhere. A dump of which it is more is suspect. An item may have a C(churn) of its own.
    type: float
    default: 0.5
  hooks:
    description:
      - Programs that run before and after all items, as lists C(before), C(after) and C(on_failure), each of programs. A program is a list of words,
        or a mapping of these as C(argv), with a C(user) and a C(time_limit). Any item may have the same of its own.
      - C(after) runs whenever C(before) was started, also when this call is killed. See docs/hooks.md.
    type: dict
    default: {}
  max_age:
    description:
      - Seconds from which on the newest copy of an item is too old. An item whose C(before) ends with exit code 75, which says that this is no time for
        it, is skipped, and a failure if its newest copy is older.
    type: float
    default: 129600
  read_ahead:
    description:
      - Whether full tarballs, against which differentials are made, are read meanwhile, so that a check of the same run need not read them after it.
      - A tarball of which half is read when the dump is over is read to its end; the others are left to the check.
    type: bool
    default: false
attributes:
  check_mode:
    description:
      - Predicts the tarballs; digests and sizes are then empty. Folders are walked, and all patterns that match nothing are noted.
      - No hook is run, but each is told.
    support: full
"""

EXAMPLES = r"""
- name: Dump a repository and its Trac environment
  altbackup.core.tarball_dump:
    base: /home/scm/backup/dayabay
    stamp: 2013/05/10/104701
    items:
      - {kind: svn, name: dybsvn, path: /home/scm/svn/dybsvn}
      - {kind: trac, name: dybsvn, path: /home/scm/tracs/dybsvn}
"""

RETURN = r"""
tarballs:
  description: The tarball of each good item; one found unchanged on the same day is that day's.
  returned: always
  type: list
  elements: dict
  sample:
    - path: /home/scm/backup/dayabay/svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.zst
      relpath: svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.zst
      category: svn
      name: dybsvn
      stamp: 2013/05/10/104701
      size: 1531229474
      dig: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      alg: sha256
      seconds: 41.2
      bytes: 1531229474
not_now:
  description: The items (category/name) of which a hook said that this is no time for them, and of which there is a copy that is recent enough.
  returned: always
  type: list
  elements: str
  sample: []
failures:
  description:
    - What went wrong, one entry an item.
    - C(good) in one is the stamp of the newest whole tarball of its item in this tree for which its sidecar vouches, empty if there is none.
  returned: always
  type: list
  elements: dict
  sample: []
marks_kept:
  description: Whether what O(marks) says is kept.
  returned: always
  type: bool
  sample: true
held:
  description: The tarballs that are held and there, as C(category/name/YYYY/MM/DD/HHMMSS).
  returned: always
  type: list
  elements: str
  sample: []
notes:
  description: What an operator should know that is no failure, such as what was left out or rebuilt.
  returned: always
  type: list
  elements: str
  sample: []
"""

import contextlib
import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.archive.write import ArchiveFormat
from ..module_utils.kinds.hooks import parse_hooks
from ..module_utils.kinds.items import parse_full_every
from ..module_utils.stages.dump import dump
from ..module_utils.stages.dump_ahead import ReadAhead
from ..module_utils.stages.dump_order import MAX_AGE
from ..module_utils.system.process_groups import end_with_children
from ..module_utils.system.processes import Deadline
from ..module_utils.system.recipients import parse_recipients
from ..module_utils.system.values import parse_part
from ..module_utils.tree.doubt import CHURN, SHRINK, Limits
from ..module_utils.tree.leftovers import run_on_tree
from ..module_utils.tree.locks import WRITING, Hold
from ..module_utils.tree.marks import MARKS, try_keep
from ..module_utils.tree.read_ahead import keep_read_ahead
from ..module_utils.tree.stamps import MOMENT, moment_of

EMPTY: dict = {"tarballs": [], "not_now": [], "marks_kept": False, "held": [], "notes": []}


def run(options: dict, hold: Hold | None) -> dict:
    """Store the marks and dump; `hold` is None in check mode."""
    kept = try_keep(hold.tree, options["marks"]) if hold else {}
    if hold is None or hold.run is None or not options["read_ahead"]:
        return {**EMPTY, **kept, **_dump(options, hold)}
    with ReadAhead(hold.tree) as ahead:
        dumped = _dump(options, hold, ahead)
        with contextlib.suppress(OSError):  # then the check reads all
            keep_read_ahead(hold.tree, hold.run, ahead.found())
    return {**EMPTY, **kept, **dumped}


def _dump(options: dict, hold: Hold | None, ahead: ReadAhead | None = None) -> dict:
    return dump(
        options["base"],
        options["items"],
        options["stamp"],
        ArchiveFormat(
            options["ext"],
            options["compress_level"],
            options["algorithm"],
            parse_recipients(options["encrypt_to"], "encrypt_to"),
        ),
        {
            "deadline": Deadline(options["step_timeout"], "dump"),
            "verify_every": options["verify_every"],
            "full_every": parse_full_every(options["full_every"], "full_every"),
            "clock": moment_of(options).clock,
        },
        received=options["received"],
        controller=options["controller"],
        signing_key=options["signing_key"],
        limits=Limits(parse_part(options["shrink"]), parse_part(options["churn"])),
        hooks=parse_hooks(options["hooks"]),
        max_age=options["max_age"],
        check_mode=hold is None,
        ahead=ahead,
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "items": {"type": "list", "elements": "dict", "required": True},
            "received": {"type": "list", "elements": "path", "default": []},
            "controller": {"type": "str", "default": "", "no_log": True},
            **MOMENT,
            "stamp": {"type": "str", "required": True},
            "ext": {"type": "str", "choices": [".tar.zst", ".tar.gz", ".tar"], "default": ".tar.zst"},
            "compress_level": {"type": "int", "default": 1},
            "algorithm": {"type": "str", "choices": ["sha256", "sha512", "md5"], "default": "sha256"},
            "encrypt_to": {"type": "list", "elements": "str", "default": []},
            "signing_key": {"type": "str", "default": "", "no_log": False},
            "full_every": {"type": "int", "default": 1},
            "verify_every": {"type": "int", "default": 7},
            "shrink": {"type": "float", "default": SHRINK},
            "churn": {"type": "float", "default": CHURN},
            "hooks": {"type": "dict", "default": {}},
            "max_age": {"type": "float", "default": MAX_AGE},
            "read_ahead": {"type": "bool", "default": False},
            **MARKS,
            **WRITING,
        },
        supports_check_mode=True,
    )
    os.umask(0o022)  # modes in scratch copies, and so in archives, must not depend on the caller's umask
    end_with_children()
    options = module.params
    run_on_tree(module, "dump", EMPTY, lambda hold: run(options, hold))


if __name__ == "__main__":
    main()
