"""What ssh, sudo and Ansible say is understood by what it means."""

from __future__ import annotations

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.doctor.words import meaning, telling_line


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("", ""),
        ("all is well", ""),
        ("ssh: Could not resolve hostname cms01: Name or service not known", "name"),
        (
            "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.",
            "host key changed",
        ),
        ("the host key of cms01 has changed", "host key changed"),
        ("No ED25519 host key is known for cms01\nHost key verification failed.", "host key"),
        ("The authenticity of host 'x' can't be established", "host key"),
        ("scm@cms01: Permission denied (publickey).", "key"),
        ("Too many authentication failures", "key"),
        ("WARNING: UNPROTECTED PRIVATE KEY FILE!", "key"),
        ("Missing sudo password", "become"),
        ("sudo: a password is required", "become"),
        ("scm is not in the sudoers file", "become"),
        ("connect to host cms01 port 22: Connection refused", "port"),
        ("connect to host cms01 port 22: No route to host", "port"),
        ("Timeout: timed out", "port"),
        ("/bin/sh: 1: /usr/bin/python3: not found", "python"),
        ("ansible-core requires a minimum of Python 3.8", "python"),
        ("bash: /usr/bin/python: No such file or directory", "python"),
        ("cms01 was reached, but has no rsync: install it", "tools"),
        ("PERMISSION DENIED (PUBLICKEY)", "key"),
        ("rsync: [sender] mkdir failed: Permission denied", ""),
    ],
)
def test_what_was_said_means_one_thing(said: str, word: str) -> None:
    assert meaning(said) == word


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("", "it said nothing"),
        ("\n \n", "it said nothing"),
        ("@@@@@@@\n@ @", "it said nothing"),
        ("one", "one"),
        ("  one  \ntwo", "one"),
        ("Warning: x\nConnection refused\nbye", "Connection refused"),
        (
            "@@@@@\n@   IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!  @",
            "@   IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!  @",
        ),
        ("x" * 2000, "x" * 500),
    ],
)
def test_the_line_that_tells_most_is_told(said: str, line: str) -> None:
    assert telling_line(said) == line
