"""Findings on an inventory: the plan's errors with what mends them, and what disappeared since the last run. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..planning.plan_items import unclear_categories
from .finding import OK, WRONG, Commands, Finding, both

_UNKNOWN = re.compile(r"^(?P<hosts>[^:]*): (?P<word>\w+) is an unknown variable, did you mean (?P<meant>\w+)\?")
_NEAR = re.compile(
    r"names (?P<quoted>'[^']+').*did you mean '(?P<meant>[^']+)'\?|(?P<other>'[^']+') is no .*did you mean '(?P<near>[^']+)'\?"
)
_REQUIRED = re.compile(r"^(?P<hosts>[^:]*): (?P<name>altbackup_\w+) is required and missing")
_GROUP = re.compile(r"^group (?P<group>sources|targets) is missing or empty")
_UNNAMED = re.compile(r"^(?P<target>[^:]*): no source names this target")
_OTHER_GROUP = re.compile(r"it is in '(?P<group>[^']+)', did you mean '(?P<meant>[^']+)'\?")
_PROPOSED = "/var/backups/altbackup"


def errors(plan: Mapping[str, Any], groups: Iterable[str], commands: Commands) -> list[Finding]:
    """Return a finding on each of the plan's errors, or that there is none; `groups` are names of all groups."""
    slips = [slip for text in plan["errors"] if (slip := _slip(str(text)))]
    found = [_error(str(text), plan, list(groups), slips, commands) for text in plan["errors"]]
    bad = [
        Finding(source, "items", WRONG, str(entry["reason"]), f"# correct altbackup_items of {source}")
        for source, entry_of in plan["sources"].items()
        for entry in entry_of["item_errors"]
    ]
    return [*found, *bad] or [Finding("localhost", "inventory", OK, f"{len(plan['nodes'])} nodes, no error")]


@dataclass(frozen=True)
class Slip:
    """A variable that was misspelt, and what was meant."""

    hosts: tuple[str, ...]
    """Whose variable it is"""
    word: str
    meant: str


def _slip(text: str) -> Slip | None:
    """Return the slip that an error tells of, None if it tells of none."""
    known = _UNKNOWN.search(text)
    return Slip(tuple(known["hosts"].split(", ")), known["word"], known["meant"]) if known else None


def _error(
    text: str, plan: Mapping[str, Any], groups: Sequence[str], slips: Sequence[Slip], commands: Commands
) -> Finding:
    node = text.partition(":")[0]
    node = node if node in plan["nodes"] else "localhost"
    return Finding(node, "inventory", WRONG, text, _mend(text, plan, groups, commands, slips))


def _mend(
    text: str, plan: Mapping[str, Any], groups: Sequence[str], commands: Commands, slips: Sequence[Slip] = ()
) -> str:
    """Return what mends an error of the plan; of `slips`, those that all its errors tell of, nothing is mended a second time."""
    if known := _UNKNOWN.search(text):
        return commands.replaced(known["word"], known["meant"])
    if known := _GROUP.search(text):
        near = [name for name in groups if name.rstrip("s") == known["group"].rstrip("s") and name != known["group"]]
        if near:
            return commands.replaced(near[0], known["group"])
    if known := _OTHER_GROUP.search(text):
        return commands.replaced(known["group"], known["meant"])
    if known := _REQUIRED.search(text):
        named = known["hosts"].split(", ")
        written = {host: slip.word for slip in slips if slip.meant == known["name"] for host in slip.hosts}
        lacking = [host for host in named if host not in written]
        if not lacking:
            return _as_written(written[named[0]])
        mends = [_required(host, known["name"], plan, commands) for host in lacking if host in plan["nodes"]]
        if mends and all(mends):
            return both(*mends)
    if known := _UNNAMED.search(text):
        sources = list(plan["sources"])
        if len(sources) == 1:
            named = [*plan["sources"][sources[0]]["targets"], known["target"]]
            return commands.setting(sources[0], "altbackup_targets", named)
    if known := _NEAR.search(text):
        word = (known["quoted"] or known["other"]).strip("'")
        return commands.replaced(word, known["meant"] or known["near"])
    return "# correct it in the inventory, as it says"


def _as_written(word: str) -> str:
    """Return what to do where a name is there, but misspelt."""
    return f"# nothing besides: it is there as {word}, and what mends that mends this"


def _required(host: str, name: str, plan: Mapping[str, Any], commands: Commands) -> str:
    """Return what sets a host's missing variable, "" if no value can be proposed."""
    targets = list(plan["targets"])
    if name == "altbackup_targets" and targets:
        return commands.setting(host, name, targets)
    if name in ("altbackup_base", "altbackup_target_base"):
        base = _PROPOSED if name == "altbackup_target_base" else f"{_PROPOSED}-own"
        return both(
            commands.setting(host, name, base),
            commands.on(host, "file", path=f"{base}/.altbackup", state="directory", mode="0700"),
        )
    return ""


def gone(
    plan: Mapping[str, Any],
    trees: Iterable[Sequence[str]],
    items: Iterable[tuple[str, str]],
    commands: Commands,
) -> list[Finding]:
    """Return findings on what disappeared since the last run, of its `trees` (node, source, role) and `items` (source, category/name)."""
    now = {(node, tree["source"], tree["role"]) for node, entry in plan["nodes"].items() for tree in entry["trees"]}
    found = []
    lost = sorted({tuple(tree) for tree in trees} - now)
    for name in dict.fromkeys(node for node, _, _ in lost if node not in plan["nodes"]):
        mend = f"# put it back; if it was given up, the next backup forgets it: {commands.own('run', 'backup')}"
        found.append(
            Finding(
                "localhost",
                "last run",
                WRONG,
                f"{name} had a part in the last run, and is not in the inventory any more",
                mend,
            )
        )
    for node, source, role in lost:
        if node in plan["nodes"] and source in plan["nodes"]:
            mend = f"# name {node} in altbackup_targets of {source} again; if that was given up: {commands.own('run', 'backup')}"
            found.append(
                Finding(
                    node,
                    "last run",
                    WRONG,
                    f"{source} had its copies on {node} in the last run, and has them no more ({role})",
                    mend,
                )
            )
    for source, key in items:
        entry = plan["sources"].get(source)
        if entry is None or entry["discover"] or key in entry["item_keys"] or _is_retired(plan, source, key):
            continue
        if key.partition("/")[0] in unclear_categories(entry["item_errors"]):
            continue  # it may be the one of which the inventory has a slip
        mend = commands.own("retire", f"{source}/{key}")
        why = f"{source}/{key} was backed up in the last run, and is not in the inventory any more; if it was given up, say so"
        found.append(Finding(source, "last run", WRONG, why, mend))
    return found


def _is_retired(plan: Mapping[str, Any], source: str, key: str) -> bool:
    entry = plan["sources"][source]
    memory = entry["memory"]
    return bool(
        memory["retired"].get(key)
        or key in memory["former"]
        or (plan["marks"].get(source) or {}).get("retired", {}).get(key)
    )
