# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows this collection's playbooks in short: a line for each stage and host, a table, and what failed."""

from __future__ import annotations

DOCUMENTATION = r"""
name: quiet
type: stdout
author: altbackup developers (@altbackup)
version_added: 0.1.0
short_description: Shows a line for each stage and host, what failed, and a closing table
description:
  - Of the roles of this collection it shows a line for each stage and host, and at the end notes, a table of the tarballs with
    their size, their seconds and where they are good, and each failure once.
  - With C(-v) it shows these as P(ansible.builtin.default#callback) does without, with C(-vv) as that does with C(-v), and so on.
  - All other tasks, and C(ansible) commands, are shown as by P(ansible.builtin.default#callback), whose options it has.
  - The log that is attached to the mail of P(altbackup.core.error_mail#callback) does not depend on it.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - Set as C(stdout_callback = altbackup.core.quiet) in C(ansible.cfg), or as E(ANSIBLE_STDOUT_CALLBACK).
"""

import atexit
import contextlib
import functools
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.plugins.callback.default import CallbackModule as Default

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..plugin_utils.planning.inventory_files import places_of, syntax_errors
from ..plugin_utils.report.ansible_events import host_of, place_of, task_of, values_of
from ..plugin_utils.report.collector import Collector
from ..plugin_utils.report.masking import redact, secrets_in, secrets_of, worth_searching
from ..plugin_utils.report.model import Place, with_places
from ..plugin_utils.report.quiet_view import Line, QuietView, closing, is_ours, is_own_file

_AD_HOC = "__adhoc_playbook__"


def _is_of_the_engine(place: Place, values: Mapping[str, Any]) -> bool:
    """Return whether a task failed outside its action, for example in a template, so that Ansible's own message shows the place."""
    return not values.get("failures") and place.action.rpartition(".")[2] not in ("assert", "fail")


class CallbackModule(Default):  # type: ignore[misc]
    """Shows tasks of this collection in short, and all others as Ansible's default does."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "altbackup.core.quiet"

    def __init__(self) -> None:
        super().__init__()
        self._process = os.getpid()
        self._view = QuietView()
        self._collector = Collector()
        self._secrets = set(secrets_of(sys.argv))
        self._title = ""
        self._waiting_play: Any = None
        """A play whose banner waits for the first task of other code"""
        self._strange = self._own = False
        """Whether tasks of other code, and of this collection, were seen"""
        self._going = False

    def _is_quiet(self) -> bool:
        return not self._display.verbosity and self._title != _AD_HOC

    def _show(self, lines: Iterable[Line]) -> None:
        for line in lines:
            colour = constants.COLOR_ERROR if line.bad else None
            self._display.display(redact(line.text, worth_searching(self._secrets)), color=colour)

    def _place(self, task: Any, values: Any = None) -> Place:
        return place_of(task, values, self._play.get_name().strip() if self._play else "")

    def _hides(self, task: Any) -> bool:
        """Return whether a task is shown in short; before another one, show its play's banner."""
        if self._is_quiet() and is_ours(self._place(task)):
            self._own = True
            return True
        self._strange = True
        self._show_play()
        return False

    def _show_play(self) -> None:
        play, self._waiting_play = self._waiting_play, None
        if play is not None:
            super().v2_playbook_on_play_start(play)

    def _take(self, result: Any, **failed: bool) -> bool:
        """Record the result of a task; return whether it is shown in short."""
        task, values, host = task_of(result), values_of(result), host_of(result)
        place = self._place(task, values)
        self._secrets.update(secrets_in(task.args))
        if failed:
            ignored, unreachable = failed.get("ignored", False), failed.get("unreachable", False)
            self._collector.failed_on(host, place, values, ignored=ignored, unreachable=unreachable)
        else:
            self._collector.ok(host, place, values)
        if not self._hides(task):
            return False
        if isinstance(values, dict):
            self._handle_warnings(values)
            if failed and not failed.get("unreachable") and _is_of_the_engine(place, values):
                self._handle_exception(values)
        self._show(self._view.ended(host, place, values))
        return True

    def _run_is_verbose(self, result: Any, verbosity: int = 0) -> bool:
        own = is_ours(self._place(task_of(result)))
        return bool(super()._run_is_verbose(result, verbosity + own))

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Show the playbook's name, inventory and mode."""
        path = str(getattr(playbook, "_file_name", "") or "")
        self._view, self._collector, self._title = QuietView(), Collector(), os.path.basename(path)
        if not self._going:
            atexit.register(self._interrupted)
        self._going, self._strange, self._own = True, False, False
        if not (self._is_quiet() and is_own_file(path)):
            super().v2_playbook_on_start(playbook)
            return
        mode = " (check mode: nothing is written)" if context.CLIARGS.get("check") else ""
        inventory = ", ".join(map(str, context.CLIARGS.get("inventory") or ()))
        self._show([Line(f"{self._title}{f' of {inventory}' if inventory else ''}{mode}")])

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Show the stages that the last play ended; keep the banner of this one until it is needed."""
        self._show(self._view.play_ended())
        self._play = play
        if self._is_quiet():
            self._waiting_play = play
        else:
            super().v2_playbook_on_play_start(play)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Show that a play has no hosts."""
        pattern = getattr(self._play, "hosts", "")
        self._collector.no_hosts(", ".join(map(str, pattern)) if isinstance(pattern, (list, tuple)) else str(pattern))
        self._show_play()
        super().v2_playbook_on_no_hosts_matched()

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        """Show that a play has no hosts left, unless the failures tell it."""
        if self._strange:
            super().v2_playbook_on_no_hosts_remaining()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Show the banner of other code's task."""
        if not self._hides(task):
            super().v2_playbook_on_task_start(task, is_conditional)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Show the banner of other code's handler."""
        if not self._hides(task):
            super().v2_playbook_on_handler_task_start(task)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Show an included file of other code."""
        if not self._hides(included_file._task):
            super().v2_playbook_on_include(included_file)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """Show the stage that this task ends, or the task of other code."""
        self._collector.started()
        if self._hides(task):
            self._show(self._view.started(str(host.get_name()), self._place(task)))
        else:
            super().v2_runner_on_start(host, task)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Record and show a task that succeeded."""
        if not self._take(result):
            super().v2_runner_on_ok(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Record and show a task that failed."""
        if not self._take(result, ignored=bool(ignore_errors)):
            super().v2_runner_on_failed(result, ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Record and show an unreachable host."""
        if not self._take(result, unreachable=True):
            super().v2_runner_on_unreachable(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Show a skipped task of other code."""
        if not self._hides(task_of(result)):
            super().v2_runner_on_skipped(result)

    def v2_runner_retry(self, result: Any) -> None:
        """Show that a task of other code is tried again."""
        if not self._hides(task_of(result)):
            super().v2_runner_retry(result)

    def _item(self, result: Any) -> bool:
        task = task_of(result)
        self._collector.item(host_of(result), self._place(task, values_of(result)))
        return self._hides(task)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Record an item of a loop that succeeded, and show it for other code."""
        if not self._item(result):
            super().v2_runner_item_on_ok(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """Record an item of a loop that failed, and show it for other code."""
        if not self._item(result):
            super().v2_runner_item_on_failed(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        """Record a skipped item of a loop, and show it for other code."""
        if not self._item(result):
            super().v2_runner_item_on_skipped(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Show the end of a playbook."""
        self._show(self._view.play_ended())
        if self._is_quiet() and (self._own or not self._strange):
            recap = {str(host): stats.summarize(host) for host in sorted(stats.processed)}
            self._show(closing(self._view.outcome, self._placed(self._collector.finish(recap)), self._title))
        if self._strange or not self._is_quiet():
            super().v2_playbook_on_stats(stats)
        self._going = False

    def _placed(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a report with the places of wrong variables."""
        inventory = [str(name) for name in context.CLIARGS.get("inventory") or ()]
        found = functools.partial(places_of, inventory, Path.cwd())
        return {**fields, "failures": with_places(fields["failures"], found)}

    def _interrupted(self) -> None:
        """Show the failures so far of a run that did not come to its end."""
        if self._going and os.getpid() == self._process and self._is_quiet():
            self._going = False
            with contextlib.suppress(Exception):
                self._show(self._view.play_ended())
                fields = self._collector.finish({}, ended=False)
                self._show(closing({}, fields, self._title))
                inventory = [str(name) for name in context.CLIARGS.get("inventory") or ()]
                self._show(Line(f"no YAML: {why}", bad=True) for why in syntax_errors(inventory, Path.cwd()))
