"""Options of ssh that may hold secrets: sealed for the way, masked where they are shown, taken out of what ssh says."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.ssh import (
    MASK,
    effective_settings,
    scrub,
    seal,
    shown,
    unseal,
)

SECRETS = [
    "-o ProxyCommand='sshpass -p hunter2 ssh -W %h:%p gate'",
    "-oProxyCommand='sshpass -p hunter2 ssh gate'",
    "-o 'ProxyCommand sshpass -phunter2 ssh gate'",
    "-o ' proxycommand = sshpass -p \"hunter2\" ssh gate'",
    "-o \"ProxyCommand=sshpass -p 'hunter2' ssh gate\"",
    "-o ProxyCommand=sshpass -p hunter2 ssh gate",
    "-o 'ProxyCommand=env SSHPASS=hunter2 sshpass -e ssh gate'",
    "-o 'ProxyCommand=connect -H http://scm:hunter2@proxy.example.org:8080 %h %p'",
    "-o 'ProxyCommand=ncat --proxy-auth scm:hunter2 --proxy proxy.example.org %h %p'",
    "-o SetEnv=TOKEN=hunter2",
    "-o 'SetEnv TOKEN=\"hunter2\" OTHER=x'",
    "-o KnownHostsCommand='/usr/bin/curl -u scm:hunter2 https://example.org'",
    "-o LocalCommand='echo hunter2'",
    "-o ProxyJump=ssh://scm:hunter2@gate.example.org",
    "-J scm:hunter2@gate.example.org",
    "-Jscm:hunter2@gate.example.org",
    "-o NoSuchOption=hunter2",
    "-o NoSuchOption",
    "-o hunter2",
    "-p hunter2",
    "-4 hunter2",
    "hunter2",
    "-o User=scm:hunter2@gate",
    "-o PKCS11Provider=/usr/lib/x.so?pin-value=hunter2",
]
HARMLESS = [
    "-4",
    "-vvC",
    "-F none",
    "-F/etc/ssh/other",
    "-p 2222",
    "-i ~/.ssh/altbackup",
    "-o ProxyJump=gate.example.org,scm@other.example.org:22",
    "-J gate.example.org",
    "-R 127.0.0.1:22022:cms01.example.org:22",
    "-o HostKeyAlias=cms01.example.org",
    "-o 'UserKnownHostsFile=\"/var/lib/known hosts\"'",
    "-oStrictHostKeyChecking=yes",
    "-o 'ConnectTimeout 5'",
]


@pytest.mark.parametrize("written", SECRETS)
def test_nothing_that_may_be_a_secret_is_shown(written: str) -> None:
    assert "hunter2" not in " ".join(shown(shlex.split(written)))


@pytest.mark.parametrize("written", HARMLESS)
def test_what_holds_no_secret_is_shown(written: str) -> None:
    words = shlex.split(written)
    assert shown(words) == words
    assert (
        scrub(f"ssh: {written}: it failed at gate.example.org", words)
        == f"ssh: {written}: it failed at gate.example.org"
    )


@pytest.mark.parametrize("written", [text for text in SECRETS if "hunter2" in text])
@pytest.mark.parametrize(
    "said",
    [
        "debug1: Executing proxy command: exec sshpass -p hunter2 ssh -W a:22 gate",
        "command-line line 0: Bad configuration option: hunter2",
        'debug1: channel 0: setting env TOKEN = "hunter2"',
        "sh: 1: hunter2: not found",
        "connect: http://scm:hunter2@proxy.example.org:8080: refused",
        "HUNTER2hunter2",
    ],
)
def test_what_ssh_repeats_of_it_is_masked(written: str, said: str) -> None:
    assert "hunter2" not in scrub(said, shlex.split(written)).lower()


@pytest.mark.parametrize(
    ("secret", "repeated"),
    [
        ("Hunter2", "bad configuration option: hunter2"),
        ("pässwort", r"bad: p\303\244sswort"),
        ("pässwort", r"bad: p\#303\#244sswort"),
        ("a%%b!c", "exec a%b!c"),
        ("x y'z", "said x y'z"),
        ("42", "said 42."),
    ],
)
def test_a_secret_is_known_in_the_forms_in_which_it_is_repeated(secret: str, repeated: str) -> None:
    assert scrub(repeated, ["-o", f"SetEnv=TOKEN={secret}"]).endswith((MASK, f"{MASK}."))


def test_what_is_known_and_the_programs_stay_readable() -> None:
    words = ["-o", "ProxyCommand=sshpass -p hunter2 ssh -W %h:%p cms01.example.org"]
    said = "ssh: connect to host cms01.example.org port 22: Connection refused; ssh -W"
    assert scrub(said, words, ("cms01.example.org",)) == said


@pytest.mark.parametrize("words", [[], ["-o", "ProxyCommand=x 'é' \udcff"]])
def test_words_travel_sealed(words: list[str]) -> None:
    sealed = seal(words)
    assert unseal(sealed) == tuple(words)
    assert "ProxyCommand" not in sealed


@pytest.mark.parametrize("sealed", ["-v", "aHVudGVyMg==", seal(["x"])[:-3], "WzFd"])
def test_what_is_not_sealed_is_refused_and_not_shown(sealed: str) -> None:
    with pytest.raises(InvalidInput, match="no sealed list of words") as refused:
        unseal(sealed)
    assert sealed not in str(refused.value)


def test_what_files_and_options_of_ssh_come_to_is_asked_of_ssh(tmp_path: Path) -> None:
    configuration = tmp_path / "config"
    configuration.write_text(
        "Host svn\n  HostName svn.example.org\n  Port 2222\n  IdentityFile /keys/a\n  IdentityFile /keys/b\n"
    )
    found = effective_settings(
        ["ssh", "-F", str(configuration), "-o", "ServerAliveInterval=7"], "scm@svn", {"PATH": "/usr/bin:/bin"}
    )
    wanted = {
        "hostname": "svn.example.org",
        "port": "2222",
        "user": "scm",
        "identityfile": "/keys/a",
        "serveraliveinterval": "7",
    }
    assert wanted.items() <= found.items()


@pytest.mark.parametrize("command", [["ssh", "-F", "/no/such/file"], ["/no/such/program"]])
def test_without_an_answer_of_ssh_nothing_is_known(command: list[str]) -> None:
    assert effective_settings(command, "svn") == {}
