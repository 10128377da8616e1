"""Restores into servers, as the module does them: an order of a tarball of a base on this node."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers.servers import user_name
from helpers.trees import Base

from ansible_collections.altbackup.core.plugins.module_utils.restore.order import Order, parse_order
from ansible_collections.altbackup.core.plugins.module_utils.restore.restore import prepare, restore
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

NOW = "2013/05/14/090000"
ASIDE = ".20130514-090000"


def order_of(base: Base, tarball: Mapping[str, Any], into: Mapping[str, Any], folder: Path, **more: Any) -> Order:
    """Return the order that brings a tarball into a server."""
    return parse_order(
        {
            "destination": str(folder / "meanwhile"),
            "kind": tarball["record"]["kind"],
            "tarballs": [tarball],
            "base": str(base.path),
            "record": tarball["record"],
            "origin": {
                "item": f"{tarball['category']}/{tarball['name']}",
                "source": "db01",
                "stamp": tarball["stamp"],
                "node": "db01",
            },
            "into": {"user": user_name(), **into},
            **more,
        },
        NOW,
    )


def load(
    base: Base, tarball: Mapping[str, Any], into: Mapping[str, Any], folder: Path | None = None, **more: Any
) -> list[str]:
    """Restore a tarball into a server as the module does; return the notes. Nothing may be left where it was unpacked.

    What was killed in a `folder` is seen to by the next call that names it.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(dir="/tmp", prefix="meanwhile-") as name:
            return load(base, tarball, into, Path(name), **more)
    order = order_of(base, tarball, into, folder, **more)
    prepare(order, check_mode=True)
    try:
        first = prepare(order)
        result = restore(order, Deadline(300, "restore"))
    finally:
        assert list(folder.iterdir()) == []
    assert result["changed"] is True
    return [*first["notes"], *result["notes"]]


def foresee(base: Base, tarball: Mapping[str, Any], into: Mapping[str, Any], **more: Any) -> list[str]:
    """See in check mode whether a tarball can come into a server; return the notes."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="meanwhile-") as name:
        return list(prepare(order_of(base, tarball, into, Path(name), **more), check_mode=True)["notes"])
