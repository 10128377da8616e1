#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module tarball_rekey: encrypt older tarballs for other recipients."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tarball_rekey
short_description: Encrypt older tarballs for the recipients of today
version_added: 0.2.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits, altbackup.core.call.writing, altbackup.core.call.moment]
description:
  - Runs on a source. Opens what is encrypted to others than the recipients of today, and encrypts it to these, in pipes from C(age) to C(age), so that no
    plaintext is on any disk. Names, stamps, and what the dump recorded stay; digest, size and signature are new, and links stay links.
  - A tarball that cannot be opened, is damaged, or is not what its dump recorded stays as it is, and is a failure.
  - What came from a target is encrypted anew only if the source itself has signed it.
requirements:
  - age 1.1 or newer, and ssh-keygen
options:
  base:
    description: The base folder of a source; it or its parent holds the marker C(.altbackup/).
    type: path
    required: true
  step:
    description:
      - V(own) is the tree of the source itself, and makes folders for what comes from O(targets), below C(.altbackup/rekey/). V(target) makes of O(tarballs) of
        O(target) what goes back there. V(tidy) removes those folders.
    type: str
    choices: [own, target, tidy]
    default: own
  names:
    description: The items (category/name), none for all that are encrypted.
    type: list
    elements: str
    default: []
  items:
    description: Items of the source, of which those count that have an C(encrypt_to) of their own.
    type: list
    elements: dict
    default: []
  encrypt_to:
    description: The recipients of today of all other items.
    type: list
    elements: str
    default: []
  signing_key:
    description: The public key of the signatures of this source. With another one nothing is done.
    type: str
    default: ''
  targets:
    description: From where tarballs may come.
    type: list
    elements: str
    default: []
  target:
    description: From where O(tarballs) came.
    type: str
    default: ''
  tarballs:
    description: What that target holds, as M(altbackup.core.tarball_list) returns it with records.
    type: list
    elements: dict
    default: []
  identity:
    description: The private keys that open what is there, as the controller hands them over; never in a file.
    type: str
    default: ''
  identity_file:
    description: A file on this host that has them.
    type: path
    default: ''
attributes:
  check_mode:
    description: Tells what would be encrypted anew.
    support: full
"""

EXAMPLES = r"""
- name: Encrypt older tarballs for two new recipients
  altbackup.core.tarball_rekey:
    base: /home/scm/backup/dayabay
    encrypt_to:
      - age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
      - age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg
    identity_file: /media/key/backup.key
"""

RETURN = r"""
rekeyed:
  description: The tarballs that were encrypted anew, each with relpath, size, dig and alg of now, and, for a target, its record.
  returned: always
  type: list
  elements: dict
  sample: []
current:
  description: The encrypted tarballs of the source itself that are for the recipients of today now, as paths below the base.
  returned: always
  type: list
  elements: str
  sample: []
notes:
  description: What was left as it is, and why.
  returned: always
  type: list
  elements: str
  sample: []
failures:
  description: What could not be encrypted anew, and why.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.restore.order import identities_of
from ..module_utils.restore.rekey import STAGE, empty, parse_wanted_recipients, rekey, rekey_of_target, tidy
from ..module_utils.system.process_groups import end_with_children
from ..module_utils.system.processes import Deadline
from ..module_utils.tree.leftovers import run_on_tree
from ..module_utils.tree.locks import WRITING
from ..module_utils.tree.stamps import MOMENT

EMPTY: dict = {"rekeyed": [], "current": [], "notes": []}


def run(options: dict, check_mode: bool) -> dict:
    """Encrypt anew what a step is about; return the result."""
    if options["step"] == "tidy":
        return empty() if check_mode else tidy(options["base"])
    wanted = parse_wanted_recipients(options["items"], options["encrypt_to"], options["names"])
    given = {"signing_key": options["signing_key"], "deadline": Deadline(options["step_timeout"], "rekeying")}
    identities = identities_of(options, needed=False)
    if options["step"] == "own":
        return rekey(
            options["base"], wanted, identities=identities, targets=options["targets"], check_mode=check_mode, **given
        )
    if check_mode:
        return empty()
    return rekey_of_target(
        options["base"], wanted, options["target"], options["tarballs"], identities=identities, **given
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "required": True},
            "step": {"type": "str", "choices": ["own", "target", "tidy"], "default": "own"},
            "names": {"type": "list", "elements": "str", "default": []},
            "items": {"type": "list", "elements": "dict", "default": []},
            "encrypt_to": {"type": "list", "elements": "str", "default": []},
            "signing_key": {"type": "str", "default": "", "no_log": False},
            "targets": {"type": "list", "elements": "str", "default": []},
            "target": {"type": "str", "default": ""},
            "tarballs": {"type": "list", "elements": "dict", "default": []},
            "identity": {"type": "str", "default": "", "no_log": True},
            "identity_file": {"type": "path", "default": "", "no_log": False},
            **MOMENT,
            **WRITING,
        },
        supports_check_mode=True,
    )
    end_with_children()
    options, check_mode = module.params, module.check_mode
    run_on_tree(module, STAGE, EMPTY, lambda _: run(options, check_mode))


if __name__ == "__main__":
    main()
