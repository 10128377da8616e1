"""No secret of a command line is shown or repeated elsewhere; everything else stays readable."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.report.masking import (
    mask_argv,
    redact,
    secrets_in,
    secrets_of,
    worth_searching,
)

PLAY = ["ansible-playbook", "-i", "inventory/mine", "backup.yml"]
SECRET = "hush puppy"


@pytest.mark.parametrize(
    "words",
    [
        ["-e", f'db_password="{SECRET}"'],
        ["-e", f"altbackup_ssh_args=\"-o 'ProxyCommand=nc -P {SECRET} x'\""],
        ["-e", json.dumps({"altbackup_ssh_args": f"-o SetEnv=X={SECRET}"})],
        ["-e", json.dumps({"ansible_ssh_common_args": ["-o", f"LocalCommand=echo {SECRET}"]})],
        ["-e", f"altbackup_ssh_args='-o ProxyCommand={SECRET}"],
        ["--ssh-extra-args", f"-o 'ProxyCommand=nc {SECRET}' -4"],
        [f"--ssh-common-args=-o ProxyCommand='nc {SECRET}"],
        ["-e", f"x=1 db_password='{SECRET}' y=2"],
        [f"-edb_password='{SECRET}'"],
        ["--extra-vars", json.dumps({"db": {"password": SECRET}, "x": 1})],
        [f"--extra-vars={json.dumps({'tokens': [SECRET]})}"],
        ["--extra", f"{{api_token: {SECRET}}}"],
        ["-ve", json.dumps({"ansible_become_pass": SECRET})],
        ["-e", f'{{"password": "{SECRET}'],
        ["-e", f'password="{SECRET}'],
        ["-a", f"name=x login_password='{SECRET}'"],
        [f"--args={json.dumps({'secret': SECRET})}"],
        ["--vault-password-file", SECRET],
        [f"--vault-id={SECRET}"],
        ["--vault-id", f"dev@{SECRET}"],
        ["--become-password-file", SECRET],
        ["--connection-password-file", SECRET],
        ["--ssh-common-args", f"-o ProxyCommand='sshpass -p {SECRET}'"],
        ["https://user:hushpuppy@example.org/x"],
        ["-e", "url=https://user:hushpuppy@example.org/x"],
        ["password=hushpuppy"],
    ],
)
def test_secret_is_masked(words: list[str]) -> None:
    shown = mask_argv([*PLAY, *words, "--check"])
    assert [word for word in shown if "hush" in word] == []
    assert shown[:4] == PLAY
    assert shown[-1] == "--check"
    assert "********" in " ".join(shown)


@pytest.mark.parametrize(
    "words",
    [
        ["--ask-become-pass", "backup.yml"],
        ["-kK", "backup.yml"],
        ["-e", "@vars.yml"],
        ["-e", "altbackup_stamp=2013/05/10/104701"],
        ["-e", "altbackup_ssh_args='-o ProxyJump=gate.example.org'"],
        ["--ssh-common-args", "-o ProxyJump=gate.example.org -4"],
        ["-e", '{"altbackup_only_targets": ["cms01"]}'],
        ["--limit", "dayabay", "--private-key", "~/.ssh/key"],
        ["-e", "key=value other='two words'"],
        ["-a", "path=/etc/passwords.d/x"],
        ["--", "-e"],
        [""],
    ],
)
def test_what_is_no_secret_is_shown_as_it_was_given(words: list[str]) -> None:
    assert mask_argv([*PLAY, *words]) == [*PLAY, *words]
    assert secrets_of([*PLAY, *words]) == []


@pytest.mark.parametrize(
    ("words", "secrets"),
    [
        (["-e", "db_password=hushpuppy token=true pin_password=12"], ["hushpuppy"]),
        (["-e", '{"a": {"token": 123456}, "secrets": ["one1", "longer"]}'], ["123456", "longer", "one1"]),
        (["-a", "password=hushpuppy"], ["hushpuppy"]),
        (["-e", "update_password=always"], []),
    ],
)
def test_secrets_of_a_command_line_are_known(words: list[str], secrets: list[str]) -> None:
    assert secrets_of([*PLAY, *words]) == secrets


@pytest.mark.parametrize(
    ("arguments", "secrets"),
    [
        ({"login_password": "hushpuppy", "name": "x", "update_password": "always"}, ["hushpuppy"]),
        ({"list": [{"api_key": "abcdef"}], "deep": {"secret": ["a1b2c3", None]}}, ["a1b2c3", "abcdef"]),
        ({"password": "{{ x }}", "token": None}, []),
        (None, []),
        ("text", []),
        ({1: 2}, []),
    ],
)
def test_secrets_of_the_arguments_of_a_task_are_known(arguments: Any, secrets: list[str]) -> None:
    assert worth_searching(secrets_in(arguments)) == secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the hushpuppy is here", "the ******** is here"),
        ("no secret", "no secret"),
        ('{"password": "a b", "x": 1}', '{"password": ********, "x": 1}'),
        ("mysql://user:abc@host/db", "mysql://user:********@host/db"),
        ("a\n-----BEGIN RSA PRIVATE KEY-----\nxyz\n-----END RSA PRIVATE KEY-----\nb", "a\n********\nb"),
        ("cut -----BEGIN OPENSSH PRIVATE KEY-----\nxyz", "cut ********"),
    ],
)
def test_texts_are_redacted(text: str, shown: str) -> None:
    assert redact(text, ["hushpuppy"]) == shown


@pytest.mark.parametrize(
    "text", ["x" * 2_000_000, "password" * 200_000, "x://a:" * 300_000, "secret " + " " * 1_000_000, "-" * 2_000_000]
)
def test_long_texts_take_no_long_time(text: str) -> None:
    started = time.process_time()
    redact(text, ["hushpuppy"])
    assert time.process_time() - started < 5
