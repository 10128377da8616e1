"""Hooks around a dump: when each runs, what its exit code means, and hooks that an earlier call owes."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from ..kinds.base import Context
from ..kinds.hooks import AFTER, BEFORE, KEYS, ON_FAILURE, Hook, Hooks
from ..kinds.items import Item
from ..system.errors import AltbackupError, DeadlineExceeded, InvalidInput, ToolFailed
from ..system.proc import boot_id
from ..system.process_groups import require_go_on
from ..system.visible import one_line
from ..tree.failures import failure
from ..tree.scan import scan
from ..tree.stamps import parse_stamp
from .dump_state import STAGE
from .dump_store import tarballs_before
from .hook_guard import CUT, Guard, GuardGone, HookExecutor

NOT_NOW = 75
"""Exit code of a `before` that skips the dump: EX_TEMPFAIL, see sysexits.h(3head)"""
BEGUN, DONE, FAILED, SKIPPED = "begun", "done", "failed", "skipped"
"""Values of ALTBACKUP_STATE"""
_WAIT = 900.0
"""Maximum seconds to wait for the guard of an earlier call"""
_ANSWER = 15.0
"""Seconds in which a guard answers, in addition to those of a program"""
_OWED_WAIT = 10.0
"""Seconds for which a call whose limit has passed waits for an owed program"""


@dataclass(frozen=True)
class HookOwner:
    """An item, or the source itself, with its hooks."""

    hooks: Hooks
    key: str = ""
    """category/name, empty for the source"""
    title: str = "the source"


def hook_owner_of(item: Item) -> HookOwner:
    """Return an item as the owner of its hooks."""
    return HookOwner(item.hooks, item.key, f"item {item.kind} {item.name!r}")


@dataclass
class Report:
    """Failures and notes of a dump."""

    failures: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fail(self, reason: str | BaseException, key: str = "") -> None:
        """Add a failure."""
        self.failures.append(failure(STAGE, reason, key=key))


class Runner:
    """Runs the hooks of one dump by way of a guard."""

    def __init__(self, guard: Guard, context: Context) -> None:
        self._guard = guard
        self._context = context
        self._problem = "the ledger of hooks was not opened"
        """Why no hook may be started, empty if it may"""
        self._executor: HookExecutor | None = None
        """Runs owed hooks in this process if the guard was killed"""
        self._is_handed_over = False
        """Whether the guard runs the remaining hooks because this call cannot wait"""

    def run_owed(self, hook_owners: Mapping[str, HookOwner], report: Report) -> None:
        """Wait for the guard of an earlier call, report its results, and run what is still owed with the programs declared now."""
        try:
            wait = self._context.deadline.at_most(_WAIT)
            left = self._guard.ask("open", wait + _ANSWER, wait=wait)
        except (AltbackupError, OSError) as error:
            self._problem = str(error)
            if not hook_owners:
                report.fail(error)
            return
        self._problem = ""
        if left["damaged"]:
            report.fail(
                f"{left['damaged']}: whether an `after` is owed is not known; see whether something still stands still for a backup"
            )
        for entry in left["results"]:
            if entry["bad"]:
                report.fail(entry["text"], entry["item"])
            else:
                report.notes.append(entry["text"])
        for entry in left["owed"]:
            self._run_owed(entry, hook_owners, report)

    def _run_owed(self, entry: Mapping[str, str], hook_owners: Mapping[str, HookOwner], report: Report) -> None:
        """Run the hooks owed by a call whose guard did not run them."""
        key, stamp = entry["item"], entry["stamp"]
        hook_owner = hook_owners.get(key, HookOwner(Hooks(), key, one_line(key) or "the source"))
        why = "its guard was killed" if entry["boot"] == boot_id() else "the node was restarted"
        about = f"{hook_owner.title}: its before was started for {stamp}, and then {why}"
        if not hook_owner.hooks.after:
            report.fail(
                f"{about}: no after is declared for it any more, so none was run; see whether something still stands still for a backup",
                key,
            )
            self._pay(key, report)
            return
        report.notes.append(f"{about}: its after, as it is declared now, was run by this call")
        for which, hook in enumerate(hook_owner.hooks.after):
            try:
                self._run(hook_owner, stamp, AFTER, which, _program(hook_owner, AFTER, hook), CUT)
            except (AltbackupError, OSError) as error:
                report.fail(error, key)
        self._pay(key, report)

    def around(
        self, hook_owner: HookOwner, report: Report, dump: Callable[[], None], skip: Callable[[str], None]
    ) -> None:
        """Run the hooks of an item, or of the source, around `dump`, which makes its dump and adds failures to `report`.

        If a `before` exits with NOT_NOW, `skip` is called with the message instead. If this call is ended, its guard runs what remains.
        """
        failures_before = len(report.failures) if hook_owner.key else 0  # a failure of any item is one of the source
        state, owed, programs = FAILED, False, {}
        try:
            programs = self._record_owed(hook_owner)
            owed = True
            self._run_before(hook_owner, programs[BEFORE])
        except (AltbackupError, OSError) as error:
            if owed and isinstance(error, ToolFailed) and error.rc == NOT_NOW:
                state = SKIPPED
                skip(str(error))
            else:
                report.fail(error, hook_owner.key)
        else:
            dump()
            state = DONE
        if len(report.failures) > failures_before:
            state = FAILED
        if owed:
            self._run_all(hook_owner, AFTER, programs[AFTER], state, report)
        if len(report.failures) > failures_before and programs:
            self._run_all(hook_owner, ON_FAILURE, programs[ON_FAILURE], FAILED, report)
        if owed:
            self._pay(hook_owner.key, report)

    def end(self, report: Report) -> None:
        """Tell the guard that all is done, and that the ledger's results were reported."""
        try:
            if self._executor is not None:
                self._executor.end()
            elif not self._problem:
                self._guard.ask("end", _ANSWER)
        except (AltbackupError, OSError) as error:
            report.fail(error)

    def _record_owed(self, hook_owner: HookOwner) -> dict[str, list[dict[str, Any]]]:
        """Record the later hooks as owed; return all programs. Raise AltbackupError or OSError, and then nothing was started."""
        programs = programs_of(hook_owner)
        if self._problem:
            raise AltbackupError(f"{hook_owner.title}: {self._problem}")
        later = {when: programs[when] for when in (AFTER, ON_FAILURE)}
        self._guard.ask(
            "owe", _ANSWER, item=hook_owner.key, title=hook_owner.title, stamp=self._context.stamp, programs=later
        )
        return programs

    def _run_before(self, hook_owner: HookOwner, programs: Sequence[Mapping[str, Any]]) -> None:
        for which, program in enumerate(programs):
            require_go_on()
            seconds = self._context.deadline.at_most(program["seconds"])
            self._run(hook_owner, self._context.stamp, BEFORE, which, {**program, "seconds": seconds}, BEGUN)

    def _run_all(
        self, hook_owner: HookOwner, when: str, programs: Sequence[Mapping[str, Any]], state: str, report: Report
    ) -> None:
        for which, program in enumerate(programs):
            try:
                self._run(hook_owner, self._context.stamp, when, which, program, state)
            except (AltbackupError, OSError) as error:
                report.fail(error, hook_owner.key)

    def _run(
        self, hook_owner: HookOwner, stamp: str, when: str, which: int, program: Mapping[str, Any], state: str
    ) -> None:
        """Run a program. Raise its error; if the guard was killed, later hooks are run in this process."""
        if self._is_handed_over:
            return
        request: dict[str, Any] = {
            "item": hook_owner.key,
            "title": hook_owner.title,
            "stamp": stamp,
            "when": when,
            "which": which,
            "program": program,
            "state": state,
        }
        if self._executor is None:
            try:
                self._guard.ask("run", self._answer_timeout(program["seconds"], when), **request)
                return
            except GuardGone as error:
                self._problem, self._is_handed_over = str(error), not error.killed
                if self._is_handed_over or when == BEFORE:
                    raise
            self._executor = HookExecutor(self._context.tree)
            with contextlib.suppress(AltbackupError, OSError):  # reported when the debt is settled
                self._executor.open(_ANSWER)
        self._executor.run(**request)

    def _answer_timeout(self, seconds: float, when: str) -> float:
        """Return the seconds to wait for a program; an owed one gets at least _LAST."""
        if when == BEFORE:
            return seconds + _ANSWER
        try:
            return max(_OWED_WAIT, self._context.deadline.at_most(seconds + _ANSWER))
        except DeadlineExceeded:
            return _OWED_WAIT

    def _pay(self, key: str, report: Report) -> None:
        try:
            if self._executor is not None:
                self._executor.pay(key)
            elif not self._problem:
                self._guard.ask("pay", _ANSWER, item=key)
        except (AltbackupError, OSError) as error:
            report.fail(error, key)


def programs_of(hook_owner: HookOwner) -> dict[str, list[dict[str, Any]]]:
    """Return {when: programs as a guard takes them}. Raise InvalidInput for one that cannot be run on this node."""
    return {when: [_program(hook_owner, when, hook) for hook in hook_owner.hooks.of(when)] for when in KEYS}


def _program(hook_owner: HookOwner, when: str, hook: Hook) -> dict[str, Any]:
    path, uid = hook.argv[0], os.geteuid()
    about = f"{hook_owner.title}: {when}"
    if hook.user:
        try:
            uid = pwd.getpwnam(hook.user).pw_uid
        except KeyError:
            raise InvalidInput(f"{about}: user {hook.user!r} does not exist on this node") from None
    if os.geteuid() not in (0, uid):
        raise InvalidInput(f"{about}: only root can run programs as user {hook.user!r}, but this is uid {os.geteuid()}")
    if not os.path.isfile(path):
        raise InvalidInput(f"{about}: {path} is not there, or no file")
    if not os.access(path, os.X_OK):
        raise InvalidInput(f"{about}: {path} cannot be run by uid {os.geteuid()}")
    return {"argv": list(hook.argv), "uid": uid, "seconds": hook.time_limit}


def report_predicted(hook_owners: Iterable[HookOwner], report: Report) -> None:
    """Report, for check mode, which hooks would be run, and which of them cannot be."""
    for hook_owner in hook_owners:
        for when in KEYS:
            for hook in hook_owner.hooks.of(when):
                report.notes.append(
                    f"{hook_owner.key or hook_owner.title}: {when} would run {hook}, for {hook.time_limit:g} s at most; check mode runs none"
                )
        try:
            programs_of(hook_owner)
        except InvalidInput as error:
            report.fail(error, hook_owner.key)


def report_skip(item: Item, context: Context, why: str, max_age: float, report: Report) -> bool:
    """Report that a hook skipped an item: a note, or a failure if its newest copy is older than `max_age` seconds.

    Return whether it is no failure.
    """
    title = f"item {item.kind} {item.name!r}"
    verified = scan(context.tree, keys={item.key}).verified()
    stamps = [tarball.stamp for tarball in tarballs_before(context, item, verified)]
    newest = max(stamps, default="")
    if newest and parse_stamp(context.stamp) - parse_stamp(newest) <= timedelta(seconds=max_age):
        report.notes.append(f"{item.key}: not now, said exit code {NOT_NOW}; its newest copy is of {newest}: {why}")
        return True
    how = (
        f"its newest copy, of {newest}, is older than {max_age / 3600:g} h (altbackup_max_age)"
        if newest
        else "it has no copy yet"
    )
    report.fail(f"{title}: not now, said exit code {NOT_NOW}, but {how}: {why}", item.key)
    return False
