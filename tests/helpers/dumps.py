"""One item at a dump, as its parts see it, without a reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from helpers.trees import SECOND, marked

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.kinds.base import Context
from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import parse_item
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump_state import ItemDump, Past
from ansible_collections.altbackup.core.plugins.module_utils.system.names import Directory
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.readers import Readers
from ansible_collections.altbackup.core.plugins.module_utils.tree.doubt import Limits
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import Marks


def dump_of(base: Path, *, kind: str = "folder", marks: Marks = Marks(), past: Past = Past(), **more: Any) -> ItemDump:  # noqa: B008 (frozen)
    """Given where a base is, or is to be made, return the dump of an item of a kind in the second night."""
    if not base.exists():
        marked(base)
    item = parse_item({"kind": kind, "name": "x", "path": "/srv/x"})
    context = Context(open_tree(str(base)), SECOND, Deadline(60), **more)
    return ItemDump(item, context, ArchiveFormat(".tar"), cast(Readers, None), Directory(), Limits(), marks, past)
