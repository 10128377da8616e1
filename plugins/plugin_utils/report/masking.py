"""Masks what a mail must not show: secrets on a command line, in texts that look like them, and known ones anywhere."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...module_utils.system.ssh import secrets_of as secrets_of_options
from .secrecy import MASK, SECRET_NAME, SSH_OPTIONS, mask_options, mask_text

_SHORTEST = 4
"""Fewest characters of a secret that is searched for in other texts: a shorter one is part of ordinary words."""
_NO_SECRETS = frozenset(("true", "false", "none", "null", "always", "never", "on_create", "present", "absent", MASK))
_KEY_BLOCK = re.compile(r"-----BEGIN.*?(?:-----END[^\n]*|\Z)", re.DOTALL)
_FLAGS = "bCDkKov"
"""Short options without a value that may precede one that has a value, as in `-ve name=value`."""
_SHORT = re.compile(rf"-[{_FLAGS}]*([ea])(.*)", re.DOTALL)
_EXTRA, _MODULE_ARGUMENTS = ("--extra-vars",), ("--args",)
_SSH = ("--ssh-common-args", "--ssh-extra-args", "--scp-extra-args", "--sftp-extra-args")
_SECRETS = (
    "--vault-id",
    "--vault-pass-file",
    "--vault-password-file",
    "--become-pass-file",
    "--become-password-file",
    "--conn-pass-file",
    "--connection-password-file",
)


def mask_argv(argv: Sequence[str]) -> list[str]:
    """Return a command line of Ansible without secrets: values of -e and -a, options of vault, files of passwords."""
    return [masked for masked, _ in _masked(argv)]


def secrets_of(argv: Sequence[str]) -> list[str]:
    """Return the values that `mask_argv` hides and that are worth searching for."""
    return worth_searching(secret for _, found in _masked(argv) for secret in found)


def secrets_in(values: Any, name: str = "") -> Iterator[str]:
    """Yield the values in a task's arguments whose keys are names of secrets, at any depth."""
    if isinstance(values, Mapping):
        for key, entry in values.items():
            yield from secrets_in(entry, str(key))
    elif isinstance(values, (list, tuple)):
        for entry in values:
            yield from secrets_in(entry, name)
    elif isinstance(values, (str, int)) and SECRET_NAME.search(name):
        yield str(values)


def worth_searching(secrets: Iterable[str]) -> list[str]:
    """Return the secrets that can be searched for in texts: each once, the longest first, so that none hides part of a longer one."""
    usable = {
        secret
        for secret in secrets
        if len(secret) >= _SHORTEST and secret.lower() not in _NO_SECRETS and "{{" not in secret
    }
    return sorted(usable, key=lambda secret: (-len(secret), secret))


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text with known secrets, private keys and all that looks like a secret replaced."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return mask_text(_KEY_BLOCK.sub(MASK, text))


def _masked(argv: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield (word as it may be shown, secrets found in it)."""
    waiting = ""
    for word in argv:
        found: list[str] = []
        if waiting:
            yield _mask_option(waiting, word, found), found
            waiting = ""
            continue
        short = _SHORT.fullmatch(word)
        name, equals, value = word.partition("=")
        kind = {"e": "extra", "a": "arguments"}[short[1]] if short else _kind(name)
        if not kind:
            yield _mask_pairs(word, found) if not word.startswith("-") else redact(word), found
        elif short and short[2]:
            yield word[: -len(short[2])] + _mask_option(kind, short[2], found), found
        elif equals and not short:
            yield f"{name}={_mask_option(kind, value, found)}", found
        else:
            waiting = kind
            yield word, found


def _kind(option: str) -> str:
    """Return the kind of a long option's value, "" for a harmless one. As Ansible does, take any prefix of a name."""
    if not option.startswith("--") or len(option) < 4:
        return ""
    kinds = {"extra": _EXTRA, "arguments": _MODULE_ARGUMENTS, "ssh": _SSH, "secret": _SECRETS}
    return next((kind for kind, names in kinds.items() if any(name.startswith(option) for name in names)), "")


def _mask_option(kind: str, value: str, found: list[str]) -> str:
    if kind == "secret":
        return MASK
    if kind == "ssh":
        return str(_options(value, found))
    if kind == "extra" and value.startswith("@"):
        return value
    if value.lstrip().startswith(("{", "[")):
        try:
            import yaml
        except ModuleNotFoundError:  # it comes with Ansible; the message that Ansible is missing is masked here, too
            return MASK
        try:
            data = yaml.safe_load(value)
        except yaml.YAMLError:
            return MASK
        masked = _mask_value("", data, found)
        return json.dumps(masked, ensure_ascii=False, default=str) if found else value
    return _mask_pairs(value, found)


def _mask_pairs(value: str, found: list[str]) -> str:
    """Return the words with the values of `name=value` masked where the name is that of a secret; all masked if they cannot be split."""
    try:
        words = shlex.split(value)
    except ValueError:
        return MASK if SECRET_NAME.search(value) or SSH_OPTIONS.search(value.partition("=")[0]) else redact(value)
    shown = []
    for word in words:
        name, equals, text = word.partition("=")
        if equals and text and SSH_OPTIONS.search(name):
            masked = str(_options(text, found))
            shown.append(word if masked == text else f"{name}={masked}")
        elif equals and text and SECRET_NAME.search(name):
            found.append(text)
            shown.append(f"{name}={MASK}")
        else:
            shown.append(redact(word))
    return value if shown == words else " ".join(shown)


def _mask_value(name: str, value: Any, found: list[str]) -> Any:
    if SSH_OPTIONS.search(name) and isinstance(value, (str, list)):
        return _options(value, found)
    if isinstance(value, Mapping):
        return {key: _mask_value(str(key), entry, found) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mask_value(name, entry, found) for entry in value]
    if not SECRET_NAME.search(name) or value is None or isinstance(value, bool) or value == "":
        return redact(value) if isinstance(value, str) else value
    found.append(str(value))
    return MASK


def _options(value: Any, found: list[str]) -> Any:
    """Return options of ssh with their secrets masked, and add those secrets to `found`."""
    masked = mask_options(value)
    try:
        words = shlex.split(value) if isinstance(value, str) else [str(word) for word in value]
    except ValueError:
        words = [value]
    secrets = secrets_of_options(words)
    if not secrets:
        return value
    found += secrets
    return masked
