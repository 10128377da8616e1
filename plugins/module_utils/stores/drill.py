"""Drills from a store: the newest tarballs of a few items are brought to the node that fills it, unpacked and proved there, and removed; all items in turn."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from ..restore.drill import drill
from ..restore.drill_choice import PROVING, STAGE, names_of
from ..restore.drill_choice import failure_of as proof_failure
from ..restore.drill_space import MARGIN
from ..restore.order import identities_of
from ..system.errors import AltbackupError, InvalidInput
from ..system.processes import Deadline
from ..system.sandbox import Sandbox
from ..system.units import shortage
from ..system.visible import one_line
from ..tree.failures import failure
from ..tree.layout import Tree, item_key, open_tree, parse_filename, split_relpath
from ..tree.private import read_private
from ..tree.publish import make_folders, remove_folder, require_writable, write_record, write_text
from ..tree.stamps import Moment, is_stamp, moment_of
from .fetch import Shelf, bring, entries_of
from .known import folder_of

DRILLING: dict[str, Any] = {
    **PROVING,
    "items": {"type": "int", "default": 1},
    "folder": {"type": "str", "default": ""},
}
"""What a call is told of a drill from a store"""
_DRILLED = "drilled.json"
_LONGEST = 1 << 22
_BROUGHT = "drilled"
"""Where in the private folder of a tree, by store, lies what was brought to be drilled"""
EMPTY: dict[str, Any] = {"proved": [], "left": [], "notes": []}


def drill_store(options: Mapping[str, Any], check_mode: bool = False) -> dict[str, Any]:
    """Prove, with the options of the module, that what a store has of a few items restores; return `proved`, `left`, `notes` and `failures`.

    They are those of which no tarball of the store was proved for the longest time. What cannot be asked, or brought, is a failure. In check mode nothing
    is brought. Raise AltbackupError or OSError where nothing can be done.
    """
    tree = open_tree(options["base"]) if check_mode else require_writable(options["base"])
    result: dict[str, Any] = {"changed": False, **{name: [] for name in EMPTY}, "failures": []}
    if options["items"] < 0:
        raise InvalidInput(f"items {options['items']} is no number of items")
    if not options["items"]:
        return result
    shelf, moment = Shelf(options), moment_of(options)
    known = drilled_at(tree, shelf.store.name)
    newest = _newest(shelf, names_of(options), moment, result)
    order = sorted(newest, key=lambda key: (known.get(key, ""), key))
    chosen = order[: options["items"]]
    result["left"] = [newest[key][-1]["relpath"] for key in order[len(chosen) :]]
    if check_mode:
        result["proved"] = [{"relpath": newest[key][-1]["relpath"], "when": ""} for key in chosen]
        result["changed"] = bool(chosen)
        return result
    root = os.path.join(tree.private, _BROUGHT, shelf.store.name)
    if os.path.lexists(root):
        remove_folder(root)
        result["notes"].append(f"removed {root}, which a killed drill left")
    try:
        for key in chosen:
            _drill_one(shelf, tree, root, key, newest[key], options, moment, result)
            known[key] = moment.stamp
    finally:
        remove_folder(root)
        if chosen:
            _keep(tree, shelf.store.name, {key: known[key] for key in known if key in newest})
    result["changed"] = bool(result["proved"])
    return result


def _newest(
    shelf: Shelf, names: Sequence[str] | None, moment: Moment, result: dict[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Return {item: its newest verified tarball in the store, after the full one that it needs}; an item that has none is a failure."""
    verified = [
        entry
        for entry in entries_of(shelf, names, recorded=False)
        if entry["state"] == "verified"
        and moment.counts(entry["stamp"])
        and parse_filename(split_relpath(entry["relpath"])[3], split_relpath(entry["relpath"])[1])
    ]
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in verified:
        key = item_key(entry["relpath"])
        full = next(
            (
                one
                for one in verified
                if entry["base_dig"]
                and one["relpath"].startswith(f"{key}/")
                and one["dig"] == entry["base_dig"]
                and not one["base"]
            ),
            None,
        )
        found[key] = [*([full] if full else []), entry]
    for key in names or ():
        if key not in found:
            reason = f"{shelf.store.name}: there is no verified tarball of {key}: nothing of it could be proved"
            result["failures"].append(failure(STAGE, reason, key=key, absent=True))
    return found


def _drill_one(
    shelf: Shelf,
    tree: Tree,
    root: str,
    key: str,
    chain: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
    moment: Moment,
    result: dict[str, Any],
) -> None:
    """Bring the tarballs of one item, prove the last of them, and remove them; what goes wrong holds up no other."""
    relpath = str(chain[-1]["relpath"])
    try:
        _require_room(tree, sum(int(entry["size"]) for entry in chain))
        bring(shelf, tree, root, {str(entry["relpath"]): entry for entry in chain})
        there = open_tree(os.path.join(root, shelf.source))
        for path, record in shelf.records([str(entry["relpath"]) for entry in chain]).items():
            if record:
                write_record(there, key, split_relpath(path)[2], record)
        done = drill(
            there.base,
            [key],
            moment=moment,
            sandbox=Sandbox(options["user"]),
            deadline=Deadline(options["step_timeout"], "drill"),
            limit=options["limit"],
            folder=options["folder"],
            verify=options["verify"],
            identities=identities_of(options, needed=False),
        )
    except (AltbackupError, OSError) as error:
        result["failures"].append(proof_failure(relpath, error))
        return
    finally:
        remove_folder(root)
    for name in ("proved", "notes", "failures"):
        result[name] += done[name]


def _require_room(tree: Tree, size: int) -> None:
    """Raise AltbackupError where this node has no room for what is to be brought."""
    free = shutil.disk_usage(tree.private).free
    if size > free - MARGIN:
        short = shortage(size, free, MARGIN, purpose=" for it", where=f" in {tree.private}")
        raise AltbackupError(f"{short}: it was not brought from the store")


def drilled_at(tree: Tree, store: str) -> dict[str, str]:
    """Return {item: the stamp of the run that drilled it last from a store that the tree fills}; what is damaged tells nothing."""
    path = os.path.join(folder_of(tree, store), _DRILLED)
    try:
        value = json.loads(read_private(tree, path, _LONGEST).decode("utf-8"))
        return {one_line(key): stamp for key, stamp in value.items() if isinstance(stamp, str) and is_stamp(stamp)}
    except (FileNotFoundError, ValueError, AttributeError, RecursionError):
        return {}


def _keep(tree: Tree, store: str, known: Mapping[str, str]) -> None:
    path = os.path.join(folder_of(tree, store), _DRILLED)
    make_folders(os.path.dirname(path), tree.private)
    write_text(path, json.dumps(known, sort_keys=True) + "\n")
