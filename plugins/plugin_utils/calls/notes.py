"""What a call has found is noted in what the run knows of its host: failures, and what later calls go by. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..planning import drill, restore, transfers
from ..report import outcomes, retention_table
from .loops import errand_of, errands, order_of
from .run import Run

State = dict[str, Any]
_FORGOTTEN = ("items", "locked", "offer", "asked", "again", "busy")
"""What preflight begins anew, where a run has several plays"""


def noted(
    module: str, stage: str, run: Run, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    """Given a call (module, stage, what it is about, its options) and its result, return what the run knows of the host now."""
    note = _NOTES.get(module, _plain)
    return note(run, stage, about, given, result)


def _plain(
    run: Run, stage: str, about: Mapping[str, Any], _given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    return outcomes.record(run.state, _registered(about, result), stage, run.host, run.check_mode)


def _registered(about: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as a task in a loop registers it, or as one without."""
    return {"results": [{**result, "ansible_loop_var": "about", "about": about}]} if about else dict(result)


def _preflight(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    place = about["node"] if about else run.host
    taken = [f"{place}:{base}" for base in given.get("locks") or ()]
    if about:
        new = _plain(run, stage, about, given, result)
        return {**new, "locked": [*new["locked"], *taken]}
    fresh = {**run.state, **{name: outcomes.EMPTY[name] for name in _FORGOTTEN}}
    new = outcomes.record(fresh, _registered(about, result), stage, run.host)
    return {**new, "locked": taken, "items": result.get("items") or []}


def _dump(run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]) -> State:
    new = _plain(run, stage, about, given, result)
    return outcomes.record(new, {"failures": run.source["item_errors"]}, stage, run.host)


def _check(
    run: Run, _stage: str, about: Mapping[str, Any], _given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    return _offered(outcomes.record_check(run.state, _registered(about, result), run.host), result)


def _offered(state: State, result: Mapping[str, Any]) -> State:
    """Return what is known, with what a source can send if the call has listed it."""
    is_told = result.get("listed") is True
    return {**state, "offer": transfers.sendable(result.get("tarballs") or [], state)} if is_told else state


def _list(run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]) -> State:
    new = _plain(run, stage, about, given, result)
    if not about:
        return _offered(new, result)
    return {**new, "listed": [*new["listed"], *outcomes.listed(_registered(about, result), run.host)]}


def _purge(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    if given.get("check"):
        return outcomes.record_check(run.state, _registered(about, result), run.host, run.check_mode)
    new = _plain(run, stage, about, given, result)
    found = retention_table.judged(_registered(about, result), run.host) if given.get("explain") else []
    return {**new, "judged": [*new["judged"], *found]} if found else new


def _prepare(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    new = _plain(run, stage, about, given, result)
    node = about["node"]
    is_busy = result.get("busy") is True
    asked = {} if is_busy else dict.fromkeys(result.get("send") or [], "")
    others = [name for name in new["busy"] if name != node]
    return _unlisted(
        {**new, "asked": {**new["asked"], node: asked}, "busy": [*others, node] if is_busy else others},
        run,
        stage,
        about,
        result,
    )


def _accept(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    new, node = _plain(run, stage, about, given, result), about["node"]
    told = (result.get("wrong") or []) if given["retry"] else []
    wrong = {entry["relpath"]: entry.get("wrong") or "" for entry in told}
    again = [name for name in new["again"] if name != node]
    state = {**new, "asked": {**new["asked"], node: wrong}, "again": [*again, node] if wrong else again}
    return _unlisted(state, run, stage, about, result)


def _unlisted(state: State, run: Run, stage: str, about: Mapping[str, Any], result: Mapping[str, Any]) -> State:
    failures = transfers.unlisted(result, state)
    return outcomes.record(state, _registered(about, {"failures": failures}), stage, run.host) if failures else state


def _find(
    run: Run, _stage: str, _about: Mapping[str, Any], _given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    """What one node does not have is no failure if another one has it."""
    return {**run.state, "found": dict(result)}


def _restore(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    return _followed(run, stage, about, str(given["step"]), result)


def _carry(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    if about["stage"] == "restore":
        return _followed(run, stage, about, "carry", result)
    return _errand(run, stage, about, {**given, "step": "carry"}, result)


def _followed(run: Run, stage: str, about: Mapping[str, Any], step: str, result: Mapping[str, Any]) -> State:
    order, new = order_of(run, about), _plain(run, stage, about, {}, result)
    label = about["label"]
    progress = restore.followed(order, step, result, new["orders"].get(label, {}))
    notes = []
    if step == "look" and progress["ready"]:
        notes = [order["prediction"]]
    elif progress.get("done"):
        notes = [restore.done_note(order, result)]
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
    """What is chosen becomes an errand, or a failure where the ends of that are not reached."""
    new = _plain(run, stage, about, given, result)
    if not result.get("chosen"):
        return new
    new = {**new, "chosen": [*new["chosen"], {"about": dict(about), "chosen": result["chosen"]}]}
    errand = errands(run.knowing(new))[-1]
    if not errand["problem"]:
        return new
    entries = outcomes.failures_of({"failures": [{"reason": errand["problem"]}]}, stage, run.host)
    told = drill.told({}, entries, errand["host"])
    return outcomes.record(new, _registered(about, told), stage, run.host)


def _errand(
    run: Run, stage: str, about: Mapping[str, Any], given: Mapping[str, Any], result: Mapping[str, Any]
) -> State:
    """A call on the scratch host, or on the way there."""
    errand, step = errand_of(run, about), given["step"]
    entries = outcomes.failures_of(_registered(about, result), stage, run.host)
    new = outcomes.record(run.state, _registered(about, drill.told(result, entries, errand["host"])), stage, run.host)
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


_NOTES: dict[str, Callable[[Run, str, Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], State]] = {
    "preflight": _preflight,
    "tarball_accept": _accept,
    "tarball_carry": _carry,
    "tarball_check": _check,
    "tarball_drill_away": _drill_away,
    "tarball_dump": _dump,
    "tarball_find": _find,
    "tarball_list": _list,
    "tarball_prepare": _prepare,
    "tarball_purge": _purge,
    "tarball_restore": _restore,
}
