"""The options of each module call, from the plan and the state of the run. Pure, except for the clock.

Each function takes the run, the call's entry of loops.py ({} for the host itself) and the options that the task gives, and returns the
options that it lacks, or None if there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .backup_options import (
    accept_options,
    check_options,
    dump_options,
    list_options,
    lock_options,
    prepare_options,
    send_options,
)
from .carry_options import carry_options, heal_options
from .handed import Options
from .preflight_options import examine_options, preflight_options
from .purge_options import mark_options, purge_options, undo_options
from .rekey_options import rekey_options
from .restore_options import (
    adopt_options,
    contents_options,
    drill_away_options,
    drill_options,
    find_options,
    restore_options,
)
from .run import Run
from .store_options import store_drill_options, store_fetch_options, store_options
from .trust_calls import access_options, key_options


def options_of(module: str, run: Run, about: Mapping[str, Any], given: Mapping[str, Any]) -> Options | None:
    """Return the options of a call, as described above; {} for a module that needs none. `module` is the short name."""
    complete = COMPLETED.get(module)
    return complete(run, about, given) if complete else {}


COMPLETED: dict[str, Callable[[Run, Mapping[str, Any], Mapping[str, Any]], Options | None]] = {
    "node_examine": examine_options,
    "pair_access": access_options,
    "pair_key": key_options,
    "preflight": preflight_options,
    "restore_adopt": adopt_options,
    "run_lock": lock_options,
    "store_drill": store_drill_options,
    "store_fetch": store_fetch_options,
    "store_sync": store_options,
    "tarball_accept": accept_options,
    "tarball_carry": carry_options,
    "tarball_check": check_options,
    "tarball_contents": contents_options,
    "tarball_drill": drill_options,
    "tarball_drill_away": drill_away_options,
    "tarball_dump": dump_options,
    "tarball_find": find_options,
    "tarball_heal": heal_options,
    "tarball_list": list_options,
    "tarball_mark": mark_options,
    "tarball_prepare": prepare_options,
    "tarball_purge": purge_options,
    "tarball_rekey": rekey_options,
    "tarball_restore": restore_options,
    "tarball_send": send_options,
    "tarball_undo": undo_options,
}
"""{module: returns the options of its calls}, for every module that stages call"""
