"""Who is told of runs, and how: the checked options of the callback `altbackup.core.error_mail`, each of which may be unusable."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.opened import user_name
from ...module_utils.system.pings import problem_of
from ..planning.mailing import NONE, named
from ..planning.quantities import parse_duration

OTHER_OPTIONS = (
    *("ping_url", "ping_url_file", "ping_body", "ping_timeout", "ping_playbooks", "push_url", "push_url_file"),
    *("channels", "channels_file"),
)
"""Options that do not concern mail"""
MAIL_OPTIONS = (
    *("to", "from", "host", "port", "security", "username", "password", "timeout", "spool"),
    *("body_limit", "log_limit"),
    *OTHER_OPTIONS,
)
"""Options of the callback that `judge` checks"""
UNHEARD = "Nobody would be told of failures"
SECURITIES = {"none": 25, "starttls": 587, "tls": 465}
"""{how the connection is secured: its usual port}"""
_ADDRESS = re.compile(
    r"(?!-)[!#-'*+\-./0-9=?A-Z^-~]{1,64}(?:@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|@\[[0-9A-Fa-f.:]{2,60}\])?"
)
_MOST_SECRETS = 64 * 1024
"""Most bytes that are read of a file of secrets"""
_SENDMAIL_FOLDERS = "/usr/sbin:/usr/lib:/sbin"


@dataclass(frozen=True)
class Settings:
    """Usable values of all options; `problems` has a sentence on each that was not."""

    recipients: tuple[str, ...] = ()
    wanted: bool = True
    """Whether mail is wanted at all"""
    sender: str = ""
    host: str = ""
    """"" hands mails to sendmail"""
    port: int = 25
    security: str = "none"
    username: str = ""
    password: str = field(default="", repr=False)
    sendmail: str = ""
    timeout: float = 10.0
    """Seconds for one whole conversation"""
    spool: Path = Path()
    body_limit: int = 64 * 1024
    log_limit: int = 2 * 1024 * 1024
    ping_url: str = field(default="", repr=False)
    """A check of healthchecks.io or a compatible server"""
    push_url: str = field(default="", repr=False)
    """A push monitor of Uptime Kuma"""
    ping_body: bool = False
    """Whether pings carry the run's summary"""
    ping_timeout: float = 10.0
    """Seconds for all pings together"""
    ping_playbooks: tuple[str, ...] = ("backup.yml",)
    channels: tuple[str, ...] = field(default=(), repr=False)
    """URLs in apprise's format"""
    problems: tuple[str, ...] = ()
    """What prevents any report of failures"""
    flaws: tuple[str, ...] = ()
    """What else is unusable"""

    @property
    def tells(self) -> bool:
        """Whether failures are to be reported, by mail or otherwise."""
        return self.wanted or bool(self.channels or self.problems)

    @property
    def secrets(self) -> tuple[str, ...]:
        """All secrets, including the secret part of each address by itself."""
        urls = [url for url in (self.ping_url, self.push_url, *self.channels) if url]
        parts = [part for url in urls for part in (url, url.partition("://")[2].partition("/")[2].rstrip("/"))]
        return tuple(filter(None, (self.password, *parts)))


def judge(options: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """Return the settings with all problems; `options` are as written, `environment` may hold cron's MAILTO."""
    problems: list[str] = []
    flaws: list[str] = []
    text = {name: str(value).strip() for name, value in options.items() if value is not None}
    given = text.get("to") or environment.get("MAILTO", "").strip()
    wanted = given.lower() != NONE
    recipients, wrong = addresses(given if wanted else "")
    channels = tuple(_secrets("channels", text, flaws))
    missing = channels and not importlib.util.find_spec("apprise")
    if missing:
        flaws.append("channels are set, but apprise is not installed: .venv/bin/pip install -r requirements-extras.txt")
    problems += [f"recipient {address!r} is no mail address" for address in wrong]
    if channels and not given:
        wanted = False
    unheard = not wanted and bool(text.get("channels") or text.get("channels_file")) and (missing or not channels)
    if wanted and not recipients:
        problems.append(
            "no recipient is set: set ALTBACKUP_MAIL_TO (or MAILTO) to an address, or to none if no mail is wanted"
        )
    sender = text.get("from") or default_sender()
    if len(addresses(sender)[0]) != 1:
        problems.append(f"sender {sender!r} is no mail address")
    security = (text.get("security") or NONE).lower()
    if security not in SECURITIES:
        problems.append(f"security {security!r} is not one of {', '.join(SECURITIES)}")
        security = NONE
    host = text.get("host", "")
    if re.search(r"[\s/\x00-\x1f]", host):
        problems.append(f"host {host!r} is no name of a server")
    username, password = text.get("username", ""), text.get("password", "")
    if bool(username) != bool(password):
        problems.append("username and password go together: set both or none")
    if host and username and security == NONE and host not in ("localhost", "127.0.0.1", "::1"):
        problems.append(
            "a login without encryption would show the password to the network: set security to starttls or tls"
        )
    sendmail = shutil.which("sendmail", path=f"{environment.get('PATH', os.defpath)}:{_SENDMAIL_FOLDERS}") or ""
    if wanted and not host and not sendmail:
        problems.append("no server is set (ALTBACKUP_MAIL_HOST), and there is no sendmail on this machine")
    return Settings(
        recipients=tuple(recipients),
        wanted=wanted,
        sender=sender,
        host=host,
        port=_number("port", text, SECURITIES[security], 1, 65535, problems),
        security=security,
        username=username,
        password=password,
        sendmail=sendmail,
        timeout=_timeout(text.get("timeout", ""), problems),
        spool=Path(text.get("spool") or "~/.altbackup/spool").expanduser(),
        body_limit=_number("body_limit", text, Settings.body_limit, 4096, 10**7, problems),
        log_limit=_number("log_limit", text, Settings.log_limit, 0, 10**8, problems),
        ping_url=_url("ping_url", text, flaws),
        push_url=_url("push_url", text, flaws),
        ping_body=text.get("ping_body", "").lower() in ("yes", "true", "on", "1"),
        ping_timeout=_timeout(text.get("ping_timeout", ""), flaws, "ping_timeout"),
        ping_playbooks=_words(text.get("ping_playbooks", "")) or Settings.ping_playbooks,
        channels=() if missing else channels,
        problems=tuple(problems if wanted else flaws if unheard else ()),
        flaws=() if unheard else tuple(flaws),
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[,\s]+", text) if word)


def _url(name: str, text: Mapping[str, str], flaws: list[str]) -> str:
    """Return an address that can be pinged, "" if there is none."""
    found = _secrets(name, text, flaws)
    if not found:
        return ""
    if len(found) > 1:
        flaws.append(f"{name} is more than one address")
        return ""
    problem = problem_of(found[0])
    if problem:
        flaws.append(f"{name} {problem}")
    return "" if problem else found[0]


def _secrets(name: str, text: Mapping[str, str], flaws: list[str]) -> list[str]:
    """Return the words of an option that holds secrets, from its value or else from the file that `NAME_file` names."""
    if text.get(name):
        return text[name].split()
    path = text.get(f"{name}_file", "")
    if not path:
        return []
    try:
        return read_secrets(Path(path).expanduser())
    except (OSError, ValueError) as error:
        why = f": {error.strerror}" if isinstance(error, OSError) else f" {error}"
        flaws.append(f"{name}_file {path}{why}")
        return []


def read_secrets(path: Path) -> list[str]:
    """Return the words of a file of secrets, without lines that begin with #.

    Raise OSError, or ValueError if it is no regular file, belongs to another user, or may be read by others.
    """
    with open(path, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is no file")
        if status.st_uid not in (0, os.geteuid()):
            raise ValueError("is of another user: it is not read")
        if stat.S_IMODE(status.st_mode) & 0o077:
            mode = f"{stat.S_IMODE(status.st_mode):04o}"
            raise ValueError(
                f"may be read by others (mode {mode}), so it is not read: chmod 600 it, and change what it held"
            )
        content = stream.read(_MOST_SECRETS)
    lines = content.decode("utf-8", "replace").splitlines()
    return [word for line in lines if not line.lstrip().startswith("#") for word in line.split()]


def variable_of(name: str) -> str:
    """Return the environment variable that sets an option."""
    return f"ALTBACKUP_{'' if name in OTHER_OPTIONS else 'MAIL_'}{name.upper()}"


def addresses(text: str) -> tuple[list[str], list[str]]:
    """Return the addresses, each once, and the words that are no address; `text` is separated by commas, semicolons or blanks.

    NONE is neither: it says that nobody is meant.
    """
    words = named(text)
    good = [word for word in words if _ADDRESS.fullmatch(word)]
    return good, [word for word in words if word not in good]


def default_sender() -> str:
    """Return USER@HOSTNAME, as cron does."""
    address = f"{user_name()}@{socket.gethostname()}"
    return address if _ADDRESS.fullmatch(address) else "altbackup@localhost"


def _number(name: str, text: Mapping[str, str], default: int, lowest: int, highest: int, problems: list[str]) -> int:
    value = text.get(name, "")
    if not value:
        return default
    if re.fullmatch(r"[0-9]{1,9}", value) and lowest <= int(value) <= highest:
        return int(value)
    problems.append(f"{name} {value!r} is not a whole number from {lowest} to {highest}")
    return default


def _timeout(value: str, problems: list[str], name: str = "timeout") -> float:
    try:
        return parse_duration(value) if value else Settings.timeout
    except InvalidInput as error:
        problems.append(f"{name}: {error}")
        return Settings.timeout
