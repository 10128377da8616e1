"""What a run has to say: its failures as one message, or the lines of one that went well."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...module_utils.system.units import counted, first_of, readable, told_apart
from ...module_utils.system.visible import one_line, visible
from .causes import by_cause, following_lines, good_copies, good_copy, titled
from .identities import one_disk
from .run_failures import base_identities

_MOST_NAMED = 20
"""Most items that a line about a purge names"""


def purges(states: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what purge removed from each tree, by source and tree."""
    found = [dict(entry) for state in states for entry in state.get("purged") or []]
    return sorted(found, key=lambda entry: (entry["source"], entry["tree"]))


def describe_purge(entry: Mapping[str, Any]) -> str:
    """Return a purge of one tree as a line of text."""
    numbers = [f"{count} of {key}" for key, count in entry["items"].items()]
    if len(numbers) > _MOST_NAMED:
        others = list(entry["items"].values())[_MOST_NAMED:]
        numbers[_MOST_NAMED:] = [f"{sum(others)} of {counted(len(others), 'more item')}"]
    count = f"{entry['tarballs']} tarball{'' if entry['tarballs'] == 1 else 's'}"
    done, freed = ("would purge", "would be freed") if entry["predicted"] else ("purged", "freed")
    trash = f" ({readable(entry['in_trash'])} more when the trash is emptied)" if entry.get("in_trash") else ""
    return one_line(
        f"{entry['tree']}: {done} {count} on {entry['node']}, {readable(entry['bytes'])} {freed}{trash}: {', '.join(numbers)}"
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
    lines += [f"note: {note}" for note in one_disk(base_identities(states.values()))]
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
