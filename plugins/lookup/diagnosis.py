# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The findings of doctor on a set-up."""

from __future__ import annotations

DOCUMENTATION = r"""
name: diagnosis
short_description: Tell what is right and what is not with a set-up, and what mends it
version_added: 0.2.0
author: altbackup developers (@altbackup)
description:
  - Judges what the nodes told of themselves in this run (M(altbackup.core.node_examine)), the plan, and what the controller shows.
  - C(playbooks/doctor.yml) shows it; C(bin/altbackup doctor) as a table.
options:
  _terms:
    description: None.
"""

EXAMPLES = r"""
- name: Show what is not right
  ansible.builtin.debug:
    msg: "{{ lookup('altbackup.core.diagnosis').lines }}"
"""

RETURN = r"""
_raw:
  description:
    - One mapping. C(findings) are mappings of C(node), C(pair), C(what), C(state) (C(ok), C(wrong) or C(unknown)), C(why) and C(mend), a
      command or, where it begins with C(#), a sentence.
    - C(lines) are those of them that are not right, as a log has them, C(wrong) is whether any is.
    - C(scheduled) is what starts backups of this inventory by the clock here, C(recipients) who would get mail by what the inventory says.
    - C(sheet) is the text of the recovery sheet, empty where nothing is encrypted.
  type: list
  elements: dict
  sample: [{findings: [], lines: [0 of 0 things are right], wrong: false, scheduled: [], recipients: root, sheet: ''}]
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from jinja2.exceptions import TemplateError

from ..module_utils.system.schedules import cron_is_seen, schedules
from ..module_utils.system.ssh import unseal
from ..plugin_utils.calls import run_state
from ..plugin_utils.calls.run import Run, run_of
from ..plugin_utils.doctor import controller, decide, inventory
from ..plugin_utils.doctor.finding import Commands
from ..plugin_utils.mail import options as mail_options
from ..plugin_utils.planning.filter_values import plain, untrusted
from ..plugin_utils.planning.reaching import controller_peer, controller_ssh_args
from ..plugin_utils.planning.setup import jobs

_ROOT = Path(__file__).resolve().parents[2]
_INTERPRETER = "ansible_python_interpreter"


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup."""

    def run(self, terms: Any, variables: Any = None, **options: Any) -> list[dict[str, Any]]:
        """Return one mapping with all findings, their lines, and what the controller schedules and mails."""
        run = run_of(variables)
        plan = plain(run.plan)
        named = [str(name) for name in context.CLIARGS.get("inventory") or constants.DEFAULT_HOST_LIST or ()]
        commands = Commands(
            named,
            _program("ansible"),
            str(_ROOT / "bin" / "altbackup"),
            controller.read_files(named),
        )
        examined = {node: run_state.load(node).get("examined") or {} for node in plan["nodes"]}
        last = controller.last_run(named)
        entries = controller.scheduled(schedules("altbackup"), named)
        recipients = controller.own_recipients(str(entry.get("mail_to") or "") for entry in plan["nodes"].values())
        found = decide.decide(plan, variables.get("groups") or {}, examined, _dialled(run, plan), commands)
        found += inventory.gone(plan, last.trees, last.items, commands)
        around = {**os.environ, "ALTBACKUP_MAIL_TO": recipients}  # a question itself runs with the recipient none
        job = next(iter(jobs(plan, named, str(_ROOT), sys.executable, around)))
        missing = controller.unscheduled(plan, job, commands)
        found += controller.schedule(entries, last, controller.clock(), missing, commands, cron=cron_is_seen())
        found.append(
            controller.mail(mail_options.load_settings(), [], recipients, str(constants.CONFIG_FILE or "ansible.cfg"))
        )
        findings = decide.ordered(finding.plain() for finding in found)
        told = {
            "findings": findings,
            "lines": decide.lines(findings),
            "wrong": decide.is_wrong(findings),
            "scheduled": entries,
            "recipients": recipients,
            "sheet": decide.sheet(plan, examined, str(plan["day"])),
        }
        return [untrusted(told)]


def _program(name: str) -> str:
    """Return the path of a program of Ansible, preferably beside this Python."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name) or name


def _dialled(run: Run, plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return {node: how the controller reaches it}."""
    found = {}
    for node in plan["nodes"]:
        try:
            peer = controller_peer(run.hostvars, plan, node)
            way = controller.dialled(peer, unseal(controller_ssh_args(run.hostvars, node)))
            interpreter = run.hostvars[node].get(_INTERPRETER)
        except (AnsibleError, TemplateError, ValueError):  # it is an error of the plan already
            continue
        found[node] = {**way, "interpreter": str(interpreter or "")} if way else {"interpreter": str(interpreter or "")}
    return found
