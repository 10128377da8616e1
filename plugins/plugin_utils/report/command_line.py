"""Command lines without secrets: that of a run, and the one that repeats what is missing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from .masking import mask_argv

_LIMITS = ("-l", "--limit")
_WITH_VALUE = (*_LIMITS, "-i", "--inventory", "-e", "--extra-vars", "-t", "--tags", "--skip-tags")
_CHECK = re.compile(r"((?:.*/)?(?:altbackup\.core\.)?)check(\.yml)?")


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


def mending_command(argv: Sequence[str], folder: str, playbook: str, titles: Iterable[str]) -> str:
    """Return the backup that mends what a check only finds, to be given in `folder`; "" for other playbooks.

    If the check was limited, the backup is to the sources of the failures, by their `titles`: node, or `source -> target`.
    """
    words = list(argv)
    places = [
        number
        for number, word in enumerate(words)
        if number and words[number - 1] not in _WITH_VALUE and _CHECK.fullmatch(word)
    ]
    if playbook != "check.yml" or not places:
        return ""
    words[places[0]] = _CHECK.sub(r"\1backup\2", words[places[0]])
    working = [word for word in words if word not in ("-C", "--check")]
    kept = [
        word
        for number, word in enumerate(working)
        if word not in _LIMITS
        and not word.startswith("--limit=")
        and (not number or working[number - 1] not in _LIMITS)
    ]
    sources = list(dict.fromkeys(title.partition(" -> ")[0] for title in titles))
    return rerun_command(kept, folder, hosts=sources if len(kept) < len(working) else ())
