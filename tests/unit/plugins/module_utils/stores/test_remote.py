"""A store as rclone has it: its files, and nothing secret in what is seen of a call."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.stores import BUCKET, PASSWORD, SECRET, served, sync


def test_secrets_reach_neither_arguments_nor_messages(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "rclone").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{seen}\nexec /usr/bin/rclone -vv "$@"\n')
    (tools / "rclone").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin")
    with served("s3", tmp_path / "store") as place:
        place.s3.delete_bucket(Bucket=BUCKET)
        result = sync(place, base)
        assert result["failures"] and SECRET not in json.dumps(result) and SECRET not in seen.read_text()
        assert PASSWORD not in json.dumps(result)
