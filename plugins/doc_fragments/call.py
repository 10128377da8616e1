# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules may be told of the call: the run that it belongs to, and its priority."""

from __future__ import annotations


class ModuleDocFragment:
    """Options that modules share: those of all, and of those that write."""

    WRITING = r"""
options:
  run:
    description:
      - The run of a playbook that this call belongs to, as its plan has it. The tree is that run's until M(altbackup.core.run_lock) gives it back.
      - Without it the tree is locked for this call alone, and not at all while it is another run's.
        So it is with a run of 0 seconds, but that one knows which runs of its controller are dead.
    type: dict
"""

    DOCUMENTATION = r"""
options:
  step_timeout:
    description: Seconds after which the call ends with a failure, its children and its reading of files.
    type: float
    default: 21600
  nice:
    description: Niceness of this call and of all that it starts, from 0 to 19.
    type: int
    default: 0
  ionice:
    description: Their class of input and output, C(idle), C(best-effort) or C(best-effort:0) to C(best-effort:7). Empty leaves it as it is.
    type: str
    default: ''
"""
