"""What a target knows of a source that should deliver: left by each run for the target's own check, which works with a dead controller.

`.altbackup/state/<source>/watch.json` for each source, `.altbackup/watch/last.json` for the time of the last check, and beside that its
program.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..system.digest import open_plain
from ..system.errors import AltbackupError, InvalidInput, name_os_errors
from .layout import MARKER, Tree
from .publish import make_folders, remove_if_there, write_text

NAME = "watch.json"
FOLDER = "watch"
PROGRAM = "altbackup-watch"
LAST = "last.json"
LONGEST_PAUSE = 90 * 86400.0
"""Seconds; a pause that ends later does not count"""
_MOST_ITEMS = 100_000
_LONGEST = 16 << 20
_LONGEST_TEXT = 2000
_SENDMAILS = ("/usr/sbin/sendmail", "/usr/lib/sendmail", "/sbin/sendmail")
MAIL = ("to", "from", "host", "port", "security", "username", "password")
PINGS = ("ping_url", "push_url")


@dataclass(frozen=True)
class Watched:
    """A source that should deliver to a target, and who is told if it does not."""

    source: str
    target: str
    items: tuple[str, ...]
    """Each category/name"""
    max_age: float
    """Seconds"""
    timezone: str
    written: float
    """When a run wrote this, in seconds since 1970 by this node's clock"""
    since: float
    """When the first run did"""
    stamp: str = ""
    """Stamp of that run"""
    controller: str = ""
    pause_until: float = 0.0
    """Seconds since 1970; 0 for no pause"""
    mail: Mapping[str, str] = field(default_factory=dict, repr=False)
    """{key of MAIL: value}; without recipient nothing is mailed"""
    pings: Mapping[str, str] = field(default_factory=dict, repr=False)
    """{key of PINGS: address}"""


def watched_path(tree: Tree) -> str:
    """Return the path of a tree's watch.json."""
    return tree.private_path("state", NAME)


def parse_watched(value: Any) -> Watched:
    """Return the Watched in the value of a file. Raise InvalidInput."""
    try:
        items = value["items"]
        if not isinstance(items, list) or len(items) > _MOST_ITEMS or not all(_is_key(key) for key in items):
            raise InvalidInput("its items are no list of category/name")
        numbers = {name: _number(value, name) for name in ("max_age", "written", "since", "pause_until")}
        texts = {name: _text(value.get(name, "")) for name in ("source", "target", "timezone", "stamp", "controller")}
        mail = {name: _text(value["mail"].get(name, "")) for name in MAIL}
        pings = {name: _text(value["pings"].get(name, "")) for name in PINGS}
    except (KeyError, TypeError, AttributeError):
        raise InvalidInput("it is not what a run writes") from None
    if not texts["source"] or "/" in texts["source"] or texts["source"].startswith("."):
        raise InvalidInput("its source is no name")
    if not 60 <= numbers["max_age"] <= 10 * 366 * 86400:
        raise InvalidInput("its max_age is no time from a minute to ten years")
    values: dict[str, Any] = {**numbers, **texts}
    return Watched(items=tuple(items), mail=mail, pings=pings, **values)


def _number(value: Mapping[str, Any], name: str) -> float:
    found = value.get(name, 0.0)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found < 1e11:
        raise InvalidInput(f"its {name} is no number of seconds")
    return float(found)


def _text(value: Any) -> str:
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
    if text is None or len(text) > _LONGEST_TEXT or "\0" in text or len(f"{text}x".splitlines()) > 1:
        raise InvalidInput("a text in it is none of one line")
    return text


def _is_key(key: Any) -> bool:
    parts = key.split("/") if isinstance(key, str) else []
    return len(parts) == 2 and all(part and not part.startswith(".") and "\0" not in part for part in parts)


def read_watched(path: str) -> Watched:
    """Return the Watched in a file. Raise AltbackupError or OSError."""
    with open_plain(path) as stream:
        status = os.fstat(stream.fileno())
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o077:
            raise AltbackupError(f"{path} is of another user, or others may read it: it is not used")
        text = stream.read(_LONGEST + 1)
    try:
        if len(text) > _LONGEST:
            raise InvalidInput(f"it has more than {_LONGEST} bytes")
        return parse_watched(json.loads(text))
    except (ValueError, RecursionError, InvalidInput) as error:
        why = str(error) if isinstance(error, InvalidInput) else "it is no JSON"
        raise AltbackupError(f"{path} is damaged: {why}") from error


def leave_watched(tree: Tree, given: Mapping[str, Any], secrets: Mapping[str, Any], program: str) -> None:
    """Write what a controller says of the watch in a source's tree on a target, and its program (base64); remove it if `given` is empty.

    Unless all items are known (`complete`), those known before stay. Raise AltbackupError or OSError.
    """
    path = watched_path(tree)
    if not given:
        remove_if_there(path)
        return
    now = time.time()
    try:
        known = read_watched(path)
    except (AltbackupError, OSError):
        known = None
    items = list(given["items"])
    if known and not given.get("complete", True):
        items += [key for key in known.items if key not in items]
    told = {name: secrets.get(name) or "" for name in PINGS}
    value = {
        **{name: given.get(name) or "" for name in ("source", "target", "timezone", "stamp", "controller")},
        "items": items,
        "max_age": given["max_age"],
        "pause_until": given.get("pause_until") or 0.0,
        "written": now,
        "since": min(known.since, now) if known else now,
        "mail": {**dict.fromkeys(MAIL, ""), **(given.get("mail") or {}), "password": secrets.get("password") or ""},
        "pings": told,
    }
    parse_watched(value)
    make_folders(os.path.dirname(path), tree.private)
    write_text(path, json.dumps(value, sort_keys=True) + "\n")
    if program:
        _leave_program(tree, base64.b64decode(program))


def _leave_program(tree: Tree, content: bytes) -> None:
    """Write the program of the check if it differs. Raise OSError."""
    folder = os.path.join(tree.private, FOLDER)
    make_folders(folder, tree.private)
    path = os.path.join(folder, PROGRAM)
    try:
        with open_plain(path) as stream:
            if stream.read(len(content) + 1) == content:
                return
    except OSError:
        pass
    new = f"{path}.new"
    remove_if_there(new)
    with name_os_errors(new), os.fdopen(
        os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o700), "wb"
    ) as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(new, path)


def find_sendmail() -> str:
    """Return the path of this node's sendmail, empty if there is none."""
    return next((path for path in _SENDMAILS if os.access(path, os.X_OK)), "")


def cannot_mail(mail: Mapping[str, Any]) -> str:
    """Return why a target's own check has no way to send its mail, empty if it has one or is to send none; `mail` has keys of MAIL."""
    if not mail.get("to") or mail.get("host") or find_sendmail():
        return ""
    return f"no mail to {mail['to']}: altbackup_watch_mail_host is not set, and there is no sendmail on this machine"


def silence(tree: Tree, now: float) -> str:
    """Return what is wrong if a target's own check should have run, and did not; empty if all is well. `now` is in seconds since 1970."""
    try:
        known = read_watched(watched_path(tree))
    except FileNotFoundError:
        return ""
    except (AltbackupError, OSError) as error:
        return str(error)
    last = last_check(tree.private)
    since = max(last, known.since)
    if now - since <= known.max_age or now < known.pause_until:
        return ""
    when = f"since {_moment(last)}" if last else "at all"
    return (
        f"the check of this target by itself (altbackup_watch) did not run {when}, so nobody here would notice that a source does not come: is "
        f"its line in the crontab, and does it say anything? bin/altbackup watch --cron-line {known.target} prints the line"
    )


def _moment(epoch: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(epoch))


def last_check(private: str) -> float:
    """Return when a target's check ran last, in seconds since 1970, 0 for never; `private` is its private folder."""
    try:
        with open_plain(os.path.join(private, FOLDER, LAST)) as stream:
            return _number(json.loads(stream.read(4096)), "at")
    except (OSError, ValueError, AttributeError, RecursionError, AltbackupError):
        return 0.0


def note_check(private: str, now: float) -> None:
    """Note that the check of a target runs now. Raise OSError."""
    folder = os.path.join(private, FOLDER)
    make_folders(folder, private)
    write_text(os.path.join(folder, LAST), json.dumps({"at": now}) + "\n")


def sources_of(private: str) -> list[str]:
    """Return the sources of which a target has a watch.json; `private` is its private folder. Raise OSError."""
    top = os.path.join(private, "state")
    try:
        names = sorted(os.listdir(top))
    except FileNotFoundError:
        return []
    return [name for name in names if name != MARKER and os.path.lexists(os.path.join(top, name, NAME))]
