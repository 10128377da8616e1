"""How mail is to be sent: the options of the callback `altbackup.core.error_mail`, judged. An option is never trusted to be usable."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.opened import user_name
from ..planning.quantities import parse_duration

MAIL_OPTIONS = (
    *("to", "from", "host", "port", "security", "username", "password", "timeout", "spool"),
    *("body_limit", "log_limit"),
)
"""The options of the callback that are judged"""
NONE = "none"
"""As recipient: no mail is wanted."""
SECURITIES = {"none": 25, "starttls": 587, "tls": 465}
"""How the connection is secured, with the port that is usual for it"""
_ADDRESS = re.compile(
    r"(?!-)[!#-'*+\-./0-9=?A-Z^-~]{1,64}(?:@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|@\[[0-9A-Fa-f.:]{2,60}\])?"
)
_SENDMAIL_FOLDERS = "/usr/sbin:/usr/lib:/sbin"


@dataclass(frozen=True)
class Settings:
    """Usable values of all options; `problems` says what was not usable, a sentence each."""

    recipients: tuple[str, ...] = ()
    wanted: bool = True
    """Whether mail is wanted at all"""
    sender: str = ""
    host: str = ""
    """Empty: hand over to sendmail"""
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
    problems: tuple[str, ...] = ()


def judge(options: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """Given the options as written, and the environment with cron's MAILTO, return the settings with all problems."""
    problems: list[str] = []
    text = {name: str(value).strip() for name, value in options.items() if value is not None}
    given = text.get("to") or environment.get("MAILTO", "").strip()
    wanted = given.lower() != NONE
    recipients, wrong = addresses(given if wanted else "")
    problems += [f"recipient {address!r} is no mail address" for address in wrong]
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
        problems=tuple(problems) if wanted else (),
    )


def addresses(text: str) -> tuple[list[str], list[str]]:
    """Given recipients, separated by commas, semicolons or blanks, return the addresses, each once, and what is none."""
    words = [word for word in re.split(r"[,;\s]+", text) if word]
    good = [word for word in words if _ADDRESS.fullmatch(word)]
    return list(dict.fromkeys(good)), [word for word in words if word not in good]


def default_sender() -> str:
    """Return the user at this machine, as cron writes it."""
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


def _timeout(value: str, problems: list[str]) -> float:
    try:
        return parse_duration(value) if value else Settings.timeout
    except InvalidInput as error:
        problems.append(f"timeout: {error}")
        return Settings.timeout
