#!/usr/bin/python
# Copyright: (c) 2026, altbackup developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module dna: sidecars of given tarballs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dna
short_description: Compute and write the dna sidecars of tarballs
version_added: 0.1.0
author: altbackup developers (@altbackup)
extends_documentation_fragment: [altbackup.core.call, altbackup.core.call.limits]
description:
  - Computes the digest and size of each tarball and writes them to the sidecar beside it, through a temporary name.
  - A sidecar that matches is left as it is, in whatever form and algorithm.
  - One that does not match, or is malformed, is a failure, unless forced - it may be the tarball that is damaged.
options:
  path:
    description: Absolute paths of tarballs.
    type: list
    elements: path
    required: true
  algorithm:
    description: The digest of new sidecars.
    type: str
    choices: [sha256, sha512, md5]
    default: sha256
  force:
    description: Whether a sidecar that mismatches or is malformed is replaced.
    type: bool
    default: false
attributes:
  check_mode:
    description: Computes, but writes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Give a tarball that was copied by hand its sidecar
  altbackup.core.dna:
    path:
      - /data/backup/dayabay/svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz
    algorithm: md5
"""

RETURN = r"""
dna:
  description: The dna of each tarball whose sidecar now matches it.
  returned: always
  type: list
  elements: dict
  sample:
    - path: /data/backup/dayabay/svn/dybsvn/2013/05/10/104701/dybsvn-20496.tar.gz
      dig: 7b87e78cc03ea544e2ad3abae46eecd1
      size: 1915051630
      alg: md5
failures:
  description: What went wrong, one entry a tarball.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.system import compiled_once  # noqa: F401  # isort: skip
from ..module_utils.stages.dna import write_dnas
from ..module_utils.tree.locks import READING, run_unlocked
from ..module_utils.tree.module_call import run_module

EMPTY: dict = {"dna": []}


def run(options: dict, check_mode: bool) -> dict:
    """Write the sidecars; return the result."""
    return write_dnas(options["path"], options["algorithm"], options["force"], check_mode=check_mode)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "list", "elements": "path", "required": True},
            "algorithm": {"type": "str", "choices": ["sha256", "sha512", "md5"], "default": "sha256"},
            "force": {"type": "bool", "default": False},
            **READING,
        },
        supports_check_mode=True,
    )
    options = module.params
    run_module(module, "dna", EMPTY, lambda: run_unlocked(options, lambda: run(options, module.check_mode)))


if __name__ == "__main__":
    main()
