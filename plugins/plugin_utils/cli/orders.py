"""The playbook and variables of each command, from its arguments. Pure."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...module_utils.kinds.sets import SET
from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.visible import one_line, visible
from ...module_utils.tree.stamps import day_of, is_stamp
from ..planning.yaml_text import is_collection, read_yaml
from .items import split_item


@dataclass(frozen=True)
class Order:
    """A playbook with variables, limited to hosts or nodes."""

    playbook: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    limit: str = ""
    check: bool = False

    def words(self, inventory: Sequence[str] = (), passed: Sequence[str] = ()) -> list[str]:
        """Return the words of the equivalent `altbackup run`; `passed` are further options for ansible-playbook."""
        words = ["run", self.playbook]
        for name in inventory:
            words += ["-i", name]
        words += ["--limit", self.limit] if self.limit else []
        words += ["--check"] if self.check else []
        if self.variables:
            text = json.dumps(self.variables, ensure_ascii=False)
            words += ["-e", text if visible(text) == text else json.dumps(self.variables)]
        return [*words, *passed]


def listing(item: str = "", file: str = "") -> Order:
    """Return the order that lists all tarballs; `item` is unused, as one call lists all items of a node."""
    return Order("list.yml", {"altbackup_list_file": file} if file else {})


def looking(step: str, file: str = "", **wanted: Any) -> Order:
    """Return the order that looks into tarballs with contents.yml; empty values of `wanted` are left out."""
    contents = {"step": step, **{name.rstrip("_"): value for name, value in wanted.items() if value}}
    return Order("contents.yml", {"altbackup_contents": contents, **({"altbackup_list_file": file} if file else {})})


def restoring(
    item: str,
    *,
    at: str = "",
    file: str = "",
    to: str = "",
    to_host: str = "",
    node: str = "",
    aside: bool = False,
    check: bool = False,
    path: str = "",
    kind: str = "",
    into: str = "",
    ending: bool = False,
) -> Order:
    """Return the order that restores an item; `path` is the item's place on its source, and `kind` its kind, "" if not known. Raise InvalidInput.

    `into` is a database of a server, or a mapping of YAML that tells more of it; `ending` whether its sessions may be ended.
    """
    source, first, name = split_item(item)
    entry: dict[str, Any] = {"source": source, "kind": kind or first, "name": name}
    more = {"at": at, "from": node, "to_host": to_host, "to": to, "member": member(file, path) if file else ""}
    entry.update({key: value for key, value in more.items() if value})
    if to and not os.path.isabs(to):
        raise InvalidInput(f"--to {one_line(to)} is not an absolute path")
    if into:
        entry["into"] = _server(into)
    if aside:
        entry["replace"] = "move_aside"
    if ending or (aside and not into):
        entry["consent"] = True
    elif aside and entry["kind"] == SET:
        entry["consent"] = "files"
    return Order("restore.yml", {"altbackup_restore": [entry]}, check=check)


def _server(text: str) -> dict[str, Any]:
    """Return where an item is to be loaded, from the name of a database or a mapping in YAML. Raise InvalidInput."""
    if not is_collection(text):
        return {"database": text}
    try:
        value = read_yaml(text)
    except InvalidInput as error:
        raise InvalidInput(f"--into: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInput(
            f"--into {one_line(text)} is neither the name of a database nor a mapping, like {{database: wiki, login: loader}}"
        )
    return value


def member(file: str, path: str) -> str:
    """Return the member for `file`, named as `ls` shows it or by its path on the source below the item's `path`. Raise InvalidInput."""
    if not file.startswith("/"):
        return f"./{file.removeprefix('./')}"
    below = os.path.normpath(file)
    top = os.path.normpath(path) if path else ""
    if top and below.startswith(f"{top}/"):
        return f"./{below[len(top) + 1 :]}"
    raise InvalidInput(
        f"--file {one_line(file)} is not in the item{f', which is {one_line(path)}' if path else ''}: write it as ls shows it"
    )


def adopting(items: Sequence[str]) -> Order:
    """Return the order that takes restored items for live data."""
    return Order("restore.yml", {"altbackup_adopt": list(items)})


def accepting(item: str, at: str, *, check: bool = False) -> Order:
    """Return the order that accepts suspects of an item, up to the stamp `at`, all for "". Raise InvalidInput."""
    if at and not is_stamp(at):
        raise InvalidInput(
            "--at takes the stamp of the last one that is accepted, like 2026/11/23/013000, as list shows it"
        )
    return Order("mark.yml", {"altbackup_accept": [f"{item}/{at}" if at else item]}, check=check)


def holding(item: str, stamp: str, why: str, *, check: bool = False) -> Order:
    """Return the order that holds the tarball of a stamp."""
    return Order("mark.yml", {"altbackup_hold": {f"{item}/{stamp}": why}}, check=check)


def releasing(item: str, stamp: str, *, check: bool = False) -> Order:
    """Return the order that releases the held tarball of a stamp."""
    return Order("mark.yml", {"altbackup_release": [f"{item}/{stamp}"]}, check=check)


def retiring(item: str, day: str, *, check: bool = False) -> Order:
    """Return the order that retires an item from a day on, or with "" takes that back."""
    source, _, key = item.partition("/")
    return Order("mark.yml", {"altbackup_retired": {key: day_of(day) if day else ""}}, limit=source, check=check)


def drilling(nodes: Sequence[str], *, check: bool = False) -> Order:
    """Return the order that proves that copies restore, on these nodes or all."""
    return Order("drill.yml", limit=",".join(nodes), check=check)


def checking(nodes: Sequence[str], day: str, *, everything: bool = False, check: bool = False) -> Order:
    """Return the order that reads the tarballs of a day, or all, on these nodes or all; a stamp is of its day."""
    variables = {"altbackup_day": day_of(day)} if day else {}
    more = {"altbackup_check_scope": "all"} if everything else {}
    return Order("check.yml", {**variables, **more}, limit=",".join(nodes), check=check)
