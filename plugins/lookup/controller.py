# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's inventory and this collection as one text."""

from __future__ import annotations

DOCUMENTATION = r"""
name: controller
author: altbackup developers (@altbackup)
version_added: 0.1.0
short_description: The controller's inventory and this collection, as one text
description:
  - Reads the inventory of this run and the folder of this collection as they are on disk. What is in a vault stays in it.
  - The text is what M(altbackup.core.tarball_dump) takes as its option C(controller). It is the same while nothing changes.
  - Private keys, and the files of passwords that this run was given or that are called like such, are left out.
  - What cannot be read is no error here, but a failure of that item when it is dumped, so that it stops no other.
options: {}
"""

EXAMPLES = r"""
- name: Dump the controller's inventory and this collection, too
  altbackup.core.tarball_dump:
    base: /home/scm/backup/dayabay
    stamp: 2013/05/10/104701
    items:
      - {kind: svn, name: dybsvn, path: /home/scm/svn/dybsvn}
    controller: "{{ lookup('altbackup.core.controller') }}"
"""

RETURN = r"""
_raw:
  description: One text, compressed.
  type: list
  elements: str
  sample: [eNqrVkrNK8ksqVSyUqiuVVAqKMpPyknNVbJSUKoFAIvqCXo=]
"""

import os
from typing import Any

from ansible import constants, context
from ansible.plugins.lookup import LookupBase

from ..module_utils.stages.controller import pack_controller
from ..module_utils.system.errors import AltbackupError
from ..plugin_utils.planning.controller_tree import controller_tree

_SETTINGS = ("BECOME_PASSWORD_FILE", "CONNECTION_PASSWORD_FILE", "DEFAULT_PRIVATE_KEY_FILE")


def secret_files() -> list[str]:
    """Return the files of passwords and keys that ansible.cfg, the environment or the command line name for this run."""
    given = context.CLIARGS
    identities = [*(given.get("vault_ids") or ()), *(constants.DEFAULT_VAULT_IDENTITY_LIST or ())]
    named = [
        *(given.get("vault_password_files") or ()),
        *(str(identity).rpartition("@")[2] for identity in identities),
        constants.DEFAULT_VAULT_PASSWORD_FILE,
        *(given.get(name) for name in ("become_password_file", "connection_password_file", "private_key_file")),
        *(constants.config.get_config_value(name) for name in _SETTINGS),
    ]
    return [os.path.expanduser(str(path)) for path in named if path]


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup."""

    def run(self, terms: Any, variables: Any = None, **options: Any) -> list[str]:
        """Return the packed tree, or a pack that holds the reason why it cannot be read."""
        sources = (variables or {}).get("ansible_inventory_sources") or []
        try:
            return [pack_controller(controller_tree([str(source) for source in sources], secrets=secret_files()))]
        except (AltbackupError, OSError) as error:
            return [pack_controller({}, f"what the controller is to add cannot be read there: {error}")]
