"""Schedules on this machine: this user's crontab, the system's crontabs, and systemd timers, as far as they can be read."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .errors import AltbackupError
from .opened import user_name
from .processes import Deadline, run
from .programs import find_tool
from .ssh import MASK

_SECONDS = 10.0
_SYSTEM = ("/etc/crontab", "/etc/cron.d/*")
_TIMERS = ("/etc/systemd/system/*.timer", "~/.config/systemd/user/*.timer")
_MOST_BYTES = 1 << 20
_MOST = 50
_SETTING = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*(.*?)\s*", re.ASCII)
_PASSED_ON = re.compile(r"ALTBACKUP_\w+|MAILTO|PATH")
_SECRET = re.compile(r"PASS|SECRET|TOKEN|CREDENTIAL|P(?:ING|USH)_URL$|CHANNELS$", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"(?<![\w-])([\w-]*(?:pass|secret|token|credential|p(?:ing|ush)_url(?=\s*=)|channels(?=\s*=))[\w-]*(?<!file)=)"
    r"(?:\"[^\"]*\"|'[^']*'|[^\s\"']+)|(\w://[^\s/:@]*:)[^\s/@]+(?=@)",
    re.IGNORECASE,
)
"""What in a line is a secret: what is given to a name of one, unless it names a file, and a password in a URL"""


def schedules(word: str) -> list[dict[str, Any]]:
    """Return {where, line, environment} of each scheduled line that contains a word; secrets in it are left out."""
    found: list[dict[str, Any]] = []
    for where, text in _crontabs():
        environment: dict[str, str] = {}
        for line in text.splitlines():
            setting = _SETTING.fullmatch(line)
            if setting:
                if _PASSED_ON.fullmatch(setting[1]) and not _SECRET.search(setting[1]):
                    environment[setting[1]] = setting[2].strip("\"'")
            elif word in line and not line.lstrip().startswith("#"):
                found.append({"where": where, "line": _shown(line), "environment": _started_with(line, environment)})
    for path in sorted(path for pattern in _TIMERS for path in glob.glob(os.path.expanduser(pattern))):
        started = _read(f"{path[: -len('.timer')]}.service")
        lines = [line for line in started.splitlines() if line.startswith("ExecStart=") and word in line]
        enabled = glob.glob(os.path.join(os.path.dirname(path), "*.wants", os.path.basename(path)))
        if lines and enabled:
            environment = _started_with(lines[0].partition("=")[2].replace("%%", "%"), _environment(started))
            found.append({"where": path, "line": _shown(lines[0]), "environment": environment})
    return found[:_MOST]


def cron_is_seen(processes: str = "/proc") -> bool:
    """Return whether a process named cron, crond or the like is seen, or whether systemd does its work; `processes` is the mount point of proc."""
    if glob.glob("/usr/lib/systemd/system-generators/systemd-cron*"):
        return True
    return any("cron" in _read(path) for path in glob.glob(f"{processes}/[0-9]*/comm"))


def _shown(line: str) -> str:
    """Return a line without the secrets in it."""
    return _SECRET_TEXT.sub(lambda match: f"{match[1] or match[2]}{MASK}", line.strip())[:1000]


def _environment(service: str) -> dict[str, str]:
    """Return what of the variables that a unit of systemd sets is passed on: a line may set several, each quoted; see systemd.exec(5)."""
    found: dict[str, str] = {}
    for line in service.splitlines():
        key, _, value = line.partition("=")
        with contextlib.suppress(ValueError):  # a quote is missing, and systemd ignores the line as well
            found.update(_settings(shlex.split(value)) if key.strip() == "Environment" else {})
    return found


def _started_with(line: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a line starts its program with: those around it, and what `env` in it sets, alone after `env -i`."""
    try:
        words = shlex.split(line.replace("\\%", "%"))
    except ValueError:  # no shell would start it either
        return dict(environment)
    places = [number for number, word in enumerate(words) if word == "env" or word.endswith("/env")]
    if not places:
        return dict(environment)
    given = words[places[0] + 1 :]
    is_empty = given[:1] == ["-i"]
    given = given[is_empty:]
    count = next((number for number, word in enumerate(given) if not _SETTING.fullmatch(word)), len(given))
    return {**({} if is_empty else environment), **_settings(given[:count])}


def _settings(words: Iterable[str]) -> dict[str, str]:
    """Return what of settings, `NAME=VALUE` each, is passed on, without secrets."""
    found = {}
    for word in words:
        name, is_set, text = word.partition("=")
        if is_set and _PASSED_ON.fullmatch(name) and not _SECRET.search(name):
            found[name] = text
    return found


def _crontabs() -> Iterator[tuple[str, str]]:
    """Yield (name, text) of each crontab."""
    with contextlib.suppress(AltbackupError):  # no cron, or no crontab
        output = run([find_tool("crontab"), "-l"], what="crontab", deadline=Deadline(_SECONDS))
        yield f"crontab of {user_name()}", output.decode("utf-8", "replace")
    for pattern in _SYSTEM:
        for path in sorted(glob.glob(pattern)):
            yield path, _read(path)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(_MOST_BYTES)
    except OSError:  # missing, or not readable by this user
        return ""
