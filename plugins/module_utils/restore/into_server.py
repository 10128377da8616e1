"""Restoring into a server: see whether it can be done, verify, unpack, prove, and let the kind load it.

What was unpacked lies in a work folder beside the order's destination, at which nothing stands at the end. What is about to be made in
the server is noted before, in this user's own state, so that the next restore removes what a killed one left.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Mapping
from typing import Any

from ..kinds.into import Load
from ..kinds.loaders import loader_of
from ..system.digest import limited
from ..system.errors import AltbackupError, InvalidInput
from ..system.own_state import opened_state
from ..system.processes import Deadline, find_tool
from ..system.readers import Identity
from ..tree.locks import Run
from .order import Order, tools_for
from .replace import clear
from .room import require_arriving_space, require_space
from .signed import unlocked
from .unpacked import make_thing
from .work_folder import (
    LOADING,
    Work,
    by_descriptor,
    discard,
    is_left,
    read_json,
    remove,
    state_key,
    working,
    write_json,
)

_LOOKING = 120.0
"""Seconds for a look at the server before anything travels"""


def prepare_into(order: Order, *, check_mode: bool = False) -> dict[str, Any]:
    """Given an order into a server, see whether it can be done, as `restore.prepare` does for others. Raise AltbackupError or OSError."""
    deadline = Deadline(_LOOKING, "look at the server")
    order, unsigned = unlocked(order, deadline)
    result: dict[str, Any] = {"changed": True, "incoming": "", "notes": unsigned}
    load = _load_of(order, deadline)
    for tool in tools_for(order):
        find_tool(tool)
    if check_mode:
        if is_left(order.destination):
            result["notes"].append(f"would see to what an earlier restore into {order.place} had left")
            with opened_state(state_key(order.destination)) as (state, _):
                load.left = _left(state, order) or {}
        loader_of(order.kind).check(load)
        return {**result, **require_space(order), "notes": [*result["notes"], *load.notes]}
    with working(order.destination) as work, work.named():
        try:
            _clear(work, order, load)
            result["notes"] += load.notes  # what a look at the server tells, the restore itself tells again
            loader_of(order.kind).check(load)
            result.update(require_space(order))
            if not order.base:
                result["incoming"] = work.clear_arriving()
                require_arriving_space(order, work)
        except BaseException:
            discard(work)
            raise
        if order.base:
            discard(work)
    return result


def restore_into(order: Order, deadline: Deadline, *, run: Run | None = None) -> dict[str, Any]:
    """Given an order into a server that was prepared and whose tarballs are here, load it; return the result.

    Whatever fails, the server is as it was before, but for roles that it had to have. Raise AltbackupError or OSError.
    """
    start = time.monotonic()
    with working(order.destination) as work, work.named(), limited(deadline):
        try:
            order, unsigned = unlocked(order, deadline)
            load = _load_of(order, deadline)
            load.notes += [*unsigned, *clear(work, keep=not order.base)]
            _clear(work, order, load)
            load.path, proof, notes = make_thing(work, order, deadline, run)
            load.notes += notes
            load.note_made = lambda made: _note(work, order, made)
            loader_of(order.kind).load(load)
        finally:
            discard(work)
    told = [f"{order.place}: {note}" if note not in [*unsigned, *notes] else note for note in load.notes]
    return {
        "changed": True,
        "notes": told,
        "proof": proof,
        "aside": "",
        "marked": "",
        "diff": "",
        "seconds": round(time.monotonic() - start, 3),
    }


def _load_of(order: Order, deadline: Deadline) -> Load:
    user = str(order.into["user"])
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        raise InvalidInput(f"into: user {user!r} does not exist on this node") from None
    if os.geteuid() not in (0, uid):
        raise InvalidInput(f"into: only root can run programs as user {user!r}, but this is uid {os.geteuid()}")
    return Load(
        order.into,
        order.title,
        order.record,
        deadline,
        Identity(uid, viewed=False),
        aside=order.suffix,
        consent=order.consent,
    )


def _clear(work: Work, order: Order, load: Load) -> None:
    """Remove from the server what a killed restore left in it. Raise AltbackupError."""
    left = _left(work.state, order)
    if left is None:
        return
    load.left = left
    load.note_made = lambda made: _note(work, order, made)
    loader_of(order.kind).clear(load)
    load.left = {}


def _note(work: Work, order: Order, made: Mapping[str, Any]) -> None:
    """Keep what is about to be made in the server; nothing, if that is all that there is."""
    if made:
        write_json(work.state, LOADING, {**made, "server": _server_of(order), "place": order.place})
    else:
        remove(f"{by_descriptor(work.state)}/{LOADING}")


def _left(state: int, order: Order) -> dict[str, Any] | None:
    """Return what a killed restore had noted. Raise AltbackupError where that is of another server than the order's."""
    left = read_json(state, LOADING)
    if left is not None and left.get("server") != _server_of(order):
        raise AltbackupError(
            f"a restore of {order.destination} into {left.get('place')} was ended, and what it left in that server is still there. "
            "Nothing was done: restore there again, or give another path than this as to"
        )
    return left


def _server_of(order: Order) -> list[str]:
    return [order.kind, *(str(order.into.get(key, "")) for key in ("host", "port"))]


def abandon_into(order: Order) -> None:
    """Remove what was prepared for an order whose tarballs did not arrive."""
    if is_left(order.destination):
        with working(order.destination) as work:
            discard(work)
