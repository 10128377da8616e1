"""Texts that look like secrets are replaced, and others are left."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.report.secrecy import (
    MASK,
    mask,
    mask_options,
    mask_text,
    quoted,
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"db_password": "a", "api_key": "b", "path": "/c"}, {"db_password": MASK, "api_key": MASK, "path": "/c"}),
        ({"token_count": 3, "password": ""}, {"token_count": 3, "password": ""}),
        ([{"secret": "a"}, "plain"], [{"secret": MASK}, "plain"]),
        (
            {"ansible_ssh_common_args": "-o ProxyCommand='sshpass -p a ssh b'"},
            {"ansible_ssh_common_args": f"-o 'ProxyCommand={MASK}'"},
        ),
    ],
)
def test_values_are_masked_by_the_names_of_their_keys(value: Any, shown: Any) -> None:
    assert mask(value) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password=swordfish, host=a", f"password={MASK}, host=a"),
        ("https://me:swordfish@example.org/", f"https://me:{MASK}@example.org/"),
        ("sshpass -p swordfish ssh a", f"sshpass -p {MASK} ssh a"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", MASK),
        ("a passing word", "a passing word"),
    ],
)
def test_places_of_secrets_in_texts_are_known(text: str, shown: str) -> None:
    assert mask_text(text) == shown


def test_refused_value_is_quoted_in_part_and_without_secrets() -> None:
    assert quoted({"password": "swordfish"}) == f"{{'password': '{MASK}'}}"
    assert len(quoted("x" * 1000)) == 160
    assert quoted("x" * 1000).endswith("...")


def test_options_that_no_shell_would_read_are_hidden_whole() -> None:
    assert mask_options("-o 'open") == MASK
    assert mask_options("-p {{ port }}") == "-p {{ port }}"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"password": "x"}, {"password": MASK}),
        ({"db_passwd": ["x"]}, {"db_passwd": MASK}),
        ({"api_token": "x", "client_secret": "y"}, {"api_token": MASK, "client_secret": MASK}),
        ({"password": ""}, {"password": ""}),
        ({"expect": {"secrets": 2}}, {"expect": {"secrets": 2}}),
        ({"keys": ["git/x"], "ssh_key": "/x"}, {"keys": ["git/x"], "ssh_key": "/x"}),
        ({"private_key": "x", "key_content": "x"}, {"private_key": MASK, "key_content": MASK}),
        ({"a": "-----BEGIN RSA PRIVATE KEY-----"}, {"a": MASK}),
        ({"a": ["https://user:hunter2@example.org/x"]}, {"a": [f"https://user:{MASK}@example.org/x"]}),
        ({"a": "x password=hunter2 y"}, {"a": f"x password={MASK} y"}),
    ],
)
def test_secrets_are_masked(value: Any, shown: Any) -> None:
    assert mask(value) == shown
