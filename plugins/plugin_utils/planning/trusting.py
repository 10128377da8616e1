"""The key of a pair: what its set-up does next, by what was found so far, and what became of it. Pure.

A pair is one of setup.pairs; `done` is {step: what `found` returned of it}, without steps that were not made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

LOOK, MAKE, ADMIT, TRY, OPEN, RETRY, BIND, REQUIRE = "look", "make", "admit", "try", "open", "retry", "bind", "require"
DISMISS, FORGET = "dismiss", "forget"
STEPS = (LOOK, MAKE, ADMIT, TRY, OPEN, RETRY, BIND, REQUIRE, DISMISS, FORGET)
"""It is seen whose base it is that is dialled; the key is made, let in by the other side, and tried; where it is refused it may come from anywhere for a
moment, and is tried again; then it may come from where it was seen alone, and has to get in as it is now. The last two take it away"""
_DIALLED = (LOOK, ADMIT, OPEN, BIND, DISMISS)
"""Steps on the side that is dialled; the others are on the side that dials"""
_LISTS, _TEXTS = ("public_keys", "host_keys"), ("sources", "refused")
_ANYWHERE = "any"

Done = Mapping[str, Mapping[str, Any]]


def node_of(pair: Mapping[str, Any], step: str) -> str:
    """Return the node on which a step is made."""
    return str(pair["dialled" if step in _DIALLED else "dials"])


def found(result: Mapping[str, Any], failures: Iterable[str]) -> dict[str, Any]:
    """Return what a step found, from its module's result as report.results reads it, and why it failed."""
    return {
        **{name: list(result.get(name) or ()) for name in _LISTS},
        **{name: str(result.get(name) or "") for name in _TEXTS},
        "answer": dict(result.get("answer") or {}),
        "place": _place(result),
        "changed": result.get("changed") is True,
        "failures": list(failures),
    }


def _place(result: Mapping[str, Any]) -> str:
    """Return what is the same for two names of one base on one machine, "" if that is not known."""
    seen = next(iter(result.get("identities") or ()), None)
    return f"{seen['boot']} {seen['device']} {seen['inode']}" if seen and seen["boot"] and seen["inode"] else ""


def without_doubles(pairs: Iterable[Mapping[str, Any]], known: Mapping[str, Done]) -> dict[str, Done]:
    """Return what is known of a source's pairs, {label: done}, with a failure of those that lead to one base, whose keys would replace each other."""
    new = dict(known)
    places: dict[str, list[Mapping[str, Any]]] = {}
    for pair in pairs:
        if place := new.get(pair["label"], {}).get(LOOK, {}).get("place") if pair["kind"] == "incoming" else "":
            places.setdefault(place, []).append(pair)
    for same in places.values():
        for pair in same if len(same) > 1 else ():
            done = new[pair["label"]]
            new[pair["label"]] = {**done, LOOK: {**done[LOOK], "failures": [_is_double(pair, same)]}}
    return new


def _is_double(pair: Mapping[str, Any], same: Iterable[Mapping[str, Any]]) -> str:
    names = " and ".join(each["dialled"] for each in same)
    return (
        f"{names} lead to one machine, and {pair['called_base']} is one folder: two copies would be one, and the key of one name would replace that of "
        "the other. No key was touched. Take one of both names out of the inventory, or set its ansible_host to the machine that is meant"
    )


def is_due(pair: Mapping[str, Any], done: Done, step: str) -> bool:
    """Return whether a step is to be made now.

    Nothing is built on a step that failed; but what was let in from anywhere is bound again, whatever came of that and of what followed.
    """
    if step == MAKE:
        return _is_well(done, LOOK)
    if step == ADMIT:
        return _is_well(done, MAKE)
    if step == TRY:
        return _is_well(done, ADMIT)
    if step == OPEN:
        return bool(_is_well(done, TRY) and done[TRY]["refused"] and pair["seen"] and done[ADMIT]["sources"])
    if step == RETRY:
        return OPEN in done
    if step == BIND:
        return OPEN in done or bool(_seen(done))
    if step == REQUIRE:
        return _is_well(done, TRY) and (BIND not in done or (_is_well(done, BIND) and done[BIND]["changed"]))
    return True


def options(pair: Mapping[str, Any], done: Done, step: str, *, rotate: bool = False) -> dict[str, Any]:
    """Return the options of a due step's module, pair_access on the dialled side, else pair_key, but for those of ssh; `rotate` makes a new key."""
    if step not in _DIALLED:
        own = {"base": pair["base"], "peer": pair["peer"]}
        if step == MAKE:
            return {**own, "rotate": rotate}
        if step == FORGET:
            return {**own, "state": "absent"}
        return {**own, "host_keys": done[ADMIT]["host_keys"], "trial": "require" if step == REQUIRE else "ask"}
    names = {"base": "called_base", "kind": "kind", "peer": "named", "user": "user", "owner": "owner"}
    theirs = {name: pair[key] for name, key in names.items()}
    if step == LOOK:
        return {**theirs, "state": "asked"}
    if step == DISMISS:
        return {**theirs, "state": "absent"}
    keys = done[MAKE]["public_keys"]
    sources = {ADMIT: pair["sources"], OPEN: _ANYWHERE, BIND: pair["sources"]}[step]
    if step == BIND:
        keys = _last_trial(done).get("public_keys") or keys
        sources = (_seen(done) or done[ADMIT]["sources"]) if pair["seen"] else sources
    return {**theirs, "limit": pair["limit"], "port": pair["port"], "public_keys": keys, "sources": sources}


def report(pair: Mapping[str, Any], done: Done, *, check_mode: bool = False) -> dict[str, Any]:
    """Return the `failures` of a pair, a sentence each, and the `line` on what was made, or would be, and what its key may do."""
    failures = [f"{pair['label']}: {reason}" for step in STEPS for reason in done.get(step, {}).get("failures", ())]
    parts = [*_made(pair, done, check_mode), *_may(pair, done)]
    return {"failures": list(dict.fromkeys(failures)), "line": f"{pair['label']}: {'; '.join(parts) or 'not tried'}"}


def _made(pair: Mapping[str, Any], done: Done, check_mode: bool) -> list[str]:
    """Return phrases on the key and the line of authorized_keys, as far as they were made, or would be."""
    would = "would be" if check_mode else "was"
    admitted = [step for step in (ADMIT, OPEN, BIND) if _is_well(done, step) and done[step]["changed"]]
    key = [f"a key {would} made on {pair['dials']}"] if _is_well(done, MAKE) and done[MAKE]["changed"] else []
    return [*key, *([f"its line {would} written into authorized_keys of {pair['dialled']}"] if admitted else [])]


def _may(pair: Mapping[str, Any], done: Done) -> list[str]:
    """Return a phrase on what the key may do, as the other side answered in a trial."""
    answers = [done[step]["answer"] for step in STEPS if done.get(step, {}).get("answer")]
    last = answers[-1] if answers else {}
    if not last.get("does"):
        return []
    where = f", coming from {last['address']}" if last.get("address") else ""
    confined = "" if last.get("landlock") else ", not confined by the kernel, which has no Landlock"
    preposition = {"add": "to", "read": "in"}.get(str(last["does"]), "in")
    return [f"the key may {last['does']} {preposition} its folder on {pair['dialled']}{where}{confined}"]


def _is_well(done: Done, step: str) -> bool:
    return step in done and not done[step]["failures"]


def _last_trial(done: Done) -> Mapping[str, Any]:
    return done.get(RETRY) or done.get(TRY) or {}


def _seen(done: Done) -> str:
    """Return the address from which the key was seen to come, "" if that is none: it is what a side says, and may be a pattern."""
    address = str(_last_trial(done).get("answer", {}).get("address", ""))
    return address if re.fullmatch(r"[0-9A-Fa-f.:]+", address) else ""
