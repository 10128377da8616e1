"""Proofs: an unpacked item is what its dump recorded, and the engine whose data it is finds no fault with it.

What is proved may be hostile. Programs read it in a sandbox; nothing archived is loaded as configuration or run as a hook.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..system.errors import InvalidInput, ProofFailed, ToolFailed
from ..system.paths import is_within
from ..system.processes import Deadline, run
from ..system.programs import find_tool
from ..system.sandbox import Sandbox, chown_tree, inside
from ..system.twins import set_mode
from ..system.visible import printable
from ..tree.publish import remove_folder
from .registry import KINDS, kind_of


def prove(
    kind: str,
    path: str,
    record: Mapping[str, Any],
    scratch: str,
    deadline: Deadline,
    sandbox: Sandbox,
    absent: Mapping[str, tuple[bytes, str]] | None = None,
    verify: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Prove that an unpacked item restores; `record` is what its dump recorded of it, `scratch` a private folder.

    Of a folder, `absent` are the members that were left out: {name in the archive: (type, what a hard link leads to)}.

    `verify` is the argv of a program that is to judge it, which comes from the inventory, never from what a dump recorded.
    Return `facts` (what was found), `versions` (of the programs that looked) and `notes` (what could not be compared).
    The item is not changed; what the sandbox's user cannot read, or is not in the scratch folder, is copied there first.
    Raise ProofFailed, naming what differs; ToolFailed, DeadlineExceeded, InvalidInput or OSError where nothing was proved.
    """
    if kind not in KINDS:
        raise InvalidInput(f"kind {kind!r}: there is no proof of it, but of {', '.join(KINDS)}")
    work = Proof(path, record, scratch, deadline, sandbox, absent or {}, verify or ())
    work.require_folder("")
    if not record:
        work.notes.append("its dump left no record: what it holds was compared with nothing")
    kind_of(kind).prove(work)
    return {"facts": work.facts, "versions": work.versions, "notes": work.notes}


@dataclass
class Proof:
    """One proof, and what it found."""

    path: str
    record: Mapping[str, Any]
    scratch: str
    deadline: Deadline
    sandbox: Sandbox
    absent: Mapping[str, tuple[bytes, str]] = field(default_factory=dict)
    verify: Sequence[str] = ()
    name: str = ""
    """What messages call it; else it is the name of its folder"""
    facts: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What messages call the item."""
        return printable(self.name or os.path.basename(self.path))

    def fail(self, reason: str) -> ProofFailed:
        """Return the failure of this proof."""
        return ProofFailed(f"{self.title}: {reason}")

    def compare(self, name: str, found: Any, what: str = "") -> None:
        """Keep a fact and compare it with the record. Raise ProofFailed where they differ."""
        self.facts[name] = found
        if name in self.record:
            if self.record[name] != found:
                raise self.fail(f"{what or name} is {found}, but its dump recorded {self.record[name]}")
        elif self.record:
            self.notes.append(f"its dump recorded no {what or name}")

    def keep_version(self, tool: str, *arguments: str) -> None:
        """Keep which version of a program looked. Raise ToolFailed."""
        self.versions[tool] = version_of(tool, self.deadline, *arguments)

    def look(self, tool: str, *arguments: str, **options: Any) -> bytes:
        """Run a program on it in the sandbox. Raise ProofFailed where it finds a fault."""
        argv = [find_tool(tool), *arguments]
        try:
            return self.sandbox.run(argv, self.scratch, what=self.title, deadline=self.deadline, **options)
        except ToolFailed as error:
            if error.rc is not None and 0 < error.rc < 125:
                raise ProofFailed(str(error)) from error
            raise

    def told(self, text: bytes) -> dict[str, Any]:
        """Return the mapping that a program in the sandbox printed as JSON. Raise ProofFailed where it is none: what it read may be hostile."""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self.fail("what looked at it in the sandbox said nothing that can be understood")
        return found

    def inside(self, path: str) -> str:
        """Return a path as the sandbox sees it."""
        return inside(self.scratch, path)

    @contextlib.contextmanager
    def opened(self, path: str = "") -> Iterator[str]:
        """Let the sandbox's user have the scratch folder, and yield where it can read a file or folder there."""
        uid, gid = self.sandbox.identity()
        set_mode(self.scratch, 0o700)
        if os.geteuid() == 0:
            os.chown(self.scratch, uid, gid)
        source = path or self.path
        if os.lstat(source).st_uid == uid and is_within(source, self.scratch):
            yield source
            return
        copied = os.path.join(self.scratch, "copy")
        remove_folder(copied)
        os.mkdir(copied, 0o700)
        try:
            destination = os.path.join(copied, os.path.basename(source))
            argv = [find_tool("cp"), "-R", "-P", "--reflink=auto", "--no-preserve=mode", "--", source, destination]
            run(argv, what=f"copying {printable(source)} for its proof", deadline=self.deadline)
            chown_tree(copied, (uid, gid))
            yield destination
        finally:
            remove_folder(copied)

    def plain(self, relative: str) -> str:
        """Return the path of a file of the item. Raise ProofFailed if none is there, or only one behind a link."""
        path = self._unlinked(relative)
        if not os.path.isfile(path):
            raise self.fail(f"{printable(relative)} is missing, or no file")
        return path

    def require_folder(self, relative: str) -> str:
        """Return the path of a folder of the item. Raise ProofFailed if none is there, or only one behind a link."""
        path = self._unlinked(relative)
        if not os.path.isdir(path):
            raise self.fail(f"{printable(relative) or 'the item itself'} is missing, or no folder")
        return path

    def _unlinked(self, relative: str) -> str:
        path = self.path
        for part in ["", *relative.split("/")] if relative else [""]:
            path = os.path.join(path, part) if part else path
            if part in (".", "..") or os.path.islink(path):
                raise self.fail(f"{printable(relative) or 'the item itself'} is, or lies behind, a symbolic link")
        return path


def version_of(tool: str, deadline: Deadline, *arguments: str) -> str:
    """Return the version of an installed program. Raise ToolFailed."""
    argv = [find_tool(tool), *(arguments or ("--version",))]
    output = run(argv, what=f"asking {tool} for its version", deadline=deadline).decode("utf-8", "replace")
    found = re.search(r"\d+(?:\.\d+)+", output)
    return found.group() if found else output.strip()
