# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records on the controller the marks that a run was given."""

from __future__ import annotations

DOCUMENTATION = r"""
name: marks
author: altbackup developers (@altbackup)
version_added: 0.2.0
short_description: Note on the controller what a run accepts, holds, releases and retires
description:
  - Adds what the plan of the run was given to the journal of its inventory, in the private folder of the user who runs.
  - Every later run hands it to the nodes that it reaches, so that those get it that were absent, or lost what they had.
options: {}
"""

EXAMPLES = r"""
- name: Note what this run accepts
  ansible.builtin.debug:
    msg: "{{ lookup('altbackup.core.marks') }}"
"""

RETURN = r"""
_raw:
  description: What was noted, and where, as a sentence.
  type: list
  elements: str
  sample: [noted in /var/lib/altbackup/marks/0f3c.json]
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ..module_utils.system.errors import AltbackupError
from ..module_utils.tree.failures import explain
from ..plugin_utils.calls.run import run_of
from ..plugin_utils.planning.filter_values import plain
from ..plugin_utils.planning.host_variables import inventory_files
from ..plugin_utils.planning.journal import note_marks


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup."""

    def run(self, terms: Any, variables: Any = None, **options: Any) -> list[str]:
        """Record the plan's marks in the journals of its inventories; return where. Raise AnsibleError if that fails."""
        run = run_of(variables)
        given = plain(run.plan["given"])
        try:
            paths = note_marks(inventory_files(run.hostvars, variables.get("groups") or {}), given)
        except (AltbackupError, OSError) as error:
            raise AnsibleError(
                f"what this run accepts, holds and releases cannot be noted, so nothing was done: {explain(error)}"
            ) from error
        return [f"noted in {', '.join(paths)}"]
