"""The state of a run, one for each host, as the results of its stages build it up: failures, nodes that are down, items that passed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...module_utils.stages.check import passed as passed_items
from ...module_utils.tree.incomplete import missing_of
from ...module_utils.tree.layout import item_key
from .call_failures import failures_in
from .call_results import CallResult, calls_of

EMPTY: dict[str, Any] = {
    "failures": [],
    "down": [],
    "closed": [],
    "notes": [],
    "predicted": [],
    "not_now": [],
    "passed": {},
    "checked": {},
    "looked": {},
    "tarballs": {},
    "sent": {},
    "wire": {},
    "arrived": {},
    "newest": {},
    "suspects": {},
    "free": {},
    "proved": [],
    "purged": [],
    "judged": [],
    "contents": {},
    "good": {},
    "incomplete": [],
    "identities": {},
    "pairs": {},
    "pairs_now": {},
    "doubted": [],
    "refilled": [],
    "refills": {},
    "rekeys": {},
    "held": {},
    "lacking": [],
    "steady": {},
    "discovered": True,
    "items": [],
    "locked": [],
    "offer": None,
    "asked": {},
    "again": [],
    "busy": [],
    "delivered": {},
    "shelves": {},
    "undone": {},
    "unmarked": False,
    "listed": [],
    "found": {},
    "found_in": {},
    "readings": [],
    "orders": {},
    "chosen": [],
    "errands": {},
    "rotten": [],
    "holders": {},
    "carried": [],
    "examined": {},
    "interpreters": {},
    "pairings": {},
}
"""The state of a run for a host before its first call"""

ALL_DAYS = "all"


def record(
    state: Mapping[str, Any], registered: Mapping[str, Any], stage: str, node: str, check_mode: bool = False
) -> dict[str, Any]:
    """Return the state of a source's run with what a task registered added.

    With `check_mode`, purges are recorded as predictions. A node is down for later stages if it was unreachable, its module call
    failed, or its bases cannot be used; if only one of its bases cannot be used, or it is a target of its own, only that base is closed.
    """
    new = {**EMPTY, **{key: state[key] for key in EMPTY if key in state}}
    for call in calls_of(registered, node):
        new["failures"] = [*new["failures"], *failures_in(call, stage)]
        for part in (
            _availability,
            _notes,
            _holds,
            *([] if check_mode else [_gone]),
            _copies_and_room,
            _proofs,
            *([] if call.delegate else [_sent_and_discovered]),
            *([_dumps] if stage == "dump" else []),
        ):
            new.update(part(new, call))
        if call.values.get("removed"):
            new["purged"] = [*new["purged"], _purged(call, check_mode)]
    return new


def _availability(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
    """Return the updated nodes that are down, bases that are closed, identities of bases, and steady sizes."""
    result, place = call.values, call.node
    is_own_target = not call.delegate and call.is_of_loop
    unusable = result.get("usable") is False
    is_down = result.get("unreachable") or result.get("failed") or (unusable and not is_own_target)
    down = [*([place] if is_down else []), *([] if call.delegate else call.entries("unreachable_peers"))]
    bases = [*([call.about["base"]] if unusable and call.about.get("base") else []), *call.entries("unusable")]
    identities = {f"{entry['role']} {place}": entry for entry in call.entries("identities")}
    return {
        "down": list(dict.fromkeys([*state["down"], *down])),
        "closed": [*state["closed"], *(f"{place}:{base}" for base in bases)],
        "identities": {**state["identities"], **identities},
        "steady": {
            **state["steady"],
            **{f"{place}:{entry['base']}": {**entry, "node": place} for entry in call.entries("steady")},
        },
    }


def _gone(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
    """Return the updated good tarballs of trees, without those that the call removed."""
    return _judged(state, call, dict.fromkeys(call.entries("removed"), False))


def _judged(state: Mapping[str, Any], call: CallResult, found: Mapping[str, bool]) -> dict[str, Any]:
    """Return the updated {node/source/role: {relpath: whether it was read and is good, or is damaged or gone}}."""
    if not found:
        return {}
    tree = "/".join((call.node, call.source, call.place[2] or "source"))
    return {"good": {**state["good"], tree: {**state["good"].get(tree, {}), **found}}}


def _notes(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
    """Return the updated notes, each with its title in front."""
    lacking = call.entries("lacking")
    notes = [note for note in call.entries("notes") if note not in lacking]
    return {
        "lacking": [*state["lacking"], *(f"{call.node}: {note}" for note in lacking)],
        "notes": [*state["notes"], *(f"{call.title}: {note}" for note in notes), *_left_alone(call)],
    }


def _holds(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
    """Return the updated {title of a tree with marks: relpaths of its held tarballs}."""
    if call.values.get("marks_kept") is not True:
        return {}
    title = call.tree or call.place[0]
    return {"held": {**state["held"], title: sorted({*state["held"].get(title, ()), *call.entries("held")})}}


def _copies_and_room(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
    """Return the updated newest good copies and suspects of trees, and free bytes of bases."""
    values, place = call.values, "/".join(call.place)
    told: dict[str, Any] = {}
    if "newest" in values:
        told["newest"] = {entry["relpath"]: entry.get("size") for entry in call.entries("newest")}
        told["suspects"] = values.get("suspects") or {}
    free = values.get("free")
    if not isinstance(free, Mapping):
        free = {call.about["base"]: free} if free and call.about.get("base") else {}
    return {
        **{key: {**state[key], place: found} for key, found in told.items()},
        "free": {**state["free"], **{f"{call.node}:{base}": number for base, number in free.items()}},
    }


def _proofs(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
    """Return the updated tarballs that were proved to restore, and the contents that this confirms."""
    proved, place = call.entries("proved"), call.node
    contents = {
        f"{place}/{call.source}/{entry['relpath']}": f"{entry['alg']}:{entry['dig']}:{entry['size']}"
        for entry in proved
        if all(entry.get(key) for key in ("dig", "alg", "size"))
    }
    partial = [entry["relpath"] for entry in proved if entry.get("incomplete")]
    return {
        "contents": {**state["contents"], **contents},
        "proved": [*state["proved"], *({**entry, "node": place} for entry in proved)],
        "looked": _looked(state["looked"], call.tree or place, [entry["relpath"] for entry in proved]),
        "incomplete": _partial_ones(state, call.source, partial),
    }


def _partial_ones(state: Mapping[str, Any], source: str, relpaths: Iterable[str]) -> list[str]:
    """Return the known incomplete tarballs, as `source/relpath`, with more of a source added."""
    return list(dict.fromkeys([*state["incomplete"], *(f"{source}/{path}" for path in relpaths)]))


def _sent_and_discovered(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
    """Return the updated bytes that the host itself sent, and whether discovery was complete."""
    wire = call.values.get("wire")
    return {
        "sent": {**state["sent"], **(call.values.get("sent") or {})},
        "wire": {**state["wire"], **(wire if isinstance(wire, Mapping) else {})},
        "discovered": state["discovered"] and call.values.get("discovered") is not False,
    }


def _dumps(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
    """Return the tarballs that were made or, in check mode, would be made."""
    if "tarballs" not in call.values:
        return {}
    made = call.entries("tarballs")
    partial = [entry["relpath"] for entry in made if missing_of(entry.get("record") or {})]
    return {
        "tarballs": {entry["relpath"]: dict(entry) for entry in made},
        "predicted": [entry["relpath"] for entry in made if not entry.get("dig")],
        "not_now": call.entries("not_now"),
        "incomplete": _partial_ones(state, call.host, partial),
    }


def _purged(call: CallResult, check_mode: bool) -> dict[str, Any]:
    """Return what purge removed from a tree, or would remove: its node, the number of tarballs, the items, and the bytes freed."""
    removed = call.entries("removed")
    return {
        "node": call.place[0],
        "source": call.source,
        "tree": call.tree or call.place[0],
        "tarballs": len(removed),
        "bytes": int(call.values.get("bytes_freed") or 0),
        "in_trash": int(call.values.get("bytes_in_trash") or 0),
        "items": dict(sorted(Counter(map(item_key, removed)).items())),
        "predicted": check_mode,
    }


def _left_alone(call: CallResult) -> list[str]:
    """Return a note for each tarball that purge did not count because it is not verified, except those that are failures already."""
    failed = {entry.get("relpath") for entry in call.entries("failures")}
    return [
        f"{call.title}: {path} is not verified, so it does not count and was left alone: see why with check.yml and "
        "altbackup_check_scope: all"
        for path in call.entries("unverified")
        if path not in failed
    ]


def record_check(
    state: Mapping[str, Any], found: Mapping[str, Any], node: str, check_mode: bool = False
) -> dict[str, Any]:
    """Return the state with a check's results added: what `record` adds, the items that passed, and the contents that were read."""
    new = record(state, found, "check", node, check_mode)
    for call in calls_of(found, node):
        result, (place, _, _) = call.values, call.place
        title = call.tree or place
        dnas = (result.get("dnas") or {}).items()
        damaged = [path for kind in ("mismatch", "missing", "malformed") for path in call.entries(kind)]
        counted = set(result.get("dnas") or ()).intersection(call.entries("match"))
        new |= _judged(new, call, {**dict.fromkeys(counted, True), **dict.fromkeys(damaged, False)})
        new |= {} if check_mode else _gone(new, call)
        day = ALL_DAYS if call.about.get("check_scope") == ALL_DAYS else result.get("day") or ""
        new |= {
            "passed": {**new["passed"], "/".join(call.place): passed_items(result, new["predicted"])},
            "contents": {**new["contents"], **{f"{place}/{call.source}/{path}": dna for path, dna in dnas}},
            "incomplete": _partial_ones(new, call.source, call.entries("incomplete")),
            "checked": {
                **new["checked"],
                title: {"match": len(call.entries("match")), "bytes": result.get("bytes_read", 0)},
            },
            "looked": _looked(
                new["looked"], title, [*([day] if day else []), *call.entries("reread"), *call.entries("healed")]
            ),
        }
    return new


def _looked(known: Mapping[str, list[str]], title: str, what: Sequence[str]) -> dict[str, list[str]]:
    """Return {title of a tree: days or tarballs of it that the run has read} with more of one tree added."""
    return {**known, **({title: [*known.get(title, ()), *what]} if what else {})}


def all_looked(states: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return {title of a tree: days and tarballs of it that the run has read} of all states."""
    found: dict[str, list[str]] = {}
    for state in states:
        for title, what in (state.get("looked") or {}).items():
            found = _looked(found, title, what)
    return found


def has_looked_at(looked: Mapping[str, Sequence[str]], title: str, relpath: str) -> bool:
    """Return whether the run has read a tarball of a tree, itself or by its day; ALL_DAYS stands for the whole tree."""
    return bool({ALL_DAYS, "/".join(relpath.split("/")[2:5]), relpath} & set(looked.get(title, ())))
