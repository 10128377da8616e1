"""age: contents go through it and back, keys by pipes, and what it says is told as what it means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.age_keys import age_key, ssh_key
from helpers.trees import make_tool

from ansible_collections.altbackup.core.plugins.module_utils.system.age import (
    Identities,
    NoKey,
    decrypt,
    encrypt,
    recipients_in,
    split,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    AltbackupError,
    InvalidInput,
    ToolFailed,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_what_goes_in_comes_out_with_each_key_alone(tmp_path: Path, size: int) -> None:
    keys = [age_key(tmp_path, "one"), ssh_key(tmp_path)]
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    closed = encrypt(content, [key.recipient for key in keys], Deadline(60))
    assert closed.startswith(b"age-encryption.org/v1\n")
    for key in keys:
        assert decrypt(closed, Identities(key.text), Deadline(60), "it") == content
        both = Identities(age_key(tmp_path, f"not {key.path.name}").text + key.text)
        assert decrypt(closed, both, Deadline(60), "it") == content, "a file has keys of several forms"
    with pytest.raises(NoKey, match="it is encrypted to other recipients"):
        decrypt(closed, Identities(age_key(tmp_path, "other").text), Deadline(60), "it")
    with pytest.raises(NoKey, match="there is no identity"):
        decrypt(closed, Identities(), Deadline(60), "it")
    with pytest.raises(ToolFailed, match="decrypting it"):
        decrypt(closed[:-1], Identities(keys[0].text), Deadline(60), "it")
    with pytest.raises(InvalidInput, match="neither an identity of age nor a private key"):
        decrypt(closed, Identities("nonsense"), Deadline(60), "it")


def test_an_age_that_leaves_some_of_what_is_small_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tool(tmp_path / "bin", "age", "head -c 2000")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(AltbackupError, match="age ended well, and had not read all of it"):
        encrypt(bytes(3000), [age_key(tmp_path).recipient], Deadline(20))


def test_identities_are_told_apart_and_not_shown(tmp_path: Path) -> None:
    keys = [age_key(tmp_path, "one"), ssh_key(tmp_path), age_key(tmp_path, "two")]
    parts = split(Identities("# comment\n" + "\n".join(key.text for key in keys)))
    found = [recipients_in(part, Deadline(60)) for part in parts]
    assert found == [[key.recipient] for key in keys]
    assert "SECRET" not in repr(parts)
    with pytest.raises(InvalidInput, match="has a passphrase"):
        recipients_in(Identities(ssh_key(tmp_path, "locked", "secret").text), Deadline(60))


def test_what_is_too_long_for_keys_is_told() -> None:
    with pytest.raises(InvalidInput, match="more than any file of keys"), Identities("x" * 40_000).handed():
        pass
