"""Orders of restores, as the module's options give them."""

from __future__ import annotations

from typing import Any

from helpers.trees import FIRST, SECOND

from ansible_collections.altbackup.core.plugins.module_utils.restore.order import Order, parse_order

NOW = "2013/05/11/090000"
FULL = {"relpath": f"svn/dybsvn/{FIRST}/dybsvn-12.tar.zst", "dig": "0" * 64, "size": 5, "alg": "sha256"}
DIFFERENTIAL = {**FULL, "relpath": f"svn/dybsvn/{SECOND}/dybsvn-13.diff.tar.zst"}


def order(stamp: str = NOW, **values: Any) -> Order:
    """Return an order as the module's options give it."""
    return parse_order({"destination": "/home/scm/svn/dybsvn", "kind": "svn", "tarballs": [FULL], **values}, stamp)
