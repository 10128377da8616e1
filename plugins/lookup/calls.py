# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls that a stage is to make now."""

from __future__ import annotations

DOCUMENTATION = r"""
name: calls
author: altbackup developers (@altbackup)
version_added: 0.2.0
short_description: The calls that a stage is to make now
description:
  - Returns what the tasks of the roles of this collection go over, by the plan of the run and what it has found on this host so far.
  - Nodes that are down and folders that cannot be used are left out; nodes on which something has failed already come last.
options:
  _terms:
    description: What is gone over, such as C(check), C(targets) or C(rounds).
    required: true
    type: list
    elements: str
  nodes:
    description: The nodes that are wanted; all, if none is named.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Say which trees a check reads
  ansible.builtin.debug:
    msg: "{{ query('altbackup.core.calls', 'check') | map(attribute='label') }}"
"""

RETURN = r"""
_raw:
  description: A mapping for each call, with its C(label) and, if it concerns a tree, C(node), C(source), C(role) and C(base) of that.
  type: list
  elements: dict
  sample: [{node: cms01, source: dayabay, role: target, base: /data/backup/dayabay, label: dayabay on cms01}]
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ..plugin_utils.calls.loops import LOOPS, calls
from ..plugin_utils.calls.run import run_of
from ..plugin_utils.planning.filter_values import plain, untrusted


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup."""

    def run(self, terms: Any, variables: Any = None, **options: Any) -> list[dict[str, Any]]:
        """Return the calls of each term, which is a name of LOOPS. Raise AnsibleError for another name."""
        if unknown := [str(term) for term in terms if term not in LOOPS]:
            raise AnsibleError(f"altbackup.core.calls: {', '.join(unknown)}: one of {', '.join(LOOPS)} is meant")
        run = run_of(variables)
        return untrusted(plain([call for term in terms for call in calls(str(term), run, options.get("nodes") or ())]))
