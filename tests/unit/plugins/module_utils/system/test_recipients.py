"""Recipients: what age takes is taken, and what it would not take is told before anything is encrypted."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.recipients import (
    lines_of,
    parse_recipient,
    parse_recipients,
    shown,
)

AGE = "age1g4g5qfujfqphvnxk2esljtk7hwvczk9hj7lnmng2h5qjhtadvgyskyeuaw"
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHnajoQqp8NzRC590NI4cRIptpdGEI5aVIYC/y89sV5s"
SECRET = "AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SWUKR9R"


def _age_takes(recipient: str) -> bool:
    done = subprocess.run(["age", "-r", recipient, "-o", "/dev/null"], input=b"text", capture_output=True)
    return done.returncode == 0


@pytest.fixture(scope="module")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """Return ssh-rsa keys by their bits."""
    folder = tmp_path_factory.mktemp("rsa")
    found = {}
    for bits in (1024, 2048):
        subprocess.run(
            [
                "ssh-keygen",
                "-q",
                "-t",
                "rsa",
                "-b",
                str(bits),
                "-N",
                "",
                "-C",
                "who at where",
                "-f",
                folder / str(bits),
            ],
            check=True,
        )
        found[bits] = (folder / f"{bits}.pub").read_text().strip()
    return found


def test_what_age_takes_is_taken(rsa: dict[int, str]) -> None:
    for text, expected in (
        (AGE, AGE),
        (AGE.upper(), AGE),
        (f"{ED25519} scm@example.org", ED25519),
        (rsa[2048], " ".join(rsa[2048].split()[:2])),
    ):
        assert parse_recipient(text) == expected
        assert _age_takes(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is no recipient"),
        ("somebody", "is no recipient"),
        (f"{AGE} {AGE}", "is no recipient"),
        (AGE[:-1], "is no whole recipient of age"),
        (AGE[:-1] + "q", "is no whole recipient of age"),
        (AGE.replace("g4g5", "g4g4"), "is no whole recipient of age"),
        ("age1yubikey1qg8u0y7skwzxvzw2p7wk7u3p5kpqjq2lzpx9g3a8x9d4c2v2kyrrv9sdfgh", "Those of plugins"),
        ("ssh-ed25519", "is no whole ssh-ed25519 key"),
        (ED25519[:-4], "is no whole ssh-ed25519 key"),
        ("ssh-ed25519 AAAA!", "is no whole ssh-ed25519 key"),
        ("ecdsa-sha2-nistp256 AAAA", "is no recipient"),
        ("/etc/altbackup/recipients", "names the file '/etc/altbackup/recipients', which the controller cannot read"),
    ],
)
def test_what_age_would_not_take_is_told(text: str, expected: str) -> None:
    with pytest.raises(InvalidInput, match=expected):
        parse_recipient(text)
    assert not _age_takes(text)


def test_a_key_is_of_the_kind_that_it_says() -> None:
    with pytest.raises(InvalidInput, match="is no whole ssh-rsa key"):
        parse_recipient(ED25519.replace("ssh-ed25519", "ssh-rsa"))


def test_short_rsa_keys_are_told(rsa: dict[int, str]) -> None:
    with pytest.raises(InvalidInput, match="less than 2048 bits"):
        parse_recipient(rsa[1024])
    assert not _age_takes(" ".join(rsa[1024].split()[:2]))


@pytest.mark.parametrize("text", [SECRET, SECRET.lower(), "-----BEGIN OPENSSH PRIVATE KEY-----"])
def test_a_secret_key_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_recipients([text], "item folder 'notes': encrypt_to")
    assert "has a secret key where a public one belongs" in str(caught.value)
    assert text not in str(caught.value)


def test_recipients_are_the_same_in_any_order() -> None:
    assert parse_recipients([ED25519, AGE, f"{ED25519} comment"]) == (AGE, ED25519)
    assert parse_recipients([]) == ()
    assert shown((AGE, ED25519)) == f"{AGE}, ssh-ed25519 ...{ED25519[-12:]}"


@pytest.mark.parametrize("value", [AGE, {"a": 1}, [5], None])
def test_what_is_no_list_is_told(value: object) -> None:
    with pytest.raises(InvalidInput, match="is not a list of recipients"):
        parse_recipients(value, "encrypt_to")


def test_files_have_one_a_line_and_comments(tmp_path: Path) -> None:
    assert lines_of(f"# the safe\n{AGE}\n\n  {ED25519} me \n") == [AGE, f"{ED25519} me"]
