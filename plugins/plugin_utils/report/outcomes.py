"""The state of a run, one for each host, as the results of its stages build it up: failures, nodes that are down, items that passed."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...module_utils.stages.check import item_of
from ...module_utils.stages.check import passed as passed_items
from ...module_utils.system.units import first_of, readable, told_apart
from ...module_utils.system.visible import one_line, visible
from ...module_utils.tree.failures import KEYS, failure, identity, unframed
from ...module_utils.tree.incomplete import missing_of
from ...module_utils.tree.stamps import is_day
from .call_results import CallResult, calls_of
from .causes import by_cause, following_lines, good_copies, good_copy, titled
from .identities import one_disk, shared_bases
from .results import read_value, shortened

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
}
"""The state of a run for a host before its first call"""

ALL_DAYS = "all"
_MOST_NAMED = 20
"""Most items that a line about a purge names"""


def failures_of(registered: Mapping[str, Any], stage: str, node: str) -> list[dict[str, Any]]:
    """Return the failures in what a task registered: those that modules report, unreachable nodes, and crashed calls."""
    return [entry for call in calls_of(registered, node) for entry in _failures(call, stage)]


def _failures(call: CallResult, stage: str) -> list[dict[str, Any]]:
    result = call.values
    entries: list[Mapping[str, Any]] = call.entries("failures")
    if result.get("unreachable"):
        entries = [{"reason": unreachable(result)}]
    elif result.get("failed") and not entries:
        entries = [{"reason": _reason(result), "rc": result.get("rc"), "stderr": _tail(result)}]
    found = []
    for entry in [*entries, *_unsaid(call, entries)]:
        whole = {**dict.fromkeys(KEYS, ""), "rc": None, **entry, "node": call.host}
        whole["stage"] = entry.get("stage") or stage
        whole["delegate"] = call.delegate or str(entry.get("delegate") or "")
        whole["tree"] = call.tree
        if call.delegate and entry.get("node") == call.delegate:  # the target reports it to each source
            whole.update(node=call.delegate, delegate="", tree="")
        found.append(whole)
    return found


def _unsaid(call: CallResult, told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a failure for each base that a call reports as unusable, and each peer as unreachable, without giving a reason."""
    found: list[dict[str, Any]] = []
    unusable = call.entries("unusable")
    if (call.values.get("usable") is False or unusable) and not told:
        what = ", ".join(map(shortened, unusable[:10])) or "it"
        found.append({"reason": f"says that {what} cannot be used, and not why"})
    about = {entry.get("delegate") for entry in told}
    peers = [] if call.delegate else call.entries("unreachable_peers")
    reason = "says that it cannot reach this one, and not why"
    return [*found, *({"reason": reason, "delegate": peer} for peer in peers if peer not in about)]


def unreachable(result: Mapping[str, Any]) -> str:
    """Return why a call did not reach its node; the first line is the message of ssh, if it gave one."""
    said = unframed(_text(result.get("msg"))).removeprefix("Task failed: ")
    if said.endswith(":"):
        said = f"{said[:-1]}; ssh said nothing"
    return f"unreachable: {said}"


def _text(value: object) -> str:
    return str(value).strip() if value not in (None, "") else "it said nothing"


_SAID = ("module_stderr", "stderr", "module_stdout", "stdout")
_NO_PYTHON = re.compile(
    r"[^\n]*?(\S*python[\d.]*): (?:command |inaccessible or )?(?:not found|No such file or directory|Permission denied)"
)


def _reason(result: Mapping[str, Any]) -> str:
    """Return why a call failed: its message, or how its module ended if it gave no result."""
    if "module_stdout" not in result:
        return _text(result.get("msg"))
    code = result.get("rc")
    number = abs(code) % 128 if isinstance(code, int) and (code < 0 or code > 128) else 0
    ended = f"exit code {code}"
    if number in set(signal.Signals):
        ended = f"killed by {signal.Signals(number).name}"
        ended += " (was memory short? the kernel's log of that node tells)" if number == signal.SIGKILL else ""
    last = next(reversed(_tail(result).strip().splitlines()), "")
    if code in (126, 127) and (python := _NO_PYTHON.search("\n".join(str(result.get(key) or "") for key in _SAID))):
        return (
            f"Python is missing on this node, or ansible_python_interpreter names another place ({python[1]}): install python3 there, or "
            f"set that variable to where it is: {python[0].strip()}"
        )
    return f"the module ended without a result: {ended}{f': {last.strip()}' if last else ''}"


def _tail(result: Mapping[str, Any]) -> str:
    return str(result.get("module_stderr") or result.get("stderr") or result.get("module_stdout") or "")[-4096:]


def record(
    state: Mapping[str, Any], registered: Mapping[str, Any], stage: str, node: str, check_mode: bool = False
) -> dict[str, Any]:
    """Return the state of a source's run with what a task registered added.

    With `check_mode`, purges are recorded as predictions. A node is down for later stages if it was unreachable, its module call
    failed, or its bases cannot be used; if only one of its bases cannot be used, or it is a target of its own, only that base is closed.
    """
    new = {**EMPTY, **{key: state[key] for key in EMPTY if key in state}}
    for call in calls_of(registered, node):
        new["failures"] = [*new["failures"], *_failures(call, stage)]
        for part in (
            _reached,
            _told,
            _held,
            _standing,
            _proved,
            *([] if call.delegate else [_done]),
            *([_dumped] if stage == "dump" else []),
        ):
            new.update(part(new, call))
        if call.values.get("removed"):
            new["purged"] = [*new["purged"], _purged(call, check_mode)]
    return new


def _reached(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
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


def _told(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
    """Return the updated notes, each with its title in front."""
    lacking = call.entries("lacking")
    notes = [note for note in call.entries("notes") if note not in lacking]
    return {
        "lacking": [*state["lacking"], *(f"{call.node}: {note}" for note in lacking)],
        "notes": [*state["notes"], *(f"{call.title}: {note}" for note in notes), *_left_alone(call)],
    }


def _held(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
    """Return the updated {title of a tree with marks: relpaths of its held tarballs}."""
    if call.values.get("marks_kept") is not True:
        return {}
    title = call.tree or call.place[0]
    return {"held": {**state["held"], title: sorted({*state["held"].get(title, ()), *call.entries("held")})}}


def _standing(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
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


def _proved(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
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


def _done(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
    """Return the updated bytes that the host itself sent, and whether discovery was complete."""
    wire = call.values.get("wire")
    return {
        "sent": {**state["sent"], **(call.values.get("sent") or {})},
        "wire": {**state["wire"], **(wire if isinstance(wire, Mapping) else {})},
        "discovered": state["discovered"] and call.values.get("discovered") is not False,
    }


def _dumped(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
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
        "items": dict(sorted(Counter(map(item_of, removed)).items())),
        "predicted": check_mode,
    }


def purges(states: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what purge removed from each tree, by source and tree."""
    found = [dict(entry) for state in states for entry in state.get("purged") or []]
    return sorted(found, key=lambda entry: (entry["source"], entry["tree"]))


def describe_purge(entry: Mapping[str, Any]) -> str:
    """Return a purge of one tree as a line of text."""
    numbers = [f"{count} of {key}" for key, count in entry["items"].items()]
    if len(numbers) > _MOST_NAMED:
        others = list(entry["items"].values())[_MOST_NAMED:]
        numbers[_MOST_NAMED:] = [f"{sum(others)} of {len(others)} more items"]
    count = f"{entry['tarballs']} tarball{'' if entry['tarballs'] == 1 else 's'}"
    done, freed = ("would purge", "would be freed") if entry["predicted"] else ("purged", "freed")
    trash = f" ({readable(entry['in_trash'])} more when the trash is emptied)" if entry.get("in_trash") else ""
    return one_line(
        f"{entry['tree']}: {done} {count} on {entry['node']}, {readable(entry['bytes'])} {freed}{trash}: {', '.join(numbers)}"
    )


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


def all_failures(states: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return all failures of the run, each once, with those that only several nodes together show: shared bases and different contents."""
    states = list(states)
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    contents: dict[str, str] = {}
    for state in states:
        for entry in [*state.get("failures", []), *_of_rotten(state)]:
            add_failure(found, entry)
        contents.update(state.get("contents") or {})
    return [*found.values(), *shared_bases(_identities(states)), *_disagreements(contents), *_not_undone(states)]


def _of_rotten(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the failures of rotten tarballs that this run found, each with whether a good copy replaced it."""
    return [
        {**entry, "reason": f"{entry['reason']}; {file['outcome']}"}
        for file in state.get("rotten") or ()
        for entry in file["failures"]
    ]


def add_failure(found: dict[tuple[str, ...], dict[str, Any]], entry: Mapping[str, Any]) -> None:
    """Add a failure to {identity: failure} unless it is there; what is known of good copies does not make it another one."""
    known = found.setdefault(identity(entry), dict(entry))
    if "good" in entry:
        known.setdefault("good", entry["good"])


def _not_undone(states: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a failure for each day or tarball to be put back that no node had in its trash."""
    found: dict[str, bool] = {}
    for state in states:
        for text, is_there in (state.get("undone") or {}).items():
            found[text] = found.get(text, False) or is_there
    return [
        {**dict.fromkeys((*KEYS, "tree"), ""), "rc": None, "node": "all nodes", **failure_of_undo(text)}
        for text, is_there in found.items()
        if not is_there
    ]


def failure_of_undo(text: str) -> dict[str, Any]:
    """Return the failure that nothing of a day or tarball was put back."""
    what = f"of what was removed on {text}" if is_day(text) else f"of {text}"
    reason = f"nothing {what} was put back: the trash of no node of this run holds any of it (see altbackup_trash_days)"
    return failure("undo", reason)


def _identities(states: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return {"role node": identity of its base} of all states."""
    return {owner: entry for state in states for owner, entry in (state.get("identities") or {}).items()}


def _disagreements(contents: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a failure for each item and stamp whose contents differ between nodes; `contents` is {node/source/relpath: dna}."""
    stamps: dict[tuple[str, ...], dict[str, str]] = {}
    for path, dna in sorted(contents.items()):
        node, *stamp = path.split("/")[:8]
        stamps.setdefault(tuple(stamp), {})[node] = dna
    found = []
    for (source, category, name, *stamp), nodes in stamps.items():
        if len(set(nodes.values())) > 1:
            entry = failure("check", disagreement("/".join(stamp), nodes), key=f"{category}/{name}")
            found.append({**entry, "node": source, "tree": ""})
    return found


def disagreement(stamp: str, nodes: Mapping[str, str]) -> str:
    """Return the message that nodes hold different contents under one stamp; `nodes` is {node: algorithm:digest:size}."""
    held = "; ".join(f"{node} has {dna}" for node, dna in sorted(nodes.items()))
    return (
        f"nodes hold different contents under the one stamp {stamp}: {held}. One of them was changed after the dump: find out which, by its "
        "proof, its size or another copy, and move that one out of its base"
    )


def reason_of(entry: Mapping[str, Any]) -> str:
    """Return the failure's reason without the leading words that name the item, for a place that has named it already."""
    reason, name = str(entry["reason"]), str(entry.get("name") or "")
    named = re.match(r"item \w+ ", reason) if name and entry.get("category") else None
    again = f"{named.group()}{name!r}: " if named else ""
    return reason[len(again) :] if again and reason.startswith(again) else reason


def _where(entry: Mapping[str, Any]) -> str:
    pair = f"{entry['node']} -> {entry['delegate']}" if entry.get("delegate") else str(entry["node"])
    return str(entry.get("tree") or pair)


def _what(entry: Mapping[str, Any]) -> str:
    item = "/".join(part for part in (entry.get("category"), entry.get("name")) if part)
    return f"{entry['stage']}{f' of {item}' if item else ''}"


def report(failures: Sequence[Mapping[str, Any]]) -> str:
    """Return one message that lists all failures of a run, each with its consequences.

    Equal failures of several nodes are one entry with the nodes' names, except those of an item, as each copy counts on its own.
    """
    groups: dict[tuple[str, str, str], list[tuple[Mapping[str, Any], list[Mapping[str, Any]]]]] = {}
    for entry, following in by_cause(failures):
        copy = _where(entry) if entry.get("name") else ""
        groups.setdefault((_what(entry), reason_of(entry), copy), []).append((entry, following))
    lines = [
        "\n".join(
            [
                f"{one_line(f'{titled(_where(entry) for entry, _ in group)}: {what}')}: {visible(reason)}",
                *good_copies([(_where(entry), good_copy(entry)) for entry, _ in group]),
                *map(
                    visible,
                    following_lines(
                        [entry for _, following in group for entry in following],
                        (good_copy(entry) for entry, _ in group),
                    ),
                ),
            ]
        ).replace("\n", "\n    ")
        for (what, reason, _), group in groups.items()
    ]
    return "\n".join(
        [
            f"{len(lines)} failure{'' if len(lines) == 1 else 's'}:",
            *(f"  {number}. {line}" for number, line in enumerate(lines, 1)),
        ]
    )


def summary(plan: Mapping[str, Any], states: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the lines of a run that went well: each tarball made, each target served, each check, proof and purge, and the notes."""
    lines = [f"note: {note}" for note in plan.get("notes") or []]
    lines += [f"note: {note}" for note in one_disk(_identities(states.values()))]
    lines += [f"note: {note}" for note in small_disks(states.values())]
    lacking = {note: None for _, state in sorted(states.items()) for note in state.get("lacking", [])}
    lines += [f"note: {note}" for note in lacking]  # each base once, though each source reports it
    for node, state in sorted(states.items()):
        for relpath, entry in sorted(state.get("tarballs", {}).items()):
            made = f"{entry.get('size')} bytes, {entry.get('seconds')} s" if entry.get("dig") else "would be made"
            lines.append(f"{node}: {relpath}: {made}")
        lines += [f"{node} -> {target}: {count} bytes sent" for target, count in sorted(state.get("sent", {}).items())]
        for title, found in sorted(state.get("checked", {}).items()):
            what = "1 tarball matches its" if found["match"] == 1 else f"{found['match']} tarballs match their"
            lines.append(f"{title}: {what} dna, {found['bytes']} bytes read")
        for entry in state.get("proved", []):
            proved = f"proved to restore, {entry.get('seconds')} s" if entry.get("when") else "would be drilled"
            lines.append(f"{entry['node']}: {entry['relpath']}: {proved}")
        lines += [f"note: {note}" for note in state.get("notes", [])]
    lines += [describe_purge(entry) for entry in purges(states.values())]
    return [one_line(line) for line in lines]


def small_disks(states: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a note on each disk that is too small for what its retention keeps in the steady state."""
    trees = {title: entry for state in states for title, entry in (state.get("steady") or {}).items()}
    disks: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for _, entry in sorted(trees.items()):
        disks.setdefault((entry["node"], entry["device"]), []).append(entry)
    notes = []
    for (node, _), several in disks.items():
        needed, held = (sum(entry[key] for entry in several) for key in ("needed", "held"))
        free = min(entry["free"] for entry in several)
        if needed > held + free:
            told, room = told_apart(needed, held + free)
            notes.append(
                f"{node}: {told} are needed for what is kept below {first_of([entry['base'] for entry in several], 5)}, once all of it is there, if "
                f"items stay as large and change as often, but there is room for {room}, of which {readable(held)} are taken: make more room, "
                "or keep less"
            )
    return notes


LISTED_KEYS = (
    "node",
    "source",
    "role",
    "category",
    "name",
    "stamp",
    "relpath",
    "size",
    "dig",
    "alg",
    "state",
    "suspect",
    "hold",
    "proved",
)
_UNTOLD: dict[str, Any] = {**dict.fromkeys(LISTED_KEYS, ""), "size": 0, "suspect": []}


def listed(registered: Mapping[str, Any], node: str) -> list[dict[str, Any]]:
    """Return the tarballs that tarball_list registered on a node, each with node, source and role of its tree, newest last."""
    found = []
    for call in calls_of(registered, node):
        place, source, role = call.place
        more = {"node": place, "source": source, "role": role}
        found += [
            {key: {**entry, **more, **_doubtful(entry)}.get(key, _UNTOLD[key]) for key in LISTED_KEYS}
            for entry in call.entries("tarballs")
        ]
    return found


def _doubtful(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the state that replaces `verified` for a tarball that is suspect or incomplete."""
    states = [key for key in ("suspect", "incomplete") if entry.get(key)]
    return {"state": states[0]} if states and entry.get("state") == "verified" else {}


def _shown_state(entry: Mapping[str, Any]) -> str:
    return f"{entry['state']}, hold: {entry['hold']}" if entry.get("hold") else str(entry["state"])


def place_of(entry: Mapping[str, Any]) -> str:
    """Return where a listed tarball lies: its source, or `source -> node` for a copy on a target or in a store."""
    return str(entry["source"]) if entry["role"] == "source" else f"{entry['source']} -> {entry['node']}"


def table(tarballs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return listed tarballs as aligned lines, one a tarball."""
    rows = [
        (
            one_line(place_of(entry)),
            one_line(_shown_state(entry)),
            f"{read_value('bytes_freed', entry.get('size')) or 0:,}",
            one_line(str(entry["dig"]))[:12],
            one_line(str(entry["relpath"])),
        )
        for entry in tarballs
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    return [
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:<{widths[3]}}  {row[4]}"
        for row in rows
    ]
