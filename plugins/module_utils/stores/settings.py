"""What a call is told of a store: where it is, what opens it, and the limits of what is asked of it."""

from __future__ import annotations

import configparser
import contextlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..system.digest import open_plain
from ..system.errors import InvalidInput
from ..system.opened import owner_name, walked
from ..system.values import quoted
from ..system.visible import one_line
from . import s3

_LONGEST = 1 << 20
_REMOTE = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.+@ -]*):(.*)", re.ASCII | re.DOTALL)
_VARIABLE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.ASCII)
_OURS = ("PATH", "HOME", "TZ", "LC_ALL")
_SECRET = re.compile(
    r"(?:pass|secret|token|key|auth|cookie|bearer|sas|credential)(?!.*_(?:file|command)$)", re.IGNORECASE
)
_SHORTEST = 4
"""Characters of a value that is taken for a secret wherever it stands"""

_OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "remote": {"type": "str", "required": True},
    "config": {"type": "str", "default": ""},
    "environment": {"type": "str", "default": ""},
    "connect_timeout": {"type": "float", "default": 15.0},
    "io_timeout": {"type": "float", "default": 60.0},
    "bwlimit": {"type": "int", "default": 0},
    "lock_days": {"type": "int", "default": 0},
    "lock_mode": {"type": "str", "choices": [s3.GOVERNANCE, s3.COMPLIANCE], "default": s3.GOVERNANCE},
    "absent_for": {"type": "float", "default": 0.0},
}
STORE: dict[str, Any] = {"store": {"type": "dict", "required": True, "options": _OPTIONS}}
"""Argument spec of what a module is told of a store"""


@dataclass(frozen=True)
class Store:
    """A store as the inventory has it."""

    name: str
    remote: str
    """`remote:path` of rclone's configuration, or the absolute path of a folder on a disk"""
    config: str = ""
    """rclone's configuration file on this node"""
    environment: str = ""
    """A file of lines NAME=VALUE on this node, for rclone's environment"""
    connect_timeout: float = 15.0
    io_timeout: float = 60.0
    bwlimit: int = 0
    """Bytes a second, 0 for no limit"""
    lock_days: int = 0
    lock_mode: str = s3.GOVERNANCE
    absent_for: float = 0.0
    """Seconds for which it may be away"""

    @property
    def is_disk(self) -> bool:
        """Whether it is a folder that is mounted on this node."""
        return self.remote.startswith("/")


@dataclass(frozen=True)
class Secrets:
    """What opens a store, as it lies on this node."""

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    sections: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """{remote: its options}; nothing of a configuration that is encrypted"""

    def masked(self, text: str) -> str:
        """Return what rclone wrote without anything secret."""
        text = re.sub(r"(://[^\s/:@]+:)[^\s/@]+@", r"\1***@", text)
        values = [*self.environment.items(), *(pair for options in self.sections.values() for pair in options.items())]
        for name, value in sorted(values, key=lambda pair: -len(pair[1])):
            if _SECRET.search(name) and len(value) >= _SHORTEST:
                text = text.replace(value, "***")
        return text


def parse_store(values: Mapping[str, Any]) -> Store:
    """Parse a store from the form in which modules take it. Raise InvalidInput."""
    store = Store(**{name: values[name] for name in _OPTIONS if values.get(name) is not None})
    require_name(store.name, "store")
    problem = problem_of_remote(store.remote)
    if problem:
        raise InvalidInput(f"store {store.name}: its remote {problem}")
    return store


def require_name(text: str, what: str) -> None:
    """Raise InvalidInput unless a store or source is named as a folder can be, whose name is a line among others."""
    if not text or "/" in text or text.startswith(".") or one_line(text) != text:
        raise InvalidInput(f"{what} {quoted(text)} is no name of a folder")


def problem_of_remote(text: str) -> str:
    """Return what is wrong with the place of a store as it is written, empty if nothing."""
    if text.startswith("/"):
        if os.path.normpath(text) != text or text == "/" or "\0" in text or "\n" in text:
            return f"{quoted(text)} is not a plain absolute path, like /mnt/drawer/backup"
        return ""
    match = _REMOTE.fullmatch(text)
    if match is None:
        hint = (
            "; settings that are written into it would be seen by all, put them into rclone's configuration file"
            if ":" in text
            else ""
        )
        return f"is neither a remote of rclone's configuration, like offsite:bucket/backup, nor an absolute path{hint}"
    if any(part in (".", "..") for part in match[2].split("/")) or "\0" in text or "\n" in text:
        return f"{quoted(text)} has a path with a dot for a folder"
    return ""


def read_secrets(store: Store) -> Secrets:
    """Return what opens a store. Raise InvalidInput for a file that others can read or change, or that cannot be understood."""
    environment: dict[str, str] = {}
    if store.environment:
        for number, line in enumerate(_text_of(store.environment, "environment of a store").splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            match = _VARIABLE.fullmatch(line.strip())
            if match is None:
                raise InvalidInput(f"{store.environment}, line {number}: it is not NAME=VALUE")
            if match[1] in _OURS or match[1].startswith("LD_"):
                raise InvalidInput(
                    f"{store.environment}, line {number}: {match[1]} is not for a store to set: take it out"
                )
            environment[match[1]] = _unquoted(match[2])
    sections = {}
    if store.config:
        parser = configparser.RawConfigParser(strict=False, delimiters=("=",), interpolation=None)
        with contextlib.suppress(configparser.Error):  # one that is encrypted, which rclone understands
            parser.read_string(_text_of(store.config, "configuration of a store"))
            sections = {name: dict(parser.items(name)) for name in parser.sections()}
    if not store.is_disk:
        _require_known(store, environment, sections)
    return Secrets(environment, sections)


def _require_known(store: Store, environment: Mapping[str, str], sections: Mapping[str, Any]) -> None:
    remote = store.remote.partition(":")[0]
    variable = f"RCLONE_CONFIG_{remote.upper()}_TYPE"
    if (store.config and not sections) or remote in sections or variable in environment:
        return
    known = (
        f"{store.config} has {', '.join(sections)}"
        if sections
        else "no configuration file is named (altbackup_store_config)"
    )
    raise InvalidInput(
        f"store {store.name}: there is no remote {remote!r}: {known}. Make it with: rclone config --config {store.config or 'FILE'}"
    )


def bucket_of(store: Store, secrets: Secrets) -> tuple[s3.Bucket, str] | None:
    """Return the bucket of a store and the path in it, None where it is none or its keys are not told here."""
    remote, _, path = store.remote.partition(":")
    prefix = f"RCLONE_CONFIG_{remote.upper()}_"
    given = {
        name[len(prefix) :].lower(): value for name, value in secrets.environment.items() if name.startswith(prefix)
    }
    options = {**secrets.sections.get(remote, {}), **given}
    name, _, folder = path.strip("/").partition("/")
    if store.is_disk or options.get("type") != "s3" or not name:
        return None
    taken = secrets.environment if options.get("env_auth", "").lower() == "true" else {}
    key_id = options.get("access_key_id") or taken.get("AWS_ACCESS_KEY_ID") or ""
    secret = options.get("secret_access_key") or taken.get("AWS_SECRET_ACCESS_KEY") or ""
    token = options.get("session_token") or taken.get("AWS_SESSION_TOKEN") or ""
    region = options.get("region") or taken.get("AWS_REGION") or "us-east-1"
    endpoint = options.get("endpoint") or f"https://s3.{region}.amazonaws.com"
    if not (key_id and secret):
        return None
    endpoint = endpoint if "://" in endpoint else f"https://{endpoint}"
    limits = {"connect_timeout": store.connect_timeout, "timeout": store.io_timeout}
    return s3.Bucket(endpoint.rstrip("/"), name, region, key_id, secret, token, **limits), folder.strip("/")


def _text_of(path: str, what: str) -> str:
    """Return the text of a file that is this user's alone. Raise InvalidInput."""
    if not os.path.isabs(path):
        raise InvalidInput(f"{what}: {quoted(path)} is not an absolute path")
    with _kept(path, what):
        try:
            with open_plain(path) as stream:
                status = os.fstat(stream.fileno())
                content = stream.read(_LONGEST + 1)
        except OSError as error:
            raise InvalidInput(f"{what}: {path} cannot be read: {error.strerror}") from error
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in (0, os.geteuid()) or mode & 0o077:
        raise InvalidInput(
            f"{what}: {path} is of {owner_name(status.st_uid)}, mode {mode:04o}, but holds secrets, so that it must be this user's "
            f"alone: chown {owner_name(os.geteuid()).split()[0]} {path}; chmod 600 {path}"
        )
    if len(content) > _LONGEST:
        raise InvalidInput(f"{what}: {path} has more than {_LONGEST} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(f"{what}: {path} is not UTF-8 text") from None


@contextlib.contextmanager
def _kept(path: str, what: str) -> Iterator[None]:
    """Raise InvalidInput where others can put another file in the place of one while it is read."""
    with walked(os.path.dirname(path)) as (steps, missing):
        if not missing and not steps[-1].keeps:
            raise InvalidInput(
                f"{what}: {path} lies below a folder that others can change: move it to one of this user's own"
            )
        yield


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
