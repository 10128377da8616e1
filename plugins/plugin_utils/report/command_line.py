"""A run as its command line, without secrets, and the one that does again what is missing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from .masking import mask_argv


def command_line(argv: Sequence[str]) -> str:
    """Given a command line, return it as it may be shown, to be pasted into a shell."""
    return " ".join(word if re.fullmatch(r"[\w@%+=:,./*-]+", word) else shlex.quote(word) for word in mask_argv(argv))


def rerun_command(argv: Sequence[str], folder: str, stamp: str = "", hosts: Sequence[str] = ()) -> str:
    """Given a command line and the folder it was given in, return the line that does again what is missing.

    That is the same with the run's stamp, or, where a run has none, with its failed hosts.
    """
    words = list(argv)
    if stamp and not any("altbackup_stamp" in word for word in words):
        words += ["-e", f"altbackup_stamp={stamp}"]
    elif not stamp and hosts:
        words += ["--limit", ",".join(hosts)]
    return f"cd {shlex.quote(folder)} && {command_line(words)}" if folder else command_line(words)
