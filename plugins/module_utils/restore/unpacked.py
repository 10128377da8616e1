"""The restored file or folder in a work folder: unpacked, proved, and with its final owners, mode and label."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..archive.owners import Owners
from ..archive.rules import Limits, Special
from ..archive.unpack import unpack
from ..kinds.proofs import prove
from ..kinds.registry import kind_of
from ..system.errors import AltbackupError, InvalidInput
from ..system.names import Directory, Names
from ..system.processes import Deadline
from ..system.sandbox import Sandbox, for_unpacking, is_allowed
from ..system.visible import printable
from ..tree.layout import plain_status
from ..tree.locks import Run
from .order import Order, owner_of
from .owners import all_below, apply_names, change_owner, renumber
from .room import explain_too_large, require_room
from .verified import verified_archives
from .work_folder import Work, nearest_folder

MOST_BYTES = 1 << 62
_SELINUX = "security.selinux"


def unpack_item(work: Work, order: Order, deadline: Deadline, run: Run | None) -> tuple[str, dict[str, Any], list[str]]:
    """Unpack an order's tarballs into a work folder and prove the item; return its path there, its proof and notes.

    The proof of a member is empty.
    """
    keeper, reader, notes = sandboxes(order, deadline)
    absent: Special = {}
    owners = Owners()
    item = order.origin.get("item")
    proof: dict[str, Any] = {}
    with verified_archives(work, order, run, deadline) as paths:
        new = _unpack(order, paths, work.folder("unpacked"), deadline, reader, keeper, notes, absent, owners)
    if order.member:
        notes.append(
            f"{item}: a part of a tarball is not proven, only that the tarball is the one that its dna tells of"
        )
    else:
        scratch = work.folder("scratch")
        proof = prove(order.kind, new, order.record, scratch, deadline, Sandbox(order.proof_user), absent)
        notes += [f"{item}: {note}" for note in proof["notes"]]
        new = _path_to_place(order, new)
    renumbering = renumber(names_wanted(order, owners), Directory())
    notes += apply_names(work.descriptor, _below(work, new), renumbering)
    _set_attributes(work, order, new)
    return new, proof, notes


def names_wanted(order: Order, owners: Owners) -> Names:
    """Return the archived names of owners that apply: none if owners are not restored, are given, or are restored by number."""
    if os.geteuid() != 0 or order.numeric:
        return Names()
    names = owners.names()
    return Names({} if order.owner else names.users, {} if order.group else names.groups)


def _below(work: Work, path: str) -> bytes:
    """Return a path relative to the work folder."""
    return os.fsencode(os.path.relpath(path, work.path))


def sandboxes(order: Order, deadline: Deadline) -> tuple[Sandbox | None, Sandbox | None, list[str]]:
    """Return the sandbox of tar, that of programs that read the result, and notes; both None, with a note, if the kernel cannot confine."""
    keeper = for_unpacking(order.special_modes)
    if is_allowed(keeper, deadline):
        return keeper, Sandbox(order.proof_user), []
    note = "this host's kernel does not allow to confine programs: tar unpacked unconfined, what its own list shows to be what was judged"
    return None, None, [note]


def _unpack(
    order: Order,
    paths: Sequence[str],
    folder: str,
    deadline: Deadline,
    reader: Sandbox | None,
    keeper: Sandbox | None,
    notes: list[str],
    absent: Special,
    owners: Owners,
) -> str:
    """Unpack into an empty folder, with modes and, as root, owners by number; return the path of what is wanted.

    `notes`, `absent` and `owners` are filled by `unpack`. Raise AltbackupError, before anything is written, if there is no room for it;
    holes of sparse files take none.
    """
    part = bool(order.member) and len(paths) == 1
    limits = Limits(MOST_BYTES if part else nearest_folder(order.destination).free)
    copies = 1 if order.member or kind_of(order.kind).is_tree else 2  # proving copies the item
    mask = os.umask(0)
    try:
        with explain_too_large(order, limits.bytes):
            return unpack(
                paths,
                folder,
                top=order.top,
                limits=limits,
                deadline=deadline,
                owners=os.geteuid() == 0,
                special_modes=order.special_modes,
                member=order.member_path,
                sandbox=reader,
                keeper=keeper,
                admit=lambda needed: require_room(order, needed * copies),
                notes=notes,
                absent=absent,
                found_owners=owners,
                title=order.title,
                look=order.look,
                identities=order.identities,
            )
    finally:
        os.umask(mask)


def _path_to_place(order: Order, top: str) -> str:
    """Return the path of what is placed at the destination, by the unpacked top folder. Raise AltbackupError.

    That is the top folder, the one file in it or, if the destination is a repository's inner folder (`.git`), that folder.
    """
    kind = kind_of(order.kind)
    own = os.path.join(top, kind.inner)
    if kind.inner and os.path.basename(order.destination) == kind.inner and os.listdir(top) == [kind.inner]:
        return own if os.path.isdir(own) and not os.path.islink(own) else top
    if not kind.is_file:
        return top
    names = os.listdir(top)
    path = os.path.join(top, names[0]) if len(names) == 1 else ""
    if plain_status(path) is None:
        raise AltbackupError(
            f"{order.title} holds {len(names)} entries where one database file was expected: nothing was restored"
        )
    return path


def _set_attributes(work: Work, order: Order, root: str) -> None:
    """Set owner, group and label of all that was unpacked, and the mode of its top.

    No link is followed, and no path is resolved that others could change meanwhile.
    """
    uid, gid = owner_of(order)
    top = _below(work, root)
    if (uid, gid) != (-1, -1) or order.selinux:
        for folder, name in all_below(work.descriptor, top):
            if (uid, gid) != (-1, -1):
                change_owner(folder, name, uid, gid)
            if order.selinux:
                _set_label(folder, name, order.selinux)
    if order.mode:
        if os.path.islink(root):
            raise InvalidInput(f"mode {order.mode} cannot be given: what was restored is a link")
        os.chmod(top, int(order.mode, 8), dir_fd=work.descriptor)


def _set_label(folder: int, name: bytes, label: str) -> None:
    path = b"/proc/self/fd/%d/%s" % (folder, name)
    try:
        os.setxattr(path, _SELINUX, label.encode() + b"\0", follow_symlinks=False)
    except OSError as error:
        reason = f"selinux {label!r} cannot be given to {printable(os.fsdecode(name))}: {error.strerror}"
        raise AltbackupError(f"{reason}: leave it out on a host without SELinux") from error
