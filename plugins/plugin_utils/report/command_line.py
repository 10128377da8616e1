"""Command lines without secrets: that of a run, and the one that repeats what is missing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from .masking import mask_argv


def command_line(argv: Sequence[str]) -> str:
    """Return the command line with its secrets masked, quoted for a shell."""
    return " ".join(word if re.fullmatch(r"[\w@%+=:,./*-]+", word) else shlex.quote(word) for word in mask_argv(argv))


def rerun_command(argv: Sequence[str], folder: str, stamp: str = "", hosts: Sequence[str] = ()) -> str:
    """Return the command that repeats what is missing, to be given in `folder`.

    It is the same command with the run's stamp or, for a run that has none, limited to its failed hosts.
    """
    words = list(argv)
    if stamp and not any("altbackup_stamp" in word for word in words):
        words += ["-e", f"altbackup_stamp={stamp}"]
    elif not stamp and hosts:
        words += ["--limit", ",".join(hosts)]
    return f"cd {shlex.quote(folder)} && {command_line(words)}" if folder else command_line(words)
