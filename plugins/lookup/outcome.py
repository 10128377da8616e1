# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outcome of a run, from the states of all hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: outcome
author: altbackup developers (@altbackup)
version_added: 0.2.0
short_description: What a run has found
description:
  - Gathers what was found on all hosts of the run. What failed stands there once each; what was made and sent, a line each.
options:
  _terms:
    description:
      - What is wanted. C(run) is all that a run has to tell; C(listed) are the tarballs that were listed on this host, C(all_listed) those of all
        hosts; C(judged) are lines on why each tarball stays that a purge has judged on this host, C(purge_plan) is the text of a plan of what it
        judged on all hosts, and C(reviewed) what of such a plan is to go, C(tarballs), or what is wrong with it, C(problem); C(pairs) are the
        C(lines) and C(failures) of the keys of this host's pairs; C(restores) is what is restored from where; C(restore_speeds) is what restores
        took, for predictions; C(readings) is what is read where of what is to be looked into, C(answer) what was found in it, and C(answer_lines)
        that for a person.
    required: true
    type: list
    elements: str
    choices: [run, listed, all_listed, judged, purge_plan, reviewed, pairs, restores, restore_speeds, readings, answer, answer_lines]
  record:
    description: Whether what C(run) tells is kept in the history of the inventory, too (see docs/monitoring.md). What is wrong with that is a note.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show what failed
  ansible.builtin.debug:
    msg: "{{ lookup('altbackup.core.outcome', 'run').failures | altbackup.core.report }}"
"""

RETURN = r"""
_raw:
  description: Of C(run) a mapping with C(failures), C(fine), a list of lines, and C(inventory), what the run was given.
  type: list
  elements: raw
  sample: [{failures: [], fine: [], inventory: inventory/mine}]
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ..module_utils.system.errors import InvalidInput
from ..module_utils.system.journal import tell_journal
from ..module_utils.system.visible import one_line
from ..plugin_utils.calls import restores, run_state
from ..plugin_utils.calls.run import Run, run_of
from ..plugin_utils.history.metrics import write_metrics
from ..plugin_utils.history.record import Circumstances, record_of
from ..plugin_utils.history.store import write_records
from ..plugin_utils.history.versions import versions
from ..plugin_utils.page.write import noted_page
from ..plugin_utils.planning import contents, marks, purge_plan, setup, trusting
from ..plugin_utils.planning.filter_values import plain, untrusted
from ..plugin_utils.planning.host_variables import given_inventory, inventory_files
from ..plugin_utils.planning.pauses import pauses
from ..plugin_utils.planning.trees import node_trees
from ..plugin_utils.report import outcomes, retention_table, run_failures, run_summary, tarball_table
from ..plugin_utils.report.night_table import night_rows, without_covered
from ..plugin_utils.report.secrecy import mask_text


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup."""

    def run(self, terms: Any, variables: Any = None, **options: Any) -> list[Any]:
        """Return the outcome that each term names. Raise AnsibleError for an unknown term."""
        if unknown := [str(term) for term in terms if not isinstance(term, str) or term not in _FOUND]:
            raise AnsibleError(f"altbackup.core.outcome: {', '.join(unknown)}: one of {', '.join(_FOUND)} is meant")
        run = run_of(variables)
        found = [_FOUND[str(term)](run, variables) for term in terms]
        if options.get("record"):
            for outcome in found:
                _keep(run, variables, outcome)
        return [untrusted(plain(outcome)) for outcome in found]


def _outcome(run: Run, variables: Any) -> dict[str, Any]:
    """Return the failures of all hosts, what the run did, and its inventory.

    What it did is in lines (`fine`), and again as rows of a table (`table`) with the lines that these do not cover (`told`).
    """
    states = {**_states(run), **restores.chosen_state(run.choice)}
    failures, notes = marks.marked(run.plan, states)
    asked = dict.fromkeys(run.plan["undo"] if variables.get("__report_undone") else (), False)
    told = [f"note: {one_line(note)}" for note in notes]
    return {
        "failures": run_failures.all_failures(
            [*states.values(), {"failures": [*run.plan["failures"], *failures], "undone": asked}]
        ),
        "fine": [*run_summary.summary(run.plan, states), *told],
        "purged": run_summary.purges(states.values()),
        "looked": outcomes.all_looked(states.values()),
        "table": night_rows(states),
        "told": [*run_summary.summary(run.plan, without_covered(states)), *told],
        "inventory": one_line(", ".join(map(str, context.CLIARGS.get("inventory") or ()))),
    }


def _keep(run: Run, variables: Any, outcome: dict[str, Any]) -> None:
    """Store the run's record, metrics and page, and add notes on what failed there to the outcome."""
    told = Circumstances(
        playbook=" ".join(os.path.basename(str(name)) for name in context.CLIARGS.get("args") or ()),
        inventory=outcome["inventory"],
        folder=os.environ.get("ALTBACKUP_RUN", ""),
        now=time.time(),
        versions=versions(),
        gone=sorted({*_names(variables, "ansible_play_hosts_all")} - {*_names(variables, "ansible_play_hosts")}),
    )
    if not told.folder:  # else the supervising `altbackup run` does that
        tell_journal(journal_events(outcome["failures"], told))
    record = record_of(plain(run.plan), _states(run), outcome["failures"], told)
    files = inventory_files(run.hostvars, variables.get("groups") or {})
    places: dict[str, list[str]] = {}
    for source in run.plan["sources"]:
        places.setdefault(files.get(source) or given_inventory(), []).append(source)
    for file, sources in places.items():
        paused = pauses(run.plan, told.now)
        notes = write_records(file, [record.of(sources)], run.plan["history_days"], told.now, pauses=paused)
        if run.plan["metrics_dir"]:
            notes += write_metrics(run.plan["metrics_dir"], file, told.now)
        _tell(outcome, notes)
    if run.plan["report_dir"]:
        _tell(outcome, noted_page(run.plan["report_dir"], list(places), told.now))


def _tell(outcome: dict[str, Any], notes: list[str]) -> None:
    for note in notes:
        for lines in (outcome["fine"], outcome["told"]):
            lines.append(f"note: {one_line(note)}")


def journal_events(failures: list[dict[str, Any]], told: Circumstances) -> list[dict[str, Any]]:
    """Return the journal's events on the end of a run and its failures."""
    bad = bool(failures or told.gone)
    end = {"event": "run", "playbook": told.playbook, "inventory": told.inventory, "bad": bad}
    names = ("node", "delegate", "stage", "category", "name", "relpath", "reason")
    each = [
        {"event": "failure", "bad": True, **{name: mask_text(one_line(str(entry.get(name) or ""))) for name in names}}
        for entry in failures
    ]
    return [{**end, "state": "failed" if bad else "good", "failures": len(failures)}, *each]


def _names(variables: Any, name: str) -> list[str]:
    return [str(host) for host in variables.get(name) or ()]


def _states(run: Run) -> dict[str, Any]:
    """Return {host: state of the run} of the hosts that have one."""
    states = {host: run_state.load(host) for host in map(str, run.hostvars)}
    return {host: state for host, state in states.items() if state}


def _listed(run: Run, _variables: Any) -> list[str]:
    return run.state["listed"]  # type: ignore[no-any-return]


def _all_listed(run: Run, _variables: Any) -> list[dict[str, Any]]:
    found = [entry for state in _states(run).values() for entry in state["listed"]]
    return [{key: entry[key] for key in tarball_table.LISTED_KEYS} for entry in found]


def _judged(run: Run, _variables: Any) -> list[str]:
    return retention_table.table(run.state["judged"])


def _purge_plan(run: Run, _variables: Any) -> str:
    judged = [entry for state in _states(run).values() for entry in state["judged"]]
    return purge_plan.as_file(run.plan["stamp"], judged)


def _reviewed(run: Run, _variables: Any) -> dict[str, Any]:
    path = run.plan["purge_plan"]
    trees = [tree for node in run.plan["nodes"] for tree in node_trees(run.plan, node)]
    try:
        return {"tarballs": purge_plan.read(Path(path), trees), "problem": ""}
    except InvalidInput as error:
        return {"tarballs": [], "problem": f"{path} (altbackup_purge_plan) {error}"}


def _restores(run: Run, variables: Any) -> dict[str, Any]:
    return restores.choose(run, [str(host) for host in variables["ansible_play_hosts_all"]])


def _pairs(run: Run, _variables: Any) -> dict[str, Any]:
    """Return the `lines` and `failures` of the pairs of this host."""
    found = [
        trusting.report(pair, run.state["pairings"].get(pair["label"], {}), check_mode=run.check_mode)
        for pair in setup.pairs(run.plan, run.host)
    ]
    return {
        "lines": [pair["line"] for pair in found],
        "failures": [text for pair in found for text in pair["failures"]],
    }


def _restore_speeds(run: Run, _variables: Any) -> dict[str, Any]:
    return restores.learned_speeds(run.choice, _states(run))


def _readings(run: Run, variables: Any) -> dict[str, Any]:
    hosts = [str(host) for host in variables["ansible_play_hosts_all"]]
    found = {host: run.known_of(host).get("found") or {} for host in run.plan["nodes"] if host in hosts}
    for host in (host for host in run.plan["nodes"] if host in hosts):
        for name, result in (run.known_of(host).get("found_in") or {}).items():
            trees = [*(found.get(name, {}).get("trees") or ()), *(result.get("trees") or ())]
            found[name] = {**result, "trees": trees}
    return contents.choose(plain(run.plan), found)


def _answer(run: Run, _variables: Any) -> dict[str, Any]:
    return contents.answer(plain(run.choice), [entry for state in _states(run).values() for entry in state["readings"]])


def _answer_lines(run: Run, variables: Any) -> list[str]:
    return contents.lines(_answer(run, variables))


_FOUND: dict[str, Callable[[Run, Any], Any]] = {
    "run": _outcome,
    "listed": _listed,
    "all_listed": _all_listed,
    "judged": _judged,
    "purge_plan": _purge_plan,
    "reviewed": _reviewed,
    "pairs": _pairs,
    "restores": _restores,
    "restore_speeds": _restore_speeds,
    "readings": _readings,
    "answer": _answer,
    "answer_lines": _answer_lines,
}
