"""State of this user's calls on a host that has no base: in a private folder where nobody else can write."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator

from .errors import AltbackupError, InvalidInput
from .opened import make_below, open_own, owner_name, walked
from .seeing import is_there

ROOTS_FOLDER = "/var/lib/altbackup"
USERS_FOLDER = ".local/state/altbackup"
"""Relative to the home in the user's passwd entry"""


def state_folder() -> str:
    """Return the path of the private folder. Raise AltbackupError for a user without a home."""
    uid = os.geteuid()
    if uid == 0:
        return ROOTS_FOLDER
    try:
        home = pwd.getpwuid(uid).pw_dir
    except KeyError:
        raise AltbackupError(f"uid {uid} has no entry in passwd, so no home in which its state could be kept") from None
    return os.path.join(home, USERS_FOLDER)


@contextlib.contextmanager
def opened_state(name: str) -> Iterator[tuple[int, str]]:
    """Yield the folder of that name in the private one, open, and its path; missing folders are made.

    Raise AltbackupError if others can write there, or it cannot be made.
    """
    with opened_folder(os.path.join(state_folder(), name)) as found:
        yield found


@contextlib.contextmanager
def opened_folder(path: str) -> Iterator[tuple[int, str]]:
    """Yield a private folder of this user, open, and its path without links; missing folders are made.

    Raise AltbackupError if others can write there, or it cannot be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            steps, missing = stack.enter_context(walked(path))
            made = make_below(steps[-1], missing, 0o700)
        except OSError as error:
            reason = (
                f"{path}, in which {owner_name(os.geteuid())} keeps what is under way, cannot be used: {error.strerror}"
            )
            raise AltbackupError(f"{reason}: {error.filename or path}") from error
        for step in made:
            stack.callback(os.close, step.descriptor)
        last = [*steps, *made][-1]
        above = [*steps, *made][-2]
        if not last.held:
            raise InvalidInput(
                f"{path}, in which {owner_name(os.geteuid())} keeps what is under way, lies in a folder that others can change: "
                f"let {above.path}, and all above it, be written by root and {owner_name(os.geteuid())} alone"
            )
        descriptor = open_own(os.path.basename(last.path), above.descriptor, last.path)
        stack.callback(os.close, descriptor)
        yield descriptor, last.path


def has_state(name: str) -> bool:
    """Return whether the private folder has a folder of that name; make nothing. Raise AltbackupError if that cannot be known."""
    return is_there(os.path.join(state_folder(), name))
