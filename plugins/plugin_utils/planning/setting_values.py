"""Values of settings: what the plan holds for a value of a variable's declared type, and why others are refused."""

from __future__ import annotations

import functools
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...module_utils.kinds.hooks import KEYS as HOOKS
from ...module_utils.kinds.hooks import parse_list
from ...module_utils.kinds.items import MOST_NIGHTS, check_name
from ...module_utils.kinds.registry import CATEGORIES, DISCOVERABLE
from ...module_utils.stores.settings import problem_of_remote
from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.pings import problem_of
from ...module_utils.system.priority import ionice_words
from ...module_utils.system.recipients import SSH, parse_recipient, parse_recipients
from ...module_utils.system.values import nearest, parse_keep, parse_part, parse_span
from ...module_utils.tree.rulings import RULES
from ...module_utils.tree.stamps import interpret_day, is_day, is_stamp
from ..report.secrecy import quoted
from .quantities import parse_duration, parse_rate, parse_size

TRANSPORTS = ("push", "pull")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
HOURLY = "hourly"
SCHEDULE = {"backup": "01:30", "check": "sun 07:30", "drill": "sat 09:30", "watch": HOURLY}
"""{job: default time}; `watch` runs on each target"""


def parse_base(value: str) -> str:
    """Return the path of a base without trailing slashes and dots. Raise InvalidInput unless it is absolute."""
    if not os.path.isabs(value) or "\0" in value:
        raise InvalidInput(f"{quoted(value)} is not an absolute path: write it from the root, like /home/scm/backup")
    return "/" + os.path.normpath(value).lstrip("/")


def _keep(value: object) -> int:
    try:
        return parse_keep(value, "")
    except InvalidInput as error:
        more = ", and the other rules as altbackup_keep_daily and so on" if isinstance(value, Mapping) else ""
        raise InvalidInput(
            f"{str(error).removeprefix(': keep ')}: write how many days and contents to retain, like 3{more}"
        ) from error


def _within(value: str) -> float:
    try:
        return parse_span(value, "")
    except InvalidInput as error:
        raise InvalidInput(str(error).strip()) from error


def _whole(lowest: int, highest: int, example: int) -> Callable[[int], int]:
    def parse(value: int) -> int:
        if not lowest <= value <= highest:
            raise InvalidInput(f"{value} is not a whole number from {lowest} to {highest}: write one, like {example}")
        return value

    return parse


def _share(value: float) -> float:
    if not 0 < value <= 1:
        raise InvalidInput(f"{value:g} is not a part above 0 and up to 1: write one, like 0.2")
    return value


def _duration_or_none(value: str) -> float:
    return parse_duration(value) if value.strip() else 0.0


def _pause(value: str) -> str:
    """Return the last second of a pause as a stamp, "" for none. Raise InvalidInput."""
    found = re.fullmatch(r"(\d{4})[-/](\d\d)[-/](\d\d)(?:[ T/](\d\d):?(\d\d)(?::?(\d\d))?)?", value.strip(), re.ASCII)
    if not value.strip():
        return ""
    year, month, day, hour, minute, second = found.groups() if found else ("",) * 6
    stamp = f"{year}/{month}/{day}/{hour}{minute}{second or '00'}" if hour else f"{year}/{month}/{day}/235959"
    if not is_stamp(stamp):
        raise InvalidInput(f"{quoted(value)} is neither a day like 2026/12/24 nor a time like 2026/12/24 08:00")
    return stamp


def _address(value: str) -> str:
    """Return an address to ping, "" for none. Raise InvalidInput, which does not quote it."""
    problem = problem_of(value) if value else ""
    if problem:
        raise InvalidInput(problem)
    return value


def _folder_or_none(value: str) -> str:
    return parse_base(value) if value else ""


def _own_file(value: str) -> str:
    """Return the absolute path of a file on the controller. Raise InvalidInput."""
    if "\0" in value or value.endswith("/"):
        raise InvalidInput(f"{quoted(value)} is not the path of a file")
    return os.path.abspath(os.path.expanduser(value)) if value else ""


def _remote(value: str) -> str:
    problem = problem_of_remote(value)
    if problem:
        raise InvalidInput(problem)
    return value


def _file_or_none(value: str) -> str:
    if value and (not os.path.isabs(value) or value.endswith("/") or "\0" in value):
        raise InvalidInput(f"{quoted(value)} is not the absolute path of a file, like /root/rclone.conf")
    return value


def _discover(value: Mapping[str, Any]) -> dict[str, str]:
    for kind, folder in value.items():
        if kind not in DISCOVERABLE:
            raise InvalidInput(
                f"kind {kind!r} cannot be discovered, {nearest(str(kind), DISCOVERABLE, DISCOVERABLE if kind in CATEGORIES else ())}"
            )
        if not isinstance(folder, str) or not os.path.isabs(folder) or "\0" in folder:
            raise InvalidInput(f"the folder of {kind}, {quoted(folder)}, is not an absolute path")
    return {kind: os.path.normpath(folder) for kind, folder in value.items()}


def _hooks(value: Sequence[Any]) -> list[dict[str, Any]]:
    return [hook.plain() for hook in parse_list(value)]


def _retired(value: Mapping[str, Any]) -> dict[str, str]:
    return {_item_key(key): _day(str(key), day) for key, day in value.items()}


def _former_names(value: Sequence[Any]) -> list[str]:
    names = []
    for name in _texts(value):
        try:
            names.append(check_name(name))
        except InvalidInput as error:
            raise InvalidInput(f"names {quoted(name)}, which is no name of a node: {error}") from None
    return names


def _item_key(key: object) -> str:
    """Return a valid category/name. Raise InvalidInput."""
    category, _, name = str(key).partition("/")
    if category not in CATEGORIES.values() or not name:
        categories = tuple(CATEGORIES.values())
        hint = nearest(category, categories, categories if category in categories else ())
        raise InvalidInput(
            f"names {quoted(key)}, which is not category/name, such as svn/old: its category is {quoted(category)}, {hint}"
        )
    try:
        return f"{category}/{check_name(name)}"
    except InvalidInput as error:
        raise InvalidInput(f"names {quoted(key)}: {error}") from None


def _day(key: str, value: object) -> str:
    """Return the day from which an item is retired, "" if it no longer is. Raise InvalidInput."""
    text = str(value)
    if not text:
        return text
    if not re.fullmatch(r"\d{4}/\d{2}/\d{2}", text, re.ASCII):
        raise InvalidInput(f"{key}: {quoted(text)} is not the day from which on it is given up, like 2026/11/23")
    return interpret_day(text, "")


def _transport(value: object) -> str | dict[str, str]:
    chosen = value if isinstance(value, Mapping) else {"": value}
    for target, mode in chosen.items():
        where = f" for {target}" if target else ""
        if mode not in TRANSPORTS:
            raise InvalidInput(
                f"{quoted(mode)}{where} is not one of {', '.join(TRANSPORTS)}: write push, or a mapping like {{cms01: push}}"
            )
    return {str(target): str(mode) for target, mode in value.items()} if isinstance(value, Mapping) else str(value)


def _rekey(value: Sequence[Any]) -> list[str]:
    asked = _texts(value)
    for text in asked:
        if not re.fullmatch("[^/]+/[^/]+/[^/]+", text):
            raise InvalidInput(f"{quoted(text)} is no item of a source, like 'dayabay/svn/dybsvn'")
    return asked


def _undo(value: Sequence[Any]) -> list[str]:
    asked = _texts(value)
    for text in asked:
        source, _, rest = text.partition("/")
        name, when = "/".join(rest.split("/")[:2]), "/".join(rest.split("/")[2:])
        is_one = bool(source and re.fullmatch("[^/]+/[^/]+", name)) and is_stamp(when)
        if not (is_day(text) or is_one):
            raise InvalidInput(
                f"{quoted(text)} is neither a day on which tarballs were removed, like 2013/05/20, nor one tarball, like "
                "dayabay/svn/dybsvn/2013/05/10/104701"
            )
    return asked


def _ionice(value: str) -> str:
    if value:
        ionice_words(value)
    return value


def _trust_from(value: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z.:/*?!_-]+(?:,[0-9A-Za-z.:/*?!_-]+)*", value, re.ASCII):
        raise InvalidInput(
            f"{quoted(value)} is neither seen, any, nor addresses with commas between them, like 192.0.2.7,2001:db8::/32"
        )
    return value


def parse_times(value: Mapping[str, Any]) -> dict[str, str]:
    """Return {job: time}, with the defaults of jobs that `value` does not name. Raise InvalidInput."""
    times = dict(SCHEDULE)
    for job, when in value.items():
        if job not in SCHEDULE:
            raise InvalidInput(f"names {quoted(job)}, which is no job, {nearest(str(job), tuple(SCHEDULE))}")
        text = str(when or "").strip().lower()
        is_time = re.fullmatch(rf"(?:(?:{'|'.join(WEEKDAYS)}) )?(?:[01]?\d|2[0-3]):[0-5]\d", text, re.ASCII)
        if text and not is_time and (job, text) != ("watch", HOURLY):
            raise InvalidInput(
                f"{job}: {quoted(when)} is no time of a day, like '01:30', or of a week, like 'sun 07:30' (empty: never; of the watch alone: "
                f"{HOURLY})"
            )
        times[job] = text
    return times


def _ssh_key(value: str) -> str:
    if value and (not value.startswith(("/", "~")) or "\n" in value or "\0" in value):
        raise InvalidInput("is not the path of a private key: write an absolute path or one like ~/.ssh/altbackup")
    return value


def _ssh_args(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError as error:
        raise InvalidInput(f"cannot be split into words ({error}): write the options as in a shell") from error


def parse_mode(value: str) -> str:
    """Return a mode of three or four octal digits, or "". Raise InvalidInput."""
    if value and not re.fullmatch(r"[0-7]{3,4}", value, re.ASCII):
        raise InvalidInput(f"{quoted(value)} is not three or four octal digits in quotes, like '0750'")
    return value


def _texts(value: Sequence[Any]) -> list[str]:
    return [str(entry).strip() for entry in value if str(entry).strip()]


def _recipients(value: Sequence[Any]) -> list[str]:
    return list(parse_recipients(_texts(value)))


def _signing_key(value: str) -> str:
    """Return the key without its comment, "" for none. Raise InvalidInput."""
    if not value.strip():
        return ""
    if not value.strip().startswith(SSH):
        raise InvalidInput("is no public key of ssh: write that of the recovery sheet, ssh-ed25519 AAAA...")
    return parse_recipient(value.strip())


def _holds(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(tarball).strip(): why for tarball, why in value.items()}


PARSERS: dict[str, Callable[[Any], Any]] = {
    "altbackup_base": parse_base,
    "altbackup_target_base": parse_base,
    "altbackup_keep": _keep,
    "altbackup_shrink": parse_part,
    "altbackup_churn": parse_part,
    "altbackup_trash_days": _whole(0, 3650, 2),
    "altbackup_min_copies": _whole(0, 1000, 1),
    "altbackup_undo": _undo,
    "altbackup_rekey": _rekey,
    **dict.fromkeys((f"altbackup_keep_{rule}" for rule in RULES if rule != "within"), _whole(0, 999999, 7)),
    "altbackup_keep_within": _within,
    "altbackup_discover": _discover,
    "altbackup_retired": _retired,
    **dict.fromkeys((f"altbackup_{when}" for when in HOOKS), _hooks),
    "altbackup_targets": _texts,
    "altbackup_former_names": _former_names,
    "altbackup_only_targets": _texts,
    "altbackup_adopt": _texts,
    "altbackup_accept": _texts,
    "altbackup_release": _texts,
    "altbackup_hold": _holds,
    "altbackup_restore_mode": parse_mode,
    "altbackup_encrypt_to": _recipients,
    "altbackup_signing_key": _signing_key,
    "altbackup_full_every": _whole(1, MOST_NIGHTS, 7),
    "altbackup_verify_every": _whole(1, 10000, 7),
    "altbackup_compress_level": _whole(1, 19, 1),
    "altbackup_target_slots": _whole(1, 1000, 2),
    "altbackup_rsync_port": _whole(1, 65535, 22),
    "altbackup_reverify_days": _whole(1, 365, 7),
    "altbackup_history_days": _whole(1, 36500, 400),
    "altbackup_max_age": parse_duration,
    "altbackup_proof_age": _duration_or_none,
    "altbackup_absent_for": _duration_or_none,
    "altbackup_stores": _texts,
    "altbackup_store_remote": _remote,
    "altbackup_store_config": _file_or_none,
    "altbackup_store_environment": _file_or_none,
    "altbackup_store_lock_days": _whole(0, 36500, 30),
    "altbackup_store_drill": _whole(0, 100000, 1),
    "altbackup_drill_share": _share,
    "altbackup_drill_limit": parse_size,
    "altbackup_drill_folder": _folder_or_none,
    "altbackup_metrics_dir": _folder_or_none,
    "altbackup_report_dir": _folder_or_none,
    "altbackup_node_metrics_dir": _folder_or_none,
    "altbackup_pause_until": _pause,
    "altbackup_watch_mail_port": _whole(1, 65535, 25),
    "altbackup_watch_ping_url": _address,
    "altbackup_watch_push_url": _address,
    "altbackup_purge_plan": _own_file,
    "altbackup_identity_file": _own_file,
    "altbackup_transport": _transport,
    "altbackup_nice": _whole(0, 19, 10),
    "altbackup_ionice": _ionice,
    "altbackup_ssh_key": _ssh_key,
    "altbackup_ssh_args": _ssh_args,
    "altbackup_bwlimit": parse_rate,
    "altbackup_min_rate": functools.partial(parse_rate, least=1),
    "altbackup_trust_from": _trust_from,
    "altbackup_incoming_limit": parse_size,
    "altbackup_schedule_at": parse_times,
    "altbackup_schedule_delay": _duration_or_none,
    "altbackup_schedule_folder": _folder_or_none,
    "altbackup_connect_timeout": parse_duration,
    "altbackup_io_timeout": parse_duration,
    "altbackup_step_timeout": parse_duration,
}
