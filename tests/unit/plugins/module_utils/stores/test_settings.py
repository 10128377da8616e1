"""What a call is told of a store, and what opens it: files that are its user's alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.stores.settings import (
    Secrets,
    Store,
    bucket_of,
    problem_of_remote,
    read_secrets,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput


@pytest.mark.parametrize("text", ["offsite:", "offsite:bucket/a b", "my-remote.1:/srv/x", "/mnt/drawer"])
def test_places_that_can_be_stores(text: str) -> None:
    assert problem_of_remote(text) == ""


@pytest.mark.parametrize(
    "text", ["", "bucket", "relative/path", "/", "/mnt/", "/mnt/../x", "a:b/../c", ":local:/x", "a,key=b:c", "a:b\nc"]
)
def test_places_that_cannot(text: str) -> None:
    assert problem_of_remote(text)


def private(path: Path, text: str, mode: int = 0o600) -> str:
    """Write a file of a mode; return its path."""
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_an_environment_is_read_as_lines(tmp_path: Path) -> None:
    path = private(tmp_path / "e", "# of the store\n\nRCLONE_CONFIG_THERE_TYPE=webdav\nexport A='b c'\n")
    assert read_secrets(Store("vault", "there:", environment=path)).environment == {
        "RCLONE_CONFIG_THERE_TYPE": "webdav",
        "A": "b c",
    }


@pytest.mark.parametrize("text", ["A b", "LD_PRELOAD=/x", "PATH=/x", "=b"])
def test_what_no_environment_of_a_store_is_says_its_line_and_not_its_text(text: str, tmp_path: Path) -> None:
    path = private(tmp_path / "e", f"A=1\n{text}\n")
    with pytest.raises(InvalidInput, match="line 2") as caught:
        read_secrets(Store("vault", "/mnt/drawer", environment=path))
    assert "/x" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_is_not_used(mode: int, tmp_path: Path) -> None:
    path = private(tmp_path / "c", "[there]\ntype = webdav\n", mode)
    with pytest.raises(InvalidInput, match="chmod 600"):
        read_secrets(Store("vault", "there:", path))


def test_a_link_is_no_configuration(tmp_path: Path) -> None:
    os.symlink(private(tmp_path / "c", "[there]\ntype = webdav\n"), tmp_path / "link")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_secrets(Store("vault", "there:", str(tmp_path / "link")))


def test_a_configuration_that_is_encrypted_is_for_rclone_to_understand(tmp_path: Path) -> None:
    path = private(tmp_path / "c", "# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\nabc=\n")
    assert read_secrets(Store("vault", "there:", path)).sections == {}


def test_what_is_secret_is_masked() -> None:
    secrets = Secrets(
        {"RCLONE_CONFIG_PASS": "open sesame"},
        {"there": {"type": "s3", "secret_access_key": "abcdefgh", "region": "somewhere"}},
    )
    said = secrets.masked("https://user:hunter2@host/ refused abcdefgh and open sesame in somewhere")
    assert said == "https://user:***@host/ refused *** and *** in somewhere"


def test_a_bucket_is_what_configuration_and_environment_say_together() -> None:
    environment = {"RCLONE_CONFIG_THERE_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "unused"}
    secrets = Secrets(
        environment, {"there": {"type": "s3", "access_key_id": "id", "endpoint": "s3.example.org", "region": "r"}}
    )
    bucket, folder = bucket_of(Store("vault", "there:name/a/b"), secrets) or (None, "")
    assert bucket is not None and folder == "a/b"
    assert (bucket.endpoint, bucket.name, bucket.region, bucket.key_id, bucket.secret) == (
        "https://s3.example.org",
        "name",
        "r",
        "id",
        "secret",
    )
    assert "secret" not in repr(bucket) and "'id'" not in repr(bucket)
    assert bucket_of(Store("vault", "there:"), secrets) is None
    assert bucket_of(Store("vault", "other:name"), secrets) is None
