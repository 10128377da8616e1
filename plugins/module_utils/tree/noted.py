"""Notes of dumps on an item that later dumps compare with and that are too large for a record: one file for each content.

`.altbackup/noted/<category>/<name>/<sha256 of its content>`. The record of each dump with that note has its digest, as `noted`, {what:
digest}, so a file belongs to those dumps, shows by its name whether it is intact, and is not written again if nothing changed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import IO, Any

from ..system.digest import CHUNK, new_hash
from ..system.errors import AltbackupError, name_os_errors
from .layout import TEMPORARY, Tree
from .private import opened_private, opened_private_file
from .publish import flush_folder, make_folders, prune_empty, remove_if_there, temporary_beside

_ALGORITHM = "sha256"
_DIGEST = re.compile("[0-9a-f]{64}", re.ASCII)


class NotNoted(AltbackupError):
    """A note named by a record is missing: the record came from another node, or is older than notes."""


def keep_noted(tree: Tree, key: str, blocks: Callable[[], Iterable[bytes]]) -> str:
    """Store a note on an item (category/name); return its digest. `blocks` yields its content from the beginning each time.

    A note that already exists is not written again. Raise OSError.
    """
    digest = new_hash(_ALGORITHM)
    for block in blocks():
        digest.update(block)
    name = str(digest.hexdigest())
    path = noted_path(tree, key, name)
    if os.path.lexists(path):
        return name
    make_folders(os.path.dirname(path), tree.private)
    temporary = temporary_beside(path)
    try:
        remove_if_there(temporary)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with name_os_errors(path), os.fdopen(descriptor, "wb") as stream:
            for block in blocks():
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        remove_if_there(temporary)
        raise
    flush_folder(os.path.dirname(path))
    return name


@contextlib.contextmanager
def _opened(tree: Tree, path: str) -> Any:
    try:
        with opened_private_file(tree, path) as stream:
            yield stream
    except FileNotFoundError as error:
        raise NotNoted(f"{path} is not there") from error


@contextlib.contextmanager
def open_noted(tree: Tree, key: str, record: Mapping[str, Any], what: str) -> Any:
    """Yield a dump's note as an open file; `record` is the dump's, `what` the word for the note.

    Raise NotNoted if there is none, AltbackupError, naming the file and what to do, if it is damaged, or OSError.
    """
    name = noted_by(record).get(what)
    if name is None:
        raise NotNoted(f"the dump of {record.get('relpath') or key} noted no {what}")
    path = noted_path(tree, key, name)
    with _opened(tree, path) as stream:
        if _digest_of(stream) != name:
            raise AltbackupError(
                f"{path}, which tells what {key} held, is damaged, so what changed since is not known: rm {shlex.quote(path)}   "
                "The next dump notes anew what it finds, and compares nothing with it"
            )
        stream.seek(0)
        yield stream


def _digest_of(stream: IO[bytes]) -> str:
    digest = new_hash(_ALGORITHM)
    while block := stream.read(CHUNK):
        digest.update(block)
    return str(digest.hexdigest())


def noted_by(record: Mapping[str, Any]) -> dict[str, str]:
    """Return {what: digest of the note} of a record."""
    recorded = record.get("noted")
    entries = recorded.items() if isinstance(recorded, Mapping) else ()
    return {str(what): name for what, name in entries if isinstance(name, str) and _DIGEST.fullmatch(name)}


def noted_path(tree: Tree, key: str, name: str) -> str:
    """Return the path of a note on an item; `name` is its digest."""
    return os.path.join(_folder(tree, key), name)


def _folder(tree: Tree, key: str) -> str:
    return tree.private_path("noted", *key.split("/"))


def forget_noted(tree: Tree, key: str, wanted: Collection[str]) -> None:
    """Remove all notes on an item but the `wanted` digests, which its records name; this process must have locked the tree.

    Raise BaseUnusable behind a link, or OSError.
    """
    folder = _folder(tree, key)
    with opened_private(tree, folder) as top:
        if top is None:
            return
        for name in os.listdir(top):
            if name not in wanted and (_DIGEST.fullmatch(name) or name.startswith(TEMPORARY)):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=top)
    prune_empty(folder, tree.private)
