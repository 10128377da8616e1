# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether anybody would be told if this run failed."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mail_watch
author: altbackup developers (@altbackup)
version_added: 0.1.0
short_description: Whether anybody would be told if this run failed
description:
  - Judges the options of the callback P(altbackup.core.error_mail#callback) as that does.
  - Roles of this collection say at the start of a run what is wrong with them, and fail at its end where nobody watches.
options:
  harmless:
    description:
      - Whether the run changes nothing and proves nothing, such as a list or a prediction, so that it need not fail
        because nobody would be told. Mails that could not be sent for a day are a failure all the same.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Say whether failures would be noticed
  ansible.builtin.debug:
    msg: "{{ lookup('altbackup.core.mail_watch').notice }}"
"""

RETURN = r"""
_raw:
  description:
    - One mapping. C(notice) says what is wrong with the options of the mail, or that mails could not be sent for a day.
    - C(failure) is the same where that has to fail the run, as nobody sees it on a terminal. Both are empty if all is well.
  type: list
  elements: dict
  sample: [{notice: '', failure: ''}]
"""

import os
import time
from typing import Any

from ansible.plugins.lookup import LookupBase

from ..plugin_utils.mail import options as mail_options
from ..plugin_utils.mail.settings import UNHEARD
from ..plugin_utils.mail.spool import overdue


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup."""

    def run(self, terms: Any, variables: Any = None, **options: Any) -> list[dict[str, str]]:
        """Return what is wrong with the mail, and whether that fails the run."""
        settings = mail_options.load_settings()
        if not settings.tells:
            return [{"notice": "", "failure": ""}]
        problems = list(settings.problems)
        if not mail_options.is_enabled():
            problems.append(
                f"the callback is not enabled: set callbacks_enabled = {mail_options.CALLBACK} in ansible.cfg"
            )
        unwatched = f"{UNHEARD}: {'; '.join(problems)}" if problems else ""
        late = overdue(settings.spool, time.time())
        seen = bool(options.get("harmless")) or on_terminal(os.getppid())
        return [
            {
                "notice": ". ".join(filter(None, [unwatched, late])),
                "failure": ". ".join(filter(None, ["" if seen else unwatched, late])),
            }
        ]


def on_terminal(process: int) -> bool:
    """Return whether somebody watches a process's output on a terminal; under ansible-runner, whose terminal nobody sees, ask altbackup.

    Tasks are evaluated in processes without a terminal, so ask about their parent, ansible-playbook.
    """
    if "AWX_ISOLATED_DATA_DIR" in os.environ:
        return os.environ.get("ALTBACKUP_WATCHED") == "yes"
    try:
        return os.readlink(f"/proc/{process}/fd/2").startswith(("/dev/pts/", "/dev/tty"))
    except OSError:
        return False
