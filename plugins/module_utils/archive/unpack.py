"""Unpacking with GNU tar, after an examination of the whole stream: until then an archive is untrusted."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from ..system import progress
from ..system.age import NOBODY, Identities
from ..system.digest import open_plain
from ..system.errors import AltbackupError, Hostile, InvalidInput
from ..system.opened import walk_open
from ..system.processes import Child, Deadline
from ..system.programs import clean_environment, find_tool
from ..system.sandbox import Sandbox, chown_tree
from ..system.units import told_apart
from ..system.visible import printable
from .attributes import Attributes
from .examine import check_child, decompressed, examine
from .owners import Owners
from .rules import SPECIAL, UNLIMITED, LeftOut, Limits, Special

_WARNINGS = 5
_LOOK_AGAIN = 0.2
"""Seconds between two readings of the free disk space"""


def unpack(
    tarballs: Sequence[str],
    folder: str,
    *,
    top: str,
    limits: Limits,
    deadline: Deadline,
    owners: bool,
    special_modes: bool = False,
    member: str = "",
    sandbox: Sandbox | None = None,
    keeper: Sandbox | None = None,
    admit: Callable[[int], None] = lambda needed: None,
    notes: list[str] | None = None,
    absent: Special | None = None,
    found_owners: Owners | None = None,
    title: str = "",
    look: str = "",
    identities: Identities = NOBODY,
) -> str:
    """Unpack tarballs (a full one, then its differential if any) into an empty private folder; return the path of the top folder.

    With `member`, a path inside the tarball that begins with the top folder, return the path of that one. With `owners` the archived owners (by number) and
    modes are set, else those of the running user. With a `sandbox` its user unpacks and owns everything; with a `keeper`, too, the sandbox only reads and tar
    runs in the keeper, which sets owners. Setuid and setgid bits, file capabilities, devices and named pipes are only restored with `special_modes`.

    `admit` is called with the needed bytes before anything is written, and may raise. `notes` receive what was left out or refused, `absent` the devices and
    pipes among it, `found_owners` all owners. `identities` open encrypted tarballs. In errors about the member `title` names the whole, and
    `look` is the command that shows what there is.

    Raise Hostile, before anything is written, for what no archive of this item holds; ToolFailed for a damaged one; InvalidInput for a missing member;
    DeadlineExceeded or OSError. The caller removes the folder.
    """
    wanted = clean_member(member, top)
    special: list[Special] = []
    replaced: list[str] = []
    links: set[str] = set()
    attributes: list[Attributes] = []
    needed, found = 0, ""
    left_out = LeftOut()
    with contextlib.ExitStack() as stack:
        for tarball in tarballs:
            if keeper is not None and owners:
                attributes.append(stack.enter_context(Attributes()))
            contents = examine(
                tarball,
                top=top,
                limits=limits,
                deadline=deadline,
                sandbox=sandbox,
                below=links,
                attributes=attributes[-1] if attributes else None,
                wanted=wanted,
                alone=len(tarballs) == 1,
                identities=identities,
            )
            needed += contents.stored
            found = contents.found or found
            left_out.add(contents.left_out)
            if found_owners is not None:
                found_owners.add(contents.owners)
            special.append(contents.special)
            replaced += contents.replaced
            links |= contents.links
        require_member(title or tarballs[-1], wanted, found, special_modes=special_modes, look=look)
        admit(needed)
        extract(
            tarballs,
            folder,
            owners=owners,
            special_modes=special_modes,
            special=special,
            replaced=replaced,
            member=wanted,
            deadline=deadline,
            sandbox=sandbox,
            keeper=keeper,
            attributes=attributes,
            notes=notes,
            identities=identities,
        )
    if notes is not None and not special_modes:
        notes += left_out.notes()
    if absent is not None and not special_modes:
        absent.update(special[-1])
    path = os.path.join(folder, wanted or top)
    if not os.path.lexists(path):
        require_member(title or tarballs[-1], wanted, "", special_modes=special_modes, look=look)
        raise InvalidInput(f"{tarballs[-1]} holds no {top}")
    return path


def require_member(title: str, member: str, found: str, *, special_modes: bool, look: str = "") -> None:
    """Raise InvalidInput unless the wanted member, empty for all, can be restored; `found` is what it is, see rules.Contents.

    `look` is the command that shows what there is.
    """
    shown = printable(repr(member))
    if member and not found:
        raise InvalidInput(f"{title}: member {shown} is not in it; what is, shows {look or 'tar -tf'}")
    if found in SPECIAL.values() and not special_modes:
        raise InvalidInput(f"{title}: member {shown} is {found}, which only comes with special_modes: true")


def extract(
    tarballs: Sequence[str],
    folder: str,
    *,
    deadline: Deadline,
    owners: bool,
    special_modes: bool = False,
    special: Sequence[Collection[str]] = (),
    replaced: Sequence[str] = (),
    member: str = "",
    sandbox: Sandbox | None = None,
    keeper: Sandbox | None = None,
    attributes: Sequence[Attributes] = (),
    reserve: int = 0,
    notes: list[str] | None = None,
    identities: Identities = NOBODY,
) -> None:
    """Unpack examined tarballs, as `unpack` does. Raise ToolFailed, Hostile, DeadlineExceeded or OSError.

    AltbackupError is raised when the disk has fewer free bytes than the `reserve`. Names in `special` of each tarball are excluded if devices are not to be
    made. Links of the full tarball that are in `replaced` are removed before the differential is unpacked. A confined tar that sets owners cannot set all
    attributes: `attributes` of each tarball are set after it. `notes` receive warnings and what could not be set.
    """
    as_user = keeper is None and sandbox is not None  # that user cannot make devices
    if keeper is None and sandbox is not None:
        chown_tree(folder, sandbox.identity())
    argv = _tar_command(owners, special_modes, as_user)
    if attributes:
        argv += ["--xattrs-exclude=trusted.*", "--xattrs-exclude=security.*"]
    argv += ["--listed-incremental=/dev/null"] if len(tarballs) > 1 else []
    # the entry for a file in a differential is in its folder's list
    names = ["--", member] if member and len(tarballs) == 1 else []
    omitted = special if as_user or not special_modes else ()
    for number, tarball in enumerate(tarballs):
        if number:
            _remove_links(folder, replaced)
        excluded = omitted[number] if number < len(omitted) else ()
        options = ["--anchored", "--no-wildcards", *(f"--exclude={name}" for name in excluded)]
        warnings = _extract(
            tarball, folder, [*argv, *options, *names], deadline, sandbox, keeper or sandbox, reserve, identities
        )
        _remove_files(folder, excluded if number else ())
        if attributes:
            attributes[number].apply(folder, special_modes=special_modes)
            warnings += attributes[number].refused()
        if notes is not None:
            notes += warnings
    _settle_modes(folder, owners=owners, special_modes=special_modes)


def _remove_links(folder: str, links: Sequence[str]) -> None:
    """Remove unpacked symbolic links, which GNU tar leaves if a rename in its differential fails."""
    for link in links:
        path = os.path.join(folder, link)
        if os.path.islink(path):
            os.unlink(path)


def _remove_files(folder: str, names: Iterable[str]) -> None:
    """Remove files of the full tarball in whose place its differential has something that was left out."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, name))


def clean_member(member: str, top: str) -> str:
    """Return a path inside a tarball as tar has it, without a slash at the end; empty for none. Raise InvalidInput.

    `./` at its beginning stands for the top folder.
    """
    if not member:
        return ""
    path = member.rstrip("/")
    parts = [top, *path.split("/")[1:]] if path.startswith("./") else path.split("/")
    if parts[0] != top or {"", ".", ".."} & set(parts) or "\0" in member:
        raise InvalidInput(
            f"member {printable(repr(member))} is not a path inside the tarball, which begins with {top}/ or, whatever that is, with ./"
        )
    return "/".join(parts)


def _tar_command(owners: bool, special_modes: bool, sandboxed: bool) -> list[str]:
    """Return the argv of GNU tar for the attributes to restore."""
    argv = [find_tool("tar"), "--extract", "--file=-", "--warning=no-timestamp", "--no-unquote", "--numeric-owner"]
    argv += ["--delay-directory-restore"]  # older tarballs have siblings between a folder and its content
    argv += ["--same-owner", "--same-permissions"] if owners else ["--no-same-owner", "--no-same-permissions"]
    if sandboxed:  # its user may not set them, and no proof reads them
        return [*argv, "--no-xattrs", "--no-acls", "--no-selinux"]
    argv += ["--xattrs", "--xattrs-include=*", "--acls"]
    return argv if special_modes else [*argv, "--xattrs-exclude=security.capability"]


def _extract(
    tarball: str,
    folder: str,
    argv: list[str],
    deadline: Deadline,
    sandbox: Sandbox | None,
    writer: Sandbox | None,
    reserve: int,
    identities: Identities,
) -> list[str]:
    """Unpack one tarball with GNU tar, reading in `sandbox` and writing in `writer`; return its warnings.

    Raise ToolFailed, DeadlineExceeded or OSError.
    """
    if writer is not None:  # sparse files may be larger than the disk; the needed bytes were checked
        argv = replace(writer, file_size=UNLIMITED).argv(argv, folder, deadline)
    environment = clean_environment(LC_ALL="C")  # names are treated as bytes
    with open_plain(tarball) as source, decompressed(tarball, source, deadline, sandbox, identities) as (stream, check):
        with progress.reading("unpacked", source), Child(
            argv, stdin=stream, cwd=folder, environment=environment, name="tar"
        ) as tar:
            if stream is not source:
                stream.close()  # only tar reads it
            with _ended_when_full(tar, folder, reserve):
                try:
                    check_child(tar, deadline, f"unpacking {tarball}")
                finally:
                    tar.end()
                check()
            warnings = tar.stderr().splitlines()
    more = [f"{len(warnings) - _WARNINGS} more warnings of tar"] if len(warnings) > _WARNINGS else []
    return [printable(line) for line in warnings[:_WARNINGS]] + more


@contextlib.contextmanager
def _ended_when_full(tar: Child, folder: str, reserve: int) -> Iterator[None]:
    """End tar when the disk of the folder has fewer free bytes than the reserve. Raise AltbackupError then."""
    over, found = threading.Event(), []

    def watch() -> None:
        while not over.wait(_LOOK_AGAIN):
            if (free := shutil.disk_usage(folder).free) < reserve:
                found.append(free)
                tar.end()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    try:
        if reserve:
            watcher.start()
        yield
    except AltbackupError as error:
        if not found:
            raise
        free, kept = told_apart(found[0], reserve)
        raise AltbackupError(
            f"only {free} were left on the disk of {folder} while it was unpacked, less than the {kept} that stay free: it was ended"
        ) from error
    finally:
        over.set()
        if reserve:
            watcher.join()


def _settle_modes(folder: str, *, owners: bool, special_modes: bool) -> None:
    """Clear setuid and setgid bits of files, and without `owners` let the owner read everything. Raise Hostile for special files."""
    for parent, folders, files, descriptor in walk_open(folder):
        for name in [*folders, *files]:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                continue
            if stat.S_ISDIR(status.st_mode):
                wanted = mode if owners else mode | 0o700
            elif stat.S_ISREG(status.st_mode):
                wanted = (mode if special_modes else mode & ~0o6000) | (0 if owners else 0o400)
            elif special_modes:
                continue
            else:
                raise Hostile(
                    f"{printable(os.path.join(parent, name))} is neither file, folder nor link: it was not announced"
                )
            if wanted != mode:
                os.chmod(name, wanted, dir_fd=descriptor)
