"""Proof of unpacked Git repositories: their objects and references are whole in fresh ones, which have nobody's configuration."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from typing import Any

from ..system.digest import digest_file, open_plain
from ..system.errors import InvalidInput, ProofFailed, ToolFailed
from ..system.sandbox import chown_tree
from ..system.twins import duplicate
from ..system.units import counted
from ..system.visible import printable
from ..tree.publish import remove_folder
from .base import listed
from .git_layout import find_repositories, heads_of_worktrees
from .git_objects import is_partial
from .git_tool import ENVIRONMENT, LISTING, OBJECT, PROMISED, References, parse_references, place_references
from .proofs import Proof

_DOT_GIT = ".git"
_GIT_DIED = 128
_PACK = re.compile(r"pack-[0-9a-f]{40,64}\.(?:pack|idx|promisor)")
_LOOSE_FOLDER = re.compile(r"[0-9a-f]{2}")
_LOOSE = re.compile(r"[0-9a-f]{38,62}")
_LFS_OBJECT = re.compile(r"[0-9a-f]{64}")
_LINK_LIMIT = 10


def prove_repositories(proof: Proof) -> None:
    """Objects and references of it, and of the submodules in it, are whole in fresh repositories; the references are those recorded."""
    top = "" if os.path.lexists(os.path.join(proof.path, "HEAD")) else _DOT_GIT
    top = top if os.path.lexists(os.path.join(proof.path, top)) else ""
    proof.plain(os.path.join(top, "HEAD"))
    try:
        paths = find_repositories(proof.require_folder(top), proof.deadline)
    except InvalidInput as error:
        raise proof.fail(str(error)) from error
    recorded = proof.record.get("modules")
    modules = dict(recorded) if isinstance(recorded, Mapping) else {}
    proof.facts["large"] = 0
    for path in filter(None, paths):
        name = printable(path)
        known = modules.pop(name, None)
        if proof.record and not isinstance(known, Mapping):
            raise proof.fail(f"it holds the repository {name} of a submodule, of which its dump recorded nothing")
        found, missing = _prove_repository(proof, os.path.join(top, path))
        _compare_repository(proof, f"{name}: ", known or {}, found, missing)
        if known and known.get("references") != found.digest:
            raise proof.fail(f"{name}: its references are not those that its dump recorded")
        proof.facts["modules"] = proof.facts.get("modules", 0) + 1
    if modules:
        raise proof.fail(f"repositories of submodules are missing: {listed(sorted(modules))}")
    found, missing = _prove_repository(proof, top)
    _compare_repository(proof, "", proof.record, found, missing)
    proof.compare("references", found.digest, "the digest of its references")
    proof.facts["count"] = len(found.lines)
    proof.keep_version("git")


def _compare_repository(proof: Proof, title: str, known: Mapping[str, Any], found: References, missing: int) -> None:
    """Raise ProofFailed where a repository has other numbers of things than its dump recorded."""
    expected = known.get("count", len(found.lines))
    if expected != len(found.lines):
        raise proof.fail(f"{title}it has {counted(len(found.lines), 'reference')}, but its dump recorded {expected}")
    expected = known.get("missing", 0) if known else missing
    if expected != missing:
        raise proof.fail(f"{title}it lacks {counted(missing, 'object')}, but its dump recorded {expected}")
    if missing:
        proof.notes.append(f"{title}it is a partial clone, and lacks {counted(missing, 'object')}")


def _prove_repository(proof: Proof, within: str) -> tuple[References, int]:
    """Prove the repository at a path in an item; return its references and the number of objects of a partial clone that are missing."""
    proof.plain(os.path.join(within, "HEAD"))
    folder = os.path.join(proof.path, within) if within else proof.path
    references = _archived_references(folder, proof.require_folder(os.path.join(within, "refs")))
    with proof.opened(proof.require_folder(os.path.join(within, "objects"))) as objects:
        fresh = os.path.join(proof.scratch, "fresh.git")
        remove_folder(fresh)
        try:
            _make_fresh(proof, folder, fresh, references, objects)
            heads = set(heads_of_worktrees(folder).values())
            missing = _count_missing(proof, fresh, references.objects() | heads)
            _fsck(proof, fresh, heads, partial=bool(missing))
            listing = proof.look("git", *_git(proof, fresh), *LISTING, environment=ENVIRONMENT)
        finally:
            remove_folder(fresh)
    found = parse_references(listing, references.head)
    if found.digest != references.digest:
        raise proof.fail(
            f"git does not show the references that are archived{f' in {printable(within)}' if within else ''}"
        )
    proof.facts["large"] += _check_large_files(proof, within)
    return found, missing


def _count_missing(proof: Proof, fresh: str, wanted: set[bytes]) -> int:
    """Return how many objects are missing where a pack says that its origin has more; elsewhere git's own check finds them.

    Raise ProofFailed if there is worse.
    """
    if not is_partial(os.path.join(fresh, "objects")):
        return 0
    names = b"".join(name + b"\n" for name in sorted(wanted))
    command = (*_git(proof, fresh), "rev-list", "--objects", "--stdin", "--missing=print")
    try:
        output = proof.look("git", *command, environment=ENVIRONMENT, input=names)
    except ToolFailed as error:
        if error.rc == _GIT_DIED:
            raise ProofFailed(str(error)) from error
        raise
    return sum(line.startswith(b"?") for line in output.splitlines())


def _git(proof: Proof, fresh: str) -> list[str]:
    limits = (
        "core.packedGitLimit=512m",
        "core.packedGitWindowSize=32m",
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "advice.graftFileDeprecated=false",
    )
    return [f"--git-dir={proof.inside(fresh)}", *(word for limit in limits for word in ("-c", limit))]


def _make_fresh(proof: Proof, folder: str, fresh: str, references: References, objects: str) -> None:
    """Make a repository without anybody's configuration, and put objects and references into it."""
    wide = any(len(name) == 64 for name in references.objects())
    form = ["--object-format=sha256"] if wide else []
    proof.look("git", "init", "--bare", "--quiet", "--template=", *form, proof.inside(fresh), environment=ENVIRONMENT)
    names = [name for name in os.listdir(objects) if _LOOSE_FOLDER.fullmatch(name)]
    for part, pattern in [("pack", _PACK), *((name, _LOOSE) for name in names)]:
        source, destination = os.path.join(objects, part), os.path.join(fresh, "objects", part)
        if os.path.isdir(source) and not os.path.islink(source):
            os.makedirs(destination, exist_ok=True)
            for name in filter(pattern.fullmatch, os.listdir(source)):
                if stat.S_ISREG(os.lstat(os.path.join(source, name)).st_mode):
                    duplicate(os.path.join(source, name), os.path.join(destination, name))
    shallow = os.path.join(folder, "shallow")
    if os.path.lexists(shallow):
        with open_plain(shallow) as stream, open(os.path.join(fresh, "shallow"), "wb") as copy:
            copy.writelines(line + b"\n" for line in stream.read().split() if OBJECT.fullmatch(line))
    place_references(references, fresh)
    chown_tree(fresh, proof.sandbox.identity())


def _fsck(proof: Proof, fresh: str, heads: set[bytes], *, partial: bool) -> None:
    """Let git check all objects, of a `partial` clone those that are there, and what heads of worktrees lead to.

    Raise ProofFailed unless they are whole; a note tells of old ones of odd form.
    """
    options = ("--no-dangling", "--no-reflogs", "--no-progress")
    command = [*_git(proof, fresh), *(PROMISED if partial else ())]
    if heads:
        names = sorted(name.decode() for name in heads)
        proof.look("git", *command, "fsck", "--connectivity-only", *options, *names, environment=ENVIRONMENT)
    try:
        proof.look("git", *command, "fsck", "--full", *options, environment=ENVIRONMENT)
    except ProofFailed as error:
        cause = error.__cause__
        packs = os.path.join(fresh, "objects", "pack")
        loose = any(map(_LOOSE_FOLDER.fullmatch, os.listdir(os.path.dirname(packs))))
        indexes = [os.path.join(proof.inside(packs), name) for name in os.listdir(packs) if name.endswith(".idx")]
        if not isinstance(cause, ToolFailed) or loose or not indexes:
            raise
        proof.look("git", *command, "verify-pack", *indexes, environment=ENVIRONMENT)
        proof.look("git", *command, "fsck", "--connectivity-only", *options, environment=ENVIRONMENT)
        first = next(iter(cause.stderr.splitlines()), "")
        proof.notes.append(
            f"its objects are whole, but git finds fault with the form of some, as it does in the live repository: {first}"
        )


def _archived_references(folder: str, loose: str) -> References:
    """Return HEAD and references of an archived repository, read as text. Raise ProofFailed for what is no reference."""
    found: dict[bytes, bytes] = {}
    packed = os.path.join(folder, "packed-refs")
    if os.path.lexists(packed):
        with open_plain(packed) as stream:
            for line in stream:
                if not line.startswith((b"#", b"^")):
                    value, _, name = line.rstrip(b"\n").partition(b" ")
                    found[name] = value
    for parent, _, files in os.walk(os.fsencode(loose)):
        for name in files:
            path = os.path.join(parent, name)
            found[os.path.relpath(path, os.fsencode(folder))] = _small(os.fsdecode(path))
    for name, value in found.items():
        parts = name.split(b"/")
        odd = parts[0] != b"refs" or any(part in (b"", b".", b"..") for part in parts)
        if odd or not (OBJECT.fullmatch(value) or value.startswith(b"ref: refs/")):
            raise ProofFailed(f"{printable(folder)}: {printable(os.fsdecode(name))} is no reference")
    lines = []
    for name, value in sorted(found.items()):
        target = value[5:] if value.startswith(b"ref: ") else b""
        lines.append((_resolved(found, value), name, target))
    return References(_small(os.path.join(folder, "HEAD")), tuple(lines))


def _small(path: str) -> bytes:
    with open_plain(path) as stream:
        return stream.read(4096).strip()


def _resolved(found: Mapping[bytes, bytes], value: bytes) -> bytes:
    for _ in range(_LINK_LIMIT):
        if not value.startswith(b"ref: "):
            break
        value = found.get(value[5:], b"")
    return value


def _check_large_files(proof: Proof, within: str) -> int:
    """Return the number of LFS objects; their names are the digests of what they hold. Raise ProofFailed for another one."""
    count = 0
    relative = os.path.join(within, "lfs", "objects")
    large = os.path.join(proof.path, relative)
    if os.path.islink(os.path.dirname(large)) or os.path.islink(large):
        proof.notes.append("its LFS objects lie behind a symbolic link, and are not in this copy")
        return 0
    for parent, _, files in os.walk(proof.require_folder(relative)) if os.path.lexists(large) else ():
        for name in filter(_LFS_OBJECT.fullmatch, files):
            path = os.path.join(parent, name)
            if digest_file(path, "sha256")[0] != name:
                raise proof.fail(f"the LFS object {name} holds other bytes than its name says")
            proof.deadline.remaining()
            count += 1
    return count
