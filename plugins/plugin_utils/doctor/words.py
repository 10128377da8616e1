"""The messages of ssh, sudo and Ansible about failed connections, and what they mean. Pure."""

from __future__ import annotations

import re

_MEANINGS = (
    ("name", r"Could not resolve hostname"),
    ("host key changed", r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key .*has changed"),
    ("host key", r"Host key verification failed|host key is known for|authenticity of host"),
    ("become", r"Missing sudo password|sudo: |password is required|not in the sudoers|Incorrect sudo|become"),
    ("key", r"Permission denied \(|Too many authentication failures|UNPROTECTED PRIVATE KEY"),
    (
        "port",
        r"Connection refused|Connection timed out|timed out|No route to host|Network is unreachable|Connection reset",
    ),
    (
        "python",
        r"python\S*: (?:command )?not found|No such file or directory.*python|python\S*: No such file|interpreter|SyntaxError|requires .*Python",
    ),
    ("tools", r"has no rsync"),
)


def meaning(message: str) -> str:
    """Return the kind of problem that a message describes, such as `host key`; "" for an unknown message."""
    return next((word for word, pattern in _MEANINGS if re.search(pattern, message, re.IGNORECASE)), "")


def telling_line(message: str) -> str:
    """Return the most telling line of a message: the first with a known meaning, or the first."""
    lines = [line.strip() for line in message.splitlines() if line.strip(" @")]
    telling = [line for line in lines if meaning(line)]
    return (telling or lines or ["it said nothing"])[0][:500]
