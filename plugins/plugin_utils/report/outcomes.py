"""What the stages of a run found, gathered by the controller: failures, nodes that are down, items that passed."""

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
"""What a run knows of a host, before it knows anything"""

ALL_DAYS = "all"
_MOST_NAMED = 20
"""Most items that a line on a purge names"""


def failures_of(registered: Mapping[str, Any], stage: str, node: str) -> list[dict[str, Any]]:
    """Given what a task registered, return its failures: those of modules, of unreachable nodes and of crashed calls."""
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
        if call.delegate and entry.get("node") == call.delegate:  # it says so of itself, to each source that asks it
            whole.update(node=call.delegate, delegate="", tree="")
        found.append(whole)
    return found


def _unsaid(call: CallResult, told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a failure for each thing that a call says cannot be used, or reached from its node, without a failure that says why."""
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
    """Given the result of a call that did not get to its node, return why: the first line says what ssh said, if anything."""
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
    """Return why a call failed: what it says, or how its module ended if that gave no result."""
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
    """Given what a run on a source knows so far and what a task registered, return what it knows now.

    With `check_mode` what purge removed is told as what it would. A node that was unreachable, whose module call crashed, or whose bases
    cannot be used is down for later stages; of a node of which only one base cannot be used, or that is a target of its own, that base
    is closed.
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
    """Return which nodes are down and which bases closed, now, and what tells bases from others."""
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
    """Return the notes, now, each with whose it is."""
    lacking = call.entries("lacking")
    notes = [note for note in call.entries("notes") if note not in lacking]
    return {
        "lacking": [*state["lacking"], *(f"{call.node}: {note}" for note in lacking)],
        "notes": [*state["notes"], *(f"{call.title}: {note}" for note in notes), *_left_alone(call)],
    }


def _held(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
    """Return which trees have the marks that they were handed, now, each with those of its tarballs that are held."""
    if call.values.get("marks_kept") is not True:
        return {}
    title = call.tree or call.place[0]
    return {"held": {**state["held"], title: sorted({*state["held"].get(title, ()), *call.entries("held")})}}


def _standing(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
    """Return how copies and disks stand, now: the newest good copies and the suspects of trees, and the free bytes of bases."""
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
    """Return what was proved to restore, now, and what contents that shows."""
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
    """Return the tarballs that are known not to be whole, with more of a source."""
    return list(dict.fromkeys([*state["incomplete"], *(f"{source}/{path}" for path in relpaths)]))


def _done(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
    """Return what the host itself has sent, now, and whether all of it was discovered."""
    wire = call.values.get("wire")
    return {
        "sent": {**state["sent"], **(call.values.get("sent") or {})},
        "wire": {**state["wire"], **(wire if isinstance(wire, Mapping) else {})},
        "discovered": state["discovered"] and call.values.get("discovered") is not False,
    }


def _dumped(state: Mapping[str, Any], call: CallResult) -> dict[str, Any]:
    """Return what was made, or would be in check mode."""
    if "tarballs" not in call.values:
        return {}
    made = call.entries("tarballs")
    partial = [entry["relpath"] for entry in made if missing_of(entry.get("record") or {})]
    return {
        "tarballs": {entry["relpath"]: dict(entry) for entry in made},
        "predicted": [entry["relpath"] for entry in made if not entry.get("dig")],
        "incomplete": _partial_ones(state, call.host, partial),
    }


def _purged(call: CallResult, check_mode: bool) -> dict[str, Any]:
    """Return what purge removed from a tree, or would: on which node, how many tarballs of which items, and the bytes that this freed."""
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
    """Given what the run knows of each source or node, return what purge removed from each tree, by node and source."""
    found = [dict(entry) for state in states for entry in state.get("purged") or []]
    return sorted(found, key=lambda entry: (entry["source"], entry["tree"]))


def describe_purge(entry: Mapping[str, Any]) -> str:
    """Given what purge removed from a tree, return it as a person reads it."""
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
    """Return a note for each tarball that purge did not count, as nothing vouches for it, unless it is a failure already."""
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
    """Given what a run knows and what a call that checks registered, note what `record` does, and which items passed."""
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
    """Given {title of a tree: days or tarballs of it that the run has read}, return that with more of one tree."""
    return {**known, **({title: [*known.get(title, ()), *what]} if what else {})}


def all_looked(states: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Given what the run knows of each source or node, return {title of a tree: days and tarballs of it that were read}."""
    found: dict[str, list[str]] = {}
    for state in states:
        for title, what in (state.get("looked") or {}).items():
            found = _looked(found, title, what)
    return found


def has_looked_at(looked: Mapping[str, Sequence[str]], title: str, relpath: str) -> bool:
    """Given what a run has read of each tree, return whether a tarball of one was among it; ALL_DAYS are all of a tree."""
    return bool({ALL_DAYS, "/".join(relpath.split("/")[2:5]), relpath} & set(looked.get(title, ())))


def all_failures(states: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Given what the run knows of each source or node, return all failures, each once, and what its nodes do not agree on."""
    states = list(states)
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    contents: dict[str, str] = {}
    for state in states:
        for entry in [*state.get("failures", []), *_of_rotten(state)]:
            add_failure(found, entry)
        contents.update(state.get("contents") or {})
    return [*found.values(), *shared_bases(_identities(states)), *_disagreements(contents), *_not_undone(states)]


def _of_rotten(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the failures of what was found to be rotten in this run, each with whether a good copy came."""
    return [
        {**entry, "reason": f"{entry['reason']}; {file['outcome']}"}
        for file in state.get("rotten") or ()
        for entry in file["failures"]
    ]


def add_failure(found: dict[tuple[str, ...], dict[str, Any]], entry: Mapping[str, Any]) -> None:
    """Given {identity: failure} and one more, add it unless it is there; what is known of good copies tells no two of them apart."""
    known = found.setdefault(identity(entry), dict(entry))
    if "good" in entry:
        known.setdefault("good", entry["good"])


def _not_undone(states: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a failure for each thing that was to be put back, of which no trash of any node had anything."""
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
    """Given what was to be put back, a day or a tarball, return the failure that none of it was."""
    what = f"of what was removed on {text}" if is_day(text) else f"of {text}"
    reason = f"nothing {what} was put back: the trash of no node of this run holds any of it (see altbackup_trash_days)"
    return failure("undo", reason)


def _identities(states: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return {`role node`: what tells its base from others}."""
    return {owner: entry for state in states for owner, entry in (state.get("identities") or {}).items()}


def _disagreements(contents: Mapping[str, str]) -> list[dict[str, Any]]:
    """Given {node/source/relpath: dna}, return a failure for each item and stamp of which nodes hold different contents."""
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
    """Given a stamp and {node: algorithm:digest:size} of what each holds under it, return that they differ, and what to do."""
    held = "; ".join(f"{node} has {dna}" for node, dna in sorted(nodes.items()))
    return (
        f"nodes hold different contents under the one stamp {stamp}: {held}. One of them was changed after the dump: find out which, by its "
        "proof, its size or another copy, and move that one out of its base"
    )


def reason_of(entry: Mapping[str, Any]) -> str:
    """Given a failure that is told with its item, return why, without the words that name the item again."""
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
    """Given all failures of a run, return one message that lists them, never the first alone, each with what follows from it.

    What is the same of several nodes is one, with their names, unless it is of an item: each copy of that is a thing of its own.
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
    """Given the plan and what the run knows of each node, return a line for each tarball made and each target served, and notes."""
    lines = [f"note: {note}" for note in plan.get("notes") or []]
    lines += [f"note: {note}" for note in one_disk(_identities(states.values()))]
    lines += [f"note: {note}" for note in small_disks(states.values())]
    lacking = {note: None for _, state in sorted(states.items()) for note in state.get("lacking", [])}
    lines += [f"note: {note}" for note in lacking]  # each base once, though each source that it has looks at it
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
    """Given what the run knows of each source or node, return a note on each disk that is too small for what its rules keep once filled."""
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
    """Given what tarball_list registered on a node, return its tarballs, each with node, source and role of its tree, newest last."""
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
    """Return the state of a verified tarball that is suspect, or not whole."""
    states = [key for key in ("suspect", "incomplete") if entry.get(key)]
    return {"state": states[0]} if states and entry.get("state") == "verified" else {}


def _shown_state(entry: Mapping[str, Any]) -> str:
    return f"{entry['state']}, hold: {entry['hold']}" if entry.get("hold") else str(entry["state"])


def place_of(entry: Mapping[str, Any]) -> str:
    """Given a listed tarball, return where it lies: its source, or `source -> target` for a copy."""
    return f"{entry['source']} -> {entry['node']}" if entry["role"] == "target" else str(entry["source"])


def table(tarballs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Given listed tarballs, return aligned lines for a person, one a tarball."""
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
