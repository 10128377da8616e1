#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_purge: retention."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_purge
short_description: Remove the verified tarballs that are no longer to be kept
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.writing,
  altbackup.core.call.moment, altbackup.core.call.origin, altbackup.core.call.marks, altbackup.core.call.rot]
description:
  - Keeps, per item, the newest verified tarball of each of the last K days that have one, and the newest of each of the last K distinct contents.
  - With O(rules), keeps as well the newest verified tarball of each of the last calendar days, weeks, months and years that have one, as
    many as these say, the oldest while there are fewer, and all that is younger than a time.
  - Removes every other verified tarball with its sidecar and record, and the date folders that become empty.
  - Never removes the newest verified tarball, nor one made in this run. What is not verified, or dated later than O(stamp), does not count and is left alone.
  - On a target, a tarball that came a day or more after its stamp has only what of days, contents and periods those that came in time leave
    free.
  - Removes of an item at most one more than what the run of O(stamp) added to this node, the oldest first. The rest waits for later runs.
  - Never removes a tarball that is held (O(marks)). While a suspect of an item is not accepted no good copy of it goes; of its suspects the first and
    the last three stay.
  - What is removed is kept in the trash of the base's private folder for O(trash_days), if there are any; M(altbackup.core.tarball_undo) puts it back.
  - Of an item of which a number to keep fell since the last purge nothing is removed, and that is a failure, until O(confirm) says that it is meant.
  - Nothing is removed where the run is more than a day later than this node's clock.
  - Follows no link and touches nothing outside the base.
  - With O(reverify_days), of an item of which something is to go, what stays and was not read within so many days is read first. Where that does not
    match its dna, or cannot be read, nothing of the item goes.
  - No tarball in the base, or none of an item that O(names) names, is a failure. Items with a folder that cannot be read are left alone.
options:
  base:
    description: A base folder; it or its parent holds the marker C(.altbackup/).
    type: path
    required: true
  keep:
    description: K, a positive whole number, or a mapping of category/name to such numbers.
    type: raw
    required: true
  rules:
    description:
      - How many of the last C(daily), C(weekly), C(monthly) and C(yearly) periods have their newest tarball kept, and how far back all are,
        C(within), in seconds or with a unit; 0 is none, and so is what is not named. Weeks begin on Monday and periods are those of stamps.
      - A key with a slash is a category/name, its value a mapping of rules that go before those of all items.
    type: dict
    default: {}
  names:
    description: The category/name of the items to purge; all by default.
    type: list
    elements: str
  remembered:
    description:
      - K of the items that the source had at the last synchronize and that a mapping O(keep) does not name, such as discovered ones.
        They are purged, too, even if O(names) does not name them; with 0 they are left to O(keep) and O(names).
    type: int
    default: 0
  predicted:
    description: Paths below O(base) that a run in check mode would have made.
    type: list
    elements: str
    default: []
  verify:
    description: Whether each tarball that would count is read first, so that only a match counts.
    type: bool
    default: false
  only:
    description:
      - What somebody has seen and wants to go, such as what this module said in check mode, by path below O(base), size and digest. Nothing else
        goes. One that is another tarball now, or that is to be kept or to wait, stays and is a failure.
    type: list
    elements: dict
    suboptions:
      relpath:
        description: Its path below O(base).
        type: str
        required: true
      size:
        description: Its bytes.
        type: int
        required: true
      dig:
        description: Its digest.
        type: str
        required: true
      alg:
        description: The algorithm of that.
        type: str
        required: true
  explain:
    description: Whether to say of each tarball why it stays, as RV(reasons) and RV(judged).
    type: bool
    default: true
  trash_days:
    description:
      - For how many days after its removal a tarball stays in the trash, by the day of O(clock); 0 deletes it, and all that is there, at once.
        Without it what is removed is deleted at once, and what is there stays.
      - The oldest are deleted before where the disk would have no room for what the newest tarballs of all items take.
    type: int
  confirm:
    description: Whether it is meant that numbers to keep fell.
    type: bool
    default: false
  copies:
    description: A mapping of category/name to the number of targets on which the newest tarball of that item is verified. None asks for none.
    type: dict
  min_copies:
    description: The fewest O(copies) of an item of which anything older is removed. It is a note if there are fewer.
    type: int
    default: 0
  check:
    description:
      - What M(altbackup.core.tarball_check) is told of the base, which is then checked first. Of the items that O(names) names only those are
        purged that passed; what the check found is returned, too.
    type: dict
    suboptions:
      day:
        description: The day, empty for today, V(-1) for yesterday, or C(YYYY/MM/DD).
        type: str
        default: ''
      scope:
        description: Whether what is read again are the tarballs of O(check.day), or all.
        type: str
        choices: [day, all]
        default: day
      expect:
        description: The number of tarballs expected of each name or category/name.
        type: dict
        required: true
      items:
        description: The category/name of all items; a verified tarball of another is unexpected. Without it, what O(check.expect) names is expected.
        type: list
        elements: str
      source:
        description: The source's name in messages; the last part of O(base) by default.
        type: str
        default: ''
      remembered:
        description: Whether items that the source discovered at the last synchronize are expected, too.
        type: bool
        default: false
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
            and is neither an item nor among these is a failure. Nothing is compared without, nor without O(check.items).
        type: dict
  remember:
    description: Whether it is kept in mind what the base holds, so that what vanishes is missed; then RV(pair) is returned of a tree on a target.
    type: bool
    default: false
  awaited:
    description:
      - Contents that stay, as other nodes lost theirs and need them from here, a mapping of category/name to mappings of C(dig), C(size) and C(alg).
    type: dict
    default: {}
  pairs:
    description:
      - What the trees of a source on its targets are after this run, by target its RV(pair), for the source's own tree to O(remember). The next run compares.
    type: dict
    default: {}
  quarantine:
    description:
      - Whether the check reads the share of the night of the older tarballs, too (O(reverify_days)), and moves what does not match its dna into
        C(.altbackup/quarantine/), as M(altbackup.core.tarball_check) does.
    type: bool
    default: false
  metrics:
    description:
      - How to leave how the copies of the base stand after this, for Prometheus, a mapping of C(folder), C(node), C(source), C(inventory) and C(max_age)
        (seconds). None are left without a C(folder), nor in check mode. What is wrong with that is one of the RV(notes).
    type: dict
    default: {}
  unlock:
    description: Whether this is the last call of O(run) on the tree, which is then given back, whatever this call found.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says what would be removed.
    support: full
"""

EXAMPLES = r"""
- name: Keep three days and three contents of each item
  altbackup.core.tarball_purge:
    base: /data/backup/dayabay
    keep: 3

- name: Keep more of one item, and purge nothing else
  altbackup.core.tarball_purge:
    base: /data/backup/dayabay
    keep: {svn/dybsvn: 7}
    names: [svn/dybsvn]

- name: Keep a week of days and half a year of months, too, and more of one item
  altbackup.core.tarball_purge:
    base: /data/backup/dayabay
    keep: 7
    rules:
      daily: 7
      monthly: 6
      within: 36h
      svn/dybsvn: {yearly: 10}
"""

RETURN = r"""
reread:
  description: Older tarballs that were read, too, and match their dna.
  returned: if O(check)
  type: list
  elements: str
  sample: [svn/dybsvn/2013/05/03/104701/dybsvn-20310.tar.gz]
quarantined:
  description:
    - Tarballs in the quarantine for which no good copy has come yet. C(dig), C(size) and C(alg) are of their dna, C(read) and C(read_size) of their
      bytes. C(told) and C(reason) are tarball and reason of the failure that tells of it, empty for one that was moved before.
  returned: if O(check)
  type: list
  elements: dict
  sample: []
healed:
  description: Tarballs of which what had rotted is still in the quarantine, and that stand in their places again.
  returned: if O(check)
  type: list
  elements: str
  sample: []
kept:
  description: Verified tarballs that stay, newest last.
  returned: always
  type: list
  elements: str
  sample: [svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz]
waiting:
  description: Those of them that are no longer to be kept, but are left for later runs, as this one removed what it may.
  returned: always
  type: list
  elements: str
  sample: []
newest:
  description: The newest tarball of each item that was judged which is whole and no suspect, or accepted.
  returned: always
  type: list
  elements: dict
  sample: [{relpath: svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz, size: 1531229474, dig: 9f86d0, alg: sha256}]
suspects:
  description: Why each tarball of these items is suspect that is, and that nobody accepted.
  returned: always
  type: dict
  sample: {}
free:
  description: Free bytes of the disk, after all of this; 0 where that is not known.
  returned: always
  type: int
  sample: 8400000000
removed:
  description: Tarballs that were removed, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: [svn/dybsvn/2013/05/02/104701/dybsvn-20310.tar.gz]
reasons:
  description: Why each tarball that was judged stays, in words; of one that is no longer to be kept, none.
  returned: always, empty without O(explain)
  type: dict
  sample: {svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz: [newest, content 1/3, day 1/3, daily 1/7]}
judged:
  description: Size and digest of each of these tarballs, as they were before.
  returned: always, empty without O(explain)
  type: list
  elements: dict
  sample: [{relpath: svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz, size: 1531229474, dig: 9f86d0, alg: sha256}]
unverified:
  description: Tarballs that no sidecar vouches for, left alone.
  returned: always
  type: list
  elements: str
  sample: []
pair:
  description: What the tree of a source on a target is after this call, for the source to remember; if it is to O(remember) it.
  returned: always
  type: dict
  sample:
    id: 5f0c2d8d1c0b4b8f9f0e6a7d3c2b1a09
    copies: 12
    purged: 340
    newest: 2013/05/10/104701
    run: 2013/05/10/104701
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
  description: What else was left alone, and why.
  returned: always
  type: list
  elements: str
  sample: []
bytes_freed:
  description: Bytes of the files whose last link was deleted, now or from the trash.
  returned: always
  type: int
  sample: 1531229474
bytes_in_trash:
  description: Bytes that will be freed when what was removed is deleted from the trash.
  returned: always
  type: int
  sample: 0
failures:
  description:
    - What went wrong.
    - C(good) in one is the stamp of the newest whole tarball of its item in this tree for which its sidecar vouches, empty if there is none.
  returned: always
  type: list
  elements: dict
  sample: []
"""

import time
from collections.abc import Mapping

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.stages.care import Safeguards
from ..module_utils.stages.check import CHECKING, ROT, check, nothing_checked, passed
from ..module_utils.stages.memory import remember
from ..module_utils.stages.metrics import METRICS, leave_metrics
from ..module_utils.stages.purge import PurgeRequest, purge
from ..module_utils.stages.purge_plan import Reviewed
from ..module_utils.tree.failures import as_failures, failure
from ..module_utils.tree.layout import Tree, open_tree
from ..module_utils.tree.leftovers import give_back
from ..module_utils.tree.locks import WRITING, Hold, run_exclusive
from ..module_utils.tree.marks import MARKS
from ..module_utils.tree.module_call import run_module
from ..module_utils.tree.origin import ORIGIN, parse_origin, require_origin
from ..module_utils.tree.pairs import keep_pairs
from ..module_utils.tree.remembered import remembered_items
from ..module_utils.tree.scan import Scan, scan
from ..module_utils.tree.stamps import DAY, MOMENT, moment_of, stamp_at

CHECK = {name: value for name, value in CHECKING.items() if name not in ("base", "predicted")}
ONLY = {
    name: {"type": "int" if name == "size" else "str", "required": True} for name in ("relpath", "size", "dig", "alg")
}
EMPTY = {
    "kept": [],
    "waiting": [],
    "newest": [],
    "suspects": {},
    "free": 0,
    "removed": [],
    "reasons": {},
    "judged": [],
    "unverified": [],
    "pair": {},
    "marks_kept": False,
    "held": [],
    "notes": [],
    "bytes_freed": 0,
    "bytes_in_trash": 0,
}


def run(options: dict, hold: Hold | None, check_mode: bool) -> dict:
    """Purge; then, if this is the run's last call, release its lease. `hold` is None in check mode."""
    try:
        found = check_and_remove(options, check_mode)
        result = {**EMPTY, **found}
        if not check_mode:
            standing = {**result, "free": found.get("free")}
            told = leave_metrics(options["metrics"], options["base"], standing, options["timezone"])
            result = {**result, "notes": [*result["notes"], *told]}
        if hold is None or not options["remember"]:
            return result
        known = remember(hold.tree, result["kept"], moment_of(options))
        kept = as_failures("purge", {}, lambda: keep(hold.tree, options["pairs"]))
        return {
            **result,
            "pair": known["pair"],
            "failures": [*result["failures"], *known["failures"], *kept["failures"]],
        }
    finally:
        if options["unlock"] and hold is not None:
            give_back(hold)


def keep(tree: Tree, pairs: dict) -> dict:
    """Store the states of targets in a source's own tree; return failures."""
    return {"failures": [failure("purge", error) for error in keep_pairs(tree, pairs)]}


def check_and_remove(options: dict, check_mode: bool) -> dict:
    """Check if `check` is given, and purge; of checked items only those that passed. Raise AltbackupError or OSError."""
    if options["check"] is None:
        return remove(options, check_mode)
    call = {name: options[name] for name in (*MOMENT, *ROT, "base", "predicted")}
    moving = options["quarantine"] and not check_mode
    found = scan(open_tree(options["base"]), tolerate_unreadable=True) if moving else None
    checked = as_failures(
        "check", nothing_checked(), lambda: check({**options["check"], **call}, moving=moving, whole=found)
    )
    good = passed(checked, options["predicted"])
    names = [key for key in good if options["names"] is None or key in options["names"]]
    removed = as_failures("purge", EMPTY, lambda: remove({**options, "names": names}, check_mode, found))
    told = {name: [*checked[name], *removed[name]] for name in ("notes", "failures")}
    return {**checked, **removed, **told}


def remove(options: dict, check_mode: bool, found: Scan | None = None) -> dict:
    """Purge; `found` is a scan of the base, if there is one. Raise AltbackupError or OSError."""
    keep, names = options["keep"], options["names"]
    require_origin(open_tree(options["base"]), parse_origin(options["origin"]))
    known = remembered_items(open_tree(options["base"])) if options["remembered"] else []
    if isinstance(keep, Mapping):
        keep = {**dict.fromkeys(known, options["remembered"]), **keep}
    only = options["only"]
    purged = purge(
        PurgeRequest(
            options["base"],
            keep,
            names=None if names is None else [*names, *(key for key in known if key not in names)],
            rules=options["rules"],
            moment=moment_of(options),
            made_now=[options["stamp"]] if options["stamp"] else [],
            predicted=options["predicted"],
            verify=options["verify"],
            marks=options["marks"],
            only=None if only is None else [Reviewed(**one) for one in only],
            safeguards=Safeguards(
                options["trash_days"],
                options["confirm"],
                options["copies"],
                options["min_copies"],
                stamp_at(time.time() + DAY, options["timezone"]),
            ),
            reverify_days=options["reverify_days"],
            awaited=options["awaited"],
            found=found,
            check_mode=check_mode,
        )
    )
    return purged if options["explain"] else {**purged, "reasons": {}, "judged": []}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "keep": {"type": "raw", "required": True},
            "rules": {"type": "dict", "default": {}},
            "names": {"type": "list", "elements": "str"},
            "remembered": {"type": "int", "default": 0},
            "predicted": {"type": "list", "elements": "str", "default": []},
            "verify": {"type": "bool", "default": False},
            "only": {"type": "list", "elements": "dict", "options": ONLY},
            "explain": {"type": "bool", "default": True},
            "trash_days": {"type": "int"},
            "confirm": {"type": "bool", "default": False},
            "copies": {"type": "dict"},
            "min_copies": {"type": "int", "default": 0},
            "check": {"type": "dict", "options": CHECK},
            "remember": {"type": "bool", "default": False},
            "pairs": {"type": "dict", "default": {}},
            "awaited": {"type": "dict", "default": {}},
            **ROT,
            **METRICS,
            "unlock": {"type": "bool", "default": False},
            **MARKS,
            **ORIGIN,
            **MOMENT,
            **WRITING,
        },
        supports_check_mode=True,
    )
    options, check_mode = module.params, module.check_mode
    run_module(
        module,
        "purge",
        EMPTY,
        lambda: run_exclusive(options, lambda hold: run(options, hold, check_mode), check_mode=check_mode),
        good={**options, **(options["check"] or {})},
    )


if __name__ == "__main__":
    main()
