"""An inventory of two sources and two targets, as the plan takes it, and its plan with changes."""

from __future__ import annotations

import copy
from typing import Any

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan import build_plan

NOW = 1368182821.0
STAMP = "2013/05/10/104701"
SVN = {"kind": "svn", "name": "dybsvn", "path": "/home/scm/svn/dybsvn"}
TRAC = {"kind": "trac", "name": "dybsvn", "path": "/home/scm/tracs/dybsvn"}
FOLDER = {"kind": "folder", "name": "svnsetup", "path": "/etc/apache2/svnsetup/", "keep": "5", "exclude": ["*.pyc"]}
GIT = {"kind": "git", "name": "toolbox", "path": "/home/scm/git/toolbox.git"}
VARIABLES: dict[str, dict[str, Any]] = {
    "dayabay": {
        "altbackup_base": "/home/scm/backup/dayabay/",
        "altbackup_items": [SVN, TRAC, FOLDER],
        "altbackup_targets": ["cms01", "sdu"],
        "altbackup_keep": 4,
    },
    "juno": {"altbackup_base": "/backup", "altbackup_items": [GIT], "altbackup_targets": ["sdu"]},
    "cms01": {
        "altbackup_target_base": "/data/backup/",
        "altbackup_keep": "2",
        "altbackup_keep_daily": "5",
        "altbackup_target_slots": 3,
    },
    "sdu": {"altbackup_target_base": "/data/backup"},
}
GROUPS = {"all": list(VARIABLES), "sources": ["dayabay", "juno"], "targets": ["cms01", "sdu"]}
NO_RULES = {"daily": 0, "weekly": 0, "monthly": 0, "yearly": 0, "within": 0}
TARGET_RULES = {"daily": 7, "weekly": 4, "monthly": 6, "yearly": 0, "within": 86400.0}


def plan_of(
    changes: dict[str, dict[str, Any]] | None = None,
    groups: dict[str, list[str]] | None = None,
    connection: dict[str, dict[str, Any]] | None = None,
    every: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Given changes of variables by host (None: removed), other groups, and variables of every host, return the plan."""
    variables = copy.deepcopy(VARIABLES)
    for host, changed in (changes or {}).items():
        variables.setdefault(host, {}).update(changed)
    for values in variables.values():
        values.update(every or {})
    return build_plan(variables, GROUPS | (groups or {}), connection or {}, NOW, **options)
