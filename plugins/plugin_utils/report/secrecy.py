"""What looks like a secret: names of variables, and passages of texts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.system import ssh

MASK = ssh.MASK

SECRET_NAME = re.compile(
    r"passw|passphrase|secret|token|credential|private_?key|key_?(?:data|content|material)|(?:^|_)(?:pass|pwd|api_?key)$"
    r"|(?:ping|push)_url$|altbackup_channels$",
    re.IGNORECASE,
)
"""Matches names of variables that hold secrets."""
SSH_OPTIONS = re.compile(r"(?:^|_)(?:ssh_(?:\w+_)?args|(?:scp|sftp)_extra_args)$", re.IGNORECASE)
"""Matches names of variables that hold options of ssh, some of which may be secrets"""
UNQUOTED = re.compile(rf"{SECRET_NAME.pattern}|{SSH_OPTIONS.pattern}|(?:^|_)ssh_key$", re.IGNORECASE)
"""Matches names of variables whose wrong value no message shows: it may be a secret in the wrong place"""
_QUOTED = 160
"""Most characters of a value that a message shows"""
_SECRET_TEXT = re.compile(
    r"(?<![\w-])(?P<word>[\w-]{0,64}(?:passw|passphrase|secret|token|credential)[\w-]{0,64}[\"'\\]{0,4}\s{0,8}[=:]\s{0,8})"
    r"(?:\"[^\"\n]{1,1024}\"|'[^'\n]{1,1024}'|[^\s,;&]+)"
    r"|(?P<scheme>\w://[^\s/:@]{0,256}:)[^\s/@]{1,1024}(?=@)"
    r"|(?P<command>sshpass\s+-p\s*)\S+",
    re.IGNORECASE,
)


def quoted(value: Any) -> str:
    """Return a refused value as a message quotes it: secrets masked, at most _QUOTED characters."""
    text = repr(mask(value))
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 3]}..."


def mask(value: Any) -> Any:
    """Return a plain value with all that looks like a secret replaced, at any depth; paths of keys are not secrets."""
    if isinstance(value, Mapping):
        return {key: _mask_entry(str(key), entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask(entry) for entry in value]
    return mask_text(value) if isinstance(value, str) else value


def _mask_entry(key: str, value: Any) -> Any:
    if SSH_OPTIONS.search(key):
        return mask_options(value)
    return MASK if SECRET_NAME.search(key) and value and not isinstance(value, (int, float)) else mask(value)


def mask_text(text: str) -> str:
    """Return the text with all that looks like a secret replaced; all of it if it holds a key block."""
    if "-----BEGIN" in text:
        return MASK
    return _SECRET_TEXT.sub(lambda match: f"{match['word'] or match['scheme'] or match['command']}{MASK}", text)


def mask_words(words: Sequence[str]) -> list[str]:
    """Return options of ssh with commands and environments, which may hold secrets, replaced."""
    return ssh.shown(words)


def mask_options(value: Any) -> Any:
    """Return options of ssh, a list or one string quoted for a shell, in the same form with possible secrets masked."""
    if isinstance(value, (list, tuple)):
        return mask_words([str(word) for word in value])
    if not isinstance(value, str) or "{{" in value:
        return mask(value)
    try:
        return shlex.join(mask_words(shlex.split(value))) if value else value
    except ValueError:
        return MASK
