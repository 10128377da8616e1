# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several modules may be told, such as the run that a call belongs to, and its priority."""

from __future__ import annotations


class ModuleDocFragment:
    """Options that modules share: DOCUMENTATION of all, the others of those that name them."""

    DOCUMENTATION = r"""
options:
  fail:
    description: Whether the module fails when something is wrong; the stages of a playbook collect O(ignore:failures) instead.
    type: bool
    default: true
"""

    LIMITS = r"""
options:
  step_timeout:
    description: Seconds after which the call ends with a failure, its children and its reading of files.
    type: float
    default: 21600
  progress:
    description:
      - A file that the call makes while it runs, to say in it how many bytes of what it works on are done, and removes at its end.
      - It is for who shows that on a terminal, as the action plugins of these modules do. Empty makes none.
    type: path
    default: ''
  nice:
    description: Niceness of this call and of all that it starts, from 0 to 19.
    type: int
    default: 0
  ionice:
    description: Their class of input and output, C(idle), C(best-effort) or C(best-effort:0) to C(best-effort:7). Empty leaves it as it is.
    type: str
    default: ''
"""

    READING = r"""
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
"""

    WRITING = r"""
options:
  run:
    description:
      - The run of a playbook that this call belongs to, as its plan has it. The tree is that run's until M(altbackup.core.run_lock) gives it back.
      - Without it the tree is locked for this call alone, and not at all while it is another run's.
        So it is with a run of 0 seconds, but that one knows which runs of its controller are dead.
    type: dict
"""

    MOMENT = r"""
options:
  stamp:
    description: The run's stamp, C(YYYY/MM/DD/HHMMSS); that of now by this node's clock by default. Tarballs that are later do not count.
    type: str
    default: ''
  clock:
    description:
      - The latest stamp that the controller's clock had shown when the run began; that of now by this node's clock by default.
      - A tarball that is later than both O(ignore:stamp) and this is a failure.
    type: str
    default: ''
  timezone:
    description: The zone of stamps, and in which today is meant.
    type: str
    default: UTC
"""

    ORIGIN = r"""
options:
  origin:
    description:
      - The source, a mapping of C(name), C(base), C(id) and C(machine), as the RV(altbackup.core.preflight#module:identities) of it have them,
        and C(adopt), whether copies of another one of its name are taken for its own. Nothing is compared without.
      - A tree that holds the copies of another one is left alone, and that is a failure. A call that brings tarballs makes it this one's.
    type: dict
    default: {}
"""

    MARKS = r"""
options:
  marks:
    description:
      - What the controller was told of the copies of this source, which the tree keeps beside what it has already.
      - C(accepted) is a mapping of category/name to the stamp up to which suspects are accepted, C(holds) of
        category/name/YYYY/MM/DD/HHMMSS to why that is held, empty for one that is released, and C(retired) of category/name to the day on
        which the item was given up, empty for one that was not.
    type: dict
    default: {}
"""

    SSH = r"""
options:
  ssh_args:
    description:
      - Further options of ssh for all peers, which may hold secrets; a list of words as JSON, in base64, so that it can be hidden
        wherever it would be shown without hiding words that are like one of its own.
    type: str
    default: ''
"""

    STORE = r"""
options:
  store:
    description: The store.
    type: dict
    required: true
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      remote:
        description: C(remote:path) of rclone's configuration, or the absolute path of a folder on a disk that holds the folder C(.altbackup).
        type: str
        required: true
      config:
        description: rclone's configuration file, which must be this user's alone.
        type: str
        default: ''
      environment:
        description: A file of lines C(NAME=VALUE) for the environment of rclone, which must be this user's alone.
        type: str
        default: ''
      connect_timeout:
        description: Seconds.
        type: float
        default: 15
      io_timeout:
        description: Seconds without a byte.
        type: float
        default: 60
      bwlimit:
        description: Bytes a second, 0 for no limit.
        type: int
        default: 0
      lock_days:
        description: For how many days what is put there is locked, 0 for not at all. It needs a bucket of S3 with object lock.
        type: int
        default: 0
      lock_mode:
        description: The mode of that lock.
        type: str
        choices: [governance, compliance]
        default: governance
      absent_for:
        description: For how many seconds it may be away before that is a failure.
        type: float
        default: 0
"""

    COUNTING = r"""
options:
  base:
    description: A base folder; it or its parent holds the marker C(.altbackup/).
    type: path
    required: true
  day:
    description: The day, empty for today, V(-1) for yesterday, or C(YYYY/MM/DD).
    type: str
    default: ''
  expect:
    description: The number of tarballs expected of each name or category/name.
    type: dict
    required: true
  items:
    description: The category/name of all items; a verified tarball of another is unexpected. Without it, what O(expect) names is expected.
    type: list
    elements: str
  source:
    description: The source's name in messages; the last part of O(ignore:base) by default.
    type: str
    default: ''
  remembered:
    description: Whether items that the source discovered at the last synchronize are expected, too.
    type: bool
    default: false
  predicted:
    description: Paths below O(ignore:base) that a run in check mode would have made; they count.
    type: list
    elements: str
    default: []
  not_now:
    description: The category/name of items of which none need be there, as a hook said that it was no time for their dump.
    type: list
    elements: str
    default: []
  proof_age:
    description: Seconds since which a kept tarball of each item must have been proved to restore, see M(altbackup.core.tarball_drill); 0 asks for no proof.
    type: float
    default: 0
  node:
    description: The inventory name of the node, for the command that makes missing proofs.
    type: str
    default: ''
  memory:
    description:
      - What is said of items that are none any more, a mapping of C(retired) (category/name to the day on which it was given up), C(former)
        (category/name to the item that has its place) and C(undiscovered) (categories of which not all items are known). What the base held
        and is neither an item nor among these is a failure. Nothing is compared without, nor without O(items).
    type: dict
"""

    ROT = r"""
options:
  reverify_days:
    description:
      - In how many days all tarballs of the base are to be read again in turn, a share of each night; with 0 no more is read than is asked for.
      - When each was last read is kept in C(.altbackup/state/).
    type: int
    default: 0
"""

    PROVING = r"""
options:
  names:
    description: The category/name of the items to drill; all by default.
    type: list
    elements: str
  remembered:
    description: Whether items that the source discovered at the last synchronize are drilled, too.
    type: bool
    default: false
  limit:
    description: Most bytes that are unpacked at a time; 0 for as many as are free.
    type: int
    default: 0
  user:
    description: As whom the programs of a proof run, where the module runs as root; else they run as its own user.
    type: str
    default: nobody
  verify:
    description: >-
      For items of kind V(command), by their category/name, the argument list of the program that judges what a dump of theirs gave, see
      C(verify) of O(altbackup.core.altbackup#role:source:altbackup_items).
    type: dict
    default: {}
  identity:
    description: What opens encrypted tarballs, the text of a file of identities of age or ssh. Without it their ciphertext alone is proved.
    type: str
    default: ''
  identity_file:
    description: The file of this node that has it, where O(ignore:identity) is empty.
    type: path
    default: ''
"""
