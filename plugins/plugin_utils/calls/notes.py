"""Adds the outcome of a call to the state of the run for its host: failures, and what later calls depend on. Pure, except for the clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...module_utils.system.units import counted
from ..planning import absence, copies, drill, heal, rekeying, restore_progress, transfers
from ..planning.reaching import controller_peer
from ..report import call_failures, outcomes, retention_table, tarball_table
from . import trust_calls
from .loops import errand_of, errands, heal_errand_of, order_of, rekey_of
from .run import Run

State = dict[str, Any]
_FORGOTTEN = (
    "items",
    "locked",
    "offer",
    "asked",
    "again",
    "busy",
    "pairs",
    "pairs_now",
    "doubted",
    "refilled",
    "refills",
    "rekeys",
    "delivered",
    "shelves",
    "down",
    "closed",
)
"""Keys that preflight resets, for a run of several plays"""


def noted(
    module: str, stage: str, run: Run, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    """Return the state of the host after a call; `about` is its loop entry, `given` its options."""
    note = _NOTES.get(module, _plain)
    return note(run, stage, about, given, result)


def _plain(
    run: Run, stage: str, about: Mapping[str, Any], _given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    return outcomes.record(run.state, _registered(about, result), stage, run.host, run.check_mode)


def _registered(about: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as a task registers it, in a loop if there is an entry."""
    return {"results": [{**result, "ansible_loop_var": "about", "about": about}]} if about else dict(result)


def _preflight(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    place = about["node"] if about else run.host
    taken = [f"{place}:{base}" for base in given.get("locks") or ()]
    if about:
        new = _plain(run, stage, about, given, result)
        base = str(run.plan["targets"].get(place, {}).get("target_base"))
        away = {place: ""} if result.get("unreachable") else {place: (result.get("absent") or {}).get(base)}
        return _without_excused(run, {**new, "locked": [*new["locked"], *taken]}, away)
    fresh = {**run.state, **{name: outcomes.EMPTY[name] for name in _FORGOTTEN}}
    new = outcomes.record(fresh, _registered(about, result), stage, run.host)
    new = {**new, "locked": taken, "items": result.get("items") or [], "pairs": result.get("pairs") or {}}
    return _without_excused(run, new, dict.fromkeys(result.get("unreachable_peers") or (), ""))


def _without_excused(run: Run, new: State, away: Mapping[str, str | None]) -> State:
    """Return the state with notes in place of the failures of targets that may be away.

    `away` is {target: the reason of its failure; "" for any, None for none}.
    """
    before = len(run.state["failures"])
    told = {node: reason for node, reason in away.items() if reason is not None}
    failures, notes = absence.without_absent(run.plan, new["pairs"], new["failures"][before:], told)
    return {
        **new,
        "failures": [*new["failures"][:before], *failures],
        "notes": [*new["notes"], *(f"{run.host}: {note}" for note in notes)],
    }


def _dump(run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]) -> State:
    new = _plain(run, stage, about, given, result)
    return outcomes.record(new, {"failures": run.source["item_errors"]}, stage, run.host)


def _check(
    run: Run, _stage: str, about: Mapping[str, Any], _given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    return _offered(
        _rotten(outcomes.record_check(run.state, _registered(about, result), run.host), run, about, result), result
    )


def _rotten(new: State, run: Run, about: Mapping[str, Any], result: Mapping[str, Any]) -> State:
    """Return the state with what the call found in, or moved to, quarantine; its failures wait until it is known whether it was healed."""
    if not result.get("quarantined"):
        return new
    count = len(run.state["failures"])
    before, fresh = new["failures"][:count], new["failures"][count:]
    files = heal.files_of(about, result["quarantined"], fresh)
    return {**new, "failures": [*before, *heal.unattached(fresh, files)], "rotten": [*new["rotten"], *files]}


def _offered(state: State, result: Mapping[str, Any]) -> State:
    """Return the state with the tarballs that the source can send, if the call has listed them."""
    is_told = result.get("listed") is True
    return {**state, "offer": transfers.sendable(result.get("tarballs") or [], state)} if is_told else state


def _list(run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]) -> State:
    if about.get("stage") == "refill":
        return _refilled(run, stage, {**about, "node": about["from"]}, "listed", result)
    if about.get("stage") == "rekey":
        return _rekeyed(run, stage, about, "listed", result)
    new = _plain(run, stage, about, given, result)
    if not about:
        return _offered(new, result)
    if about.get("shelf"):
        title, stamp = "/".join((about["node"], about["source"], about["role"])), run.plan["stamp"]
        return {**new, "shelves": {**new["shelves"], title: copies.newest_listed(result.get("tarballs") or [], stamp)}}
    return {**new, "listed": [*new["listed"], *tarball_table.listed(_registered(about, result), run.host)]}


def _purge(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    if given.get("check"):
        new = outcomes.record_check(run.state, _registered(about, result), run.host, run.check_mode)
        is_known = result.get("pair") and about["node"] not in new["doubted"]
        if is_known and about["node"] in new["refilled"]:
            note = transfers.refilled_note(
                run.host,
                about["node"],
                transfers.pair_of(run.plan, new["pairs"], about["node"]),
                result["pair"],
            )
            new = {**new, "notes": [*new["notes"], note]}
        new = {**new, "pairs_now": {**new["pairs_now"], **({about["node"]: result["pair"]} if is_known else {})}}
        return _rotten(new, run, about, result)
    new = _plain(run, stage, about, given, result)
    found = retention_table.judged(_registered(about, result), run.host) if given.get("explain") else []
    return {**new, "judged": [*new["judged"], *found]} if found else new


def _mark(run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]) -> State:
    """Turn an unreachable node into a note, not a failure: it gets the marks in a later run."""
    if not result.get("unreachable"):
        return _plain(run, stage, about, given, result)
    why = " ".join(call_failures.unreachable(result).split())
    new = _plain(run, stage, about, given, {"notes": [why]})
    return {**new, "unmarked": True}


def _prepare(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    if about.get("stage") == "refill":
        return _refilled(run, stage, about, "asked", result)
    if about.get("stage") == "rekey":
        return _rekeyed(run, stage, about, "wanted", result)
    new = _plain(run, stage, about, given, result)
    node = about["node"]
    is_busy = result.get("busy") is True
    asked = {} if is_busy else dict.fromkeys(result.get("send") or [], "")
    others = [name for name in new["busy"] if name != node]
    again = [name for name in new["again"] if name != node]
    is_last = float(given.get("slot_wait") or 0) > 0  # a number is text before ansible-core 2.19
    told = {
        name: [*(other for other in new[name] if other != node), *([node] if result.get(name) is True else [])]
        for name in ("doubted", "refilled")
    }
    there = [*(result.get("have") or []), *(result.get("linked") or []), *(asked if run.check_mode else [])]
    new = _verified_on(run, new, node, there)
    return _unlisted(
        {
            **new,
            **told,
            "asked": {**new["asked"], node: asked},
            "again": [*again, node] if is_last else again,  # after a round of waiting there is no other
            "busy": [*others, node] if is_busy else others,
        },
        run,
        stage,
        about,
        result,
    )


def _accept(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    if about.get("stage") == "refill":
        return _refilled(run, stage, about, "accepted", result)
    if about.get("stage") == "rekey":
        return _rekeyed(run, stage, about, "accepted", result)
    new, node = _plain(run, stage, about, given, result), about["node"]
    told = (result.get("wrong") or []) if given["retry"] else []
    wrong = {entry["relpath"]: entry.get("wrong") or "" for entry in told}
    again = [name for name in new["again"] if name != node]
    accepted = result.get("tarballs") or []
    new = _verified_on(run, new, node, [entry["relpath"] for entry in accepted])
    came = {entry["relpath"]: entry.get("size") or 0 for entry in accepted}
    fetched = {node: result["wire"]} if isinstance(result.get("wire"), (int, float)) and result["wire"] else {}
    new = {
        **new,
        "arrived": {**new["arrived"], node: {**new["arrived"].get(node, {}), **came}},
        "wire": {**new["wire"], **fetched},
    }
    state = {**new, "asked": {**new["asked"], node: wrong}, "again": [*again, node] if wrong else again}
    return _unlisted(state, run, stage, about, result)


def _verified_on(run: Run, state: State, node: str, relpaths: Iterable[str]) -> State:
    """Return the state with those of the source's newest tarballs that a target reports to hold."""
    there = set(relpaths).intersection(copies.newest_offered(state, run.plan["stamp"]).values())
    return {**state, "delivered": {**state["delivered"], node: sorted(there.union(state["delivered"].get(node, ())))}}


def _undo(run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]) -> State:
    new = _plain(run, stage, about, given, result)
    days, stamps = given.get("days") or [], [f"{about['source']}/{stamp}" for stamp in given.get("stamps") or []]
    there = [f"{about['source']}/{os.path.dirname(path)}" for path in result.get("put_back") or []]
    found = [
        *(day for day in days if day in (result.get("days") or [])),
        *(stamp for stamp in stamps if stamp in there),
    ]
    return {
        **new,
        "undone": {text: text in found or new["undone"].get(text, False) for text in [*new["undone"], *days, *stamps]},
    }


def _unlisted(state: State, run: Run, stage: str, about: Mapping[str, Any], result: Mapping[str, Any]) -> State:
    failures = transfers.unlisted_requests(result, state)
    return outcomes.record(state, _registered(about, {"failures": failures}), stage, run.host) if failures else state


def _refilled(run: Run, stage: str, about: Mapping[str, Any], step: str, result: Mapping[str, Any]) -> State:
    """Record a call by which a target gets what another one holds."""
    told = [{**entry, "stage": stage} for entry in result.get("failures") or ()]
    new = _plain(run, stage, about, {}, {**result, **({"failures": told} if told else {})})
    progress = dict(new["refills"].get(about["label"], {}))
    if step == "listed":
        progress["offer"] = transfers.sendable(result.get("tarballs") or [], outcomes.EMPTY)
    elif step == "asked":
        progress["asked"] = [] if result.get("busy") is True else list(result.get("send") or [])
    elif step == "carried":
        progress["arrived"] = bool(result.get("changed"))
    return {**new, "refills": {**new["refills"], about["label"]: progress}}


def _rekey(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    """Record what the source has encrypted anew, for itself or for a target."""
    if given.get("step") == "target":
        return _rekeyed(run, stage, about, "made", result)
    new = _plain(run, stage, about, given, result)
    if given.get("step") == "tidy":
        return new
    ready = not result.get("unreachable") and not result.get("failed") and isinstance(result.get("current"), list)
    return {**new, "rekeys": {"ready": ready, "current": result.get("current") or [], "targets": {}}}


def _rekeyed(run: Run, stage: str, about: Mapping[str, Any], step: str, result: Mapping[str, Any]) -> State:
    """Record a call by which a target's tarballs are encrypted anew."""
    new = _plain(run, stage, about, {}, {**result, "failures": _staged(result, stage)})
    targets = dict(new["rekeys"].get("targets", {}))
    progress = dict(targets.get(about["node"], {}))
    if step == "listed":
        progress["holds"] = rekeying.held(result.get("tarballs") or [])
    elif step == "made":
        progress["made"] = result.get("rekeyed") or []
    elif step == "wanted":
        progress["wanted"] = [] if result.get("busy") is True else list(result.get("send") or [])
    elif step == "carried" and "wanted" in progress:
        progress["back"] = bool(result.get("changed"))
    told = {**new, "rekeys": {**new["rekeys"], "targets": {**targets, about["node"]: progress}}}
    number = len(result.get("tarballs") or ()) if step == "accepted" else 0
    if step == "wanted" and result.get("busy") is True:
        reason = (
            f"{about['node']}: other transfers into it went on, so nothing was encrypted anew there: do it once more"
        )
        return outcomes.record(told, _registered(about, {"failures": [{"reason": reason}]}), stage, run.host)
    work = rekey_of(run.knowing(told), about)
    asked = {"wanted": work["made"], "accepted": work["wanted"]}.get(step, [])
    if silent := rekeying.unanswered(asked, result):
        reason = (
            f"{counted(len(silent), 'tarball')} of {about['node']} not encrypted anew, such as {silent[0]}: it did not take what the source made, and "
            "does not say why"
        )
        told = outcomes.record(told, _registered(about, {"failures": [{"reason": reason}]}), stage, run.host)
    if step == "listed" and run.check_mode:
        number = len(work["due"])
    if not number:
        return told
    word = "would be encrypted anew" if run.check_mode else "encrypted anew"
    note = f"{run.host} -> {about['node']}: {number} of its tarballs there {word}"
    return {**told, "notes": [*told["notes"], note]}


def _staged(result: Mapping[str, Any], stage: str) -> list[dict[str, Any]]:
    return [{**entry, "stage": stage} for entry in result.get("failures") or ()]


def _find(
    run: Run, _stage: str, about: Mapping[str, Any], _given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    """Record what a node holds; a node that lacks something is no failure, as another may have it."""
    if about and about.get("stage") != "contents":
        return _held(run, about, result)
    return {**run.state, "found": dict(result)}


def _held(run: Run, about: Mapping[str, Any], result: Mapping[str, Any]) -> State:
    """Record a tree's good copies of what rotted in others, or its problem: why its node does not answer, or cannot be reached."""
    trees = result.get("trees") or [{"problem": _unanswered(result), "tarballs": []}]
    problem = (
        trees[0].get("problem") or controller_peer(run.hostvars, run.plan, str(about["node"])).get("problem") or ""
    )
    good = heal.good_copies(run.state["rotten"], trees[0].get("tarballs") or [])
    known = {"base": about["base"], "copies": good, "problem": problem}
    held = {**run.state["holders"], heal.holder_of(about): known}
    return {**run.state, "holders": held, "rotten": heal.with_outcomes(run.state["rotten"], held)}


def _unanswered(result: Mapping[str, Any]) -> str:
    if result.get("unreachable"):
        return call_failures.unreachable(result)
    return str(result.get("msg") or "it did not answer")


def _contents(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    new = _plain(run, stage, about, given, result)
    found = {"contents": result.get("contents") or [], "totals": result.get("totals") or {}}
    return {**new, "readings": [*new["readings"], {"source": about["source"], "node": about["node"], **found}]}


def _heal(
    run: Run, _stage: str, about: Mapping[str, Any], _given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    """Record what was healed; what was not is tried from the next holder."""
    return _tried(run, about, result, result.get("healed") or [])


def _tried(run: Run, about: Mapping[str, Any], result: Mapping[str, Any], healed: list[str]) -> State:
    why = [str(entry["reason"]) for entry in result.get("failures") or ()]
    why += [_unanswered(result)] if (result.get("unreachable") or result.get("failed")) and not why else []
    errand = heal_errand_of(run, about)
    files = heal.with_outcomes(heal.after_errand(run.state["rotten"], errand, healed, why), run.state["holders"])
    old = {name["relpath"] for file in run.state["rotten"] if not file["failures"] for name in file["names"]}
    title = f"{about['source']} -> {about['node']}" if about["role"] == "target" else str(about["node"])
    holder = errand["holder"].partition(" ")[2]
    notes = [
        f"{title}: {relpath}, which had rotted before this run, is healed from {holder}"
        for relpath in healed
        if relpath in old
    ]
    return {**run.state, "rotten": files, "notes": [*run.state["notes"], *notes]}


def _carry_to_heal(run: Run, about: Mapping[str, Any], result: Mapping[str, Any]) -> State:
    if result.get("changed") is True:
        return {**run.state, "carried": [*run.state["carried"], about["label"]]}
    return _tried(run, about, result, [])


def _store_fetch(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    """What a store holds, or whether what is needed of it was brought."""
    step = str(given["step"])
    if step == "find":
        known = run.state["found_in"].get(about["node"], {})
        trees = [*(known.get("trees") or ()), *(result.get("trees") or ())]  # a store may have several sources
        return {**run.state, "found_in": {**run.state["found_in"], about["node"]: {**result, "trees": trees}}}
    if step == "fetch" and about["stage"] == "contents":
        new = _plain(run, stage, about, given, result)
        return {**new, "carried": [*new["carried"], about["label"]]} if result.get("changed") is True else new
    if step == "fetch":
        return _followed(run, stage, about, "fetch", result)
    new = _plain(run, stage, about, given, result)
    if step == "list":
        return {**new, "listed": [*new["listed"], *tarball_table.listed(_registered(about, result), run.host)]}
    return new


def _restore(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    return _followed(run, stage, about, str(given["step"]), result)


def _carry(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    if about["stage"] == "heal":
        return _carry_to_heal(run, about, result)
    if about["stage"] == "restore":
        return _followed(run, stage, about, "carry", result)
    if about["stage"] == "refill":
        return _refilled(run, stage, about, "carried", result)
    if about["stage"] == "rekey":
        return _rekeyed(run, stage, about, "carried", result)
    return _errand(run, stage, about, {**given, "step": "carry"}, result)


def _followed(run: Run, stage: str, about: Mapping[str, Any], step: str, result: Mapping[str, Any]) -> State:
    order, new = order_of(run, about), _plain(run, stage, about, {}, result)
    label = about["label"]
    progress = restore_progress.progress_after(order, step, result, new["orders"].get(label, {}))
    notes = []
    if step == "look" and progress["ready"]:
        notes = [order["prediction"]]
    elif progress.get("done"):
        notes = [restore_progress.done_note(order, result)]
    told = [f"{run.host}: {note}" for note in notes]
    return {**new, "orders": {**new["orders"], label: progress}, "notes": [*new["notes"], *told]}


def _drill_away(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    if given["step"] == "choose":
        return _chosen(run, stage, about, given, result)
    if given["step"] == "keep":
        return _plain(run, stage, about, given, result)
    return _errand(run, stage, about, given, result)


def _chosen(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    """Record what was chosen for a drill as an errand, or as a failure if the controller cannot reach both of its ends."""
    new = _plain(run, stage, about, given, result)
    if not result.get("chosen"):
        return new
    new = {**new, "chosen": [*new["chosen"], {"about": dict(about), "chosen": result["chosen"]}]}
    errand = errands(run.knowing(new))[-1]
    if not errand["problem"]:
        return new
    entries = call_failures.failures_of({"failures": [{"reason": errand["problem"]}]}, stage, run.host)
    told = drill.errand_report({}, entries, errand["host"])
    return outcomes.record(new, _registered(about, told), stage, run.host)


def _errand(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    """Record a call on the scratch host, or on the way there."""
    errand, step = errand_of(run, about), given["step"]
    entries = call_failures.failures_of(_registered(about, result), stage, run.host)
    new = outcomes.record(
        run.state, _registered(about, drill.errand_report(result, entries, errand["host"])), stage, run.host
    )
    progress = dict(new["errands"].get(about["label"], {}))
    if step in ("make", "carry"):
        progress["made" if step == "make" else "arrived"] = bool(result.get("changed"))
    else:
        progress["proofs"] = result.get("proved") or []
    new = {**new, "errands": {**new["errands"], about["label"]: progress}}
    if step == "make" and progress["made"] and run.check_mode:
        more = drill.predicted(errand)
        new = {**new, **{key: [*new[key], *more[key]] for key in more}}
    return new


def _without_word(result: Mapping[str, Any]) -> str:
    return "unreachable, without a word" if result.get("unreachable") else f"no result, exit code {result.get('rc')}"


def _examine(
    run: Run, _stage: str, _about: Mapping[str, Any], _given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    """Record a node's facts, or why it could not be examined, which is a finding of doctor, not a failure of the run."""
    texts = [str(result.get(key) or "") for key in ("msg", "module_stderr", "module_stdout")]
    is_lost = bool(result.get("unreachable") or result.get("failed") or result.get("failures"))
    told = [str(entry.get("reason")) for entry in result.get("failures") or ()]
    examined = {
        "facts": result.get("facts") or {},
        "unreachable": bool(result.get("unreachable")),
        "said": "\n".join(filter(None, [*told, *texts])) or _without_word(result) if is_lost else "",
        "after": time.time(),
    }
    return {**run.state, "examined": examined}


_NOTES: dict[str, Callable[[Run, str, Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], State]] = {
    "node_examine": _examine,
    "pair_access": trust_calls.noted,
    "pair_key": trust_calls.noted,
    "preflight": _preflight,
    "store_fetch": _store_fetch,
    "tarball_accept": _accept,
    "tarball_carry": _carry,
    "tarball_check": _check,
    "tarball_contents": _contents,
    "tarball_drill_away": _drill_away,
    "tarball_dump": _dump,
    "tarball_find": _find,
    "tarball_heal": _heal,
    "tarball_list": _list,
    "tarball_mark": _mark,
    "tarball_prepare": _prepare,
    "tarball_purge": _purge,
    "tarball_rekey": _rekey,
    "tarball_restore": _restore,
    "tarball_undo": _undo,
}
