"""Kind `trac` with its database in a server: settings that lead elsewhere, users and names that are odd, and what is told of them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import Base, item, needs_root

from ansible_collections.altbackup.core.plugins.module_utils.kinds import trac, trac_server
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return what is left of an environment whose settings name a server."""
    (tmp_path / "env" / "conf").mkdir(parents=True)
    (tmp_path / "env" / "VERSION").write_text("Trac Environment Version 1\n")
    (tmp_path / "env" / "conf" / "trac.ini").write_text("[trac]\ndatabase = postgres://trac:geheim@/trac\n")
    return tmp_path / "env"


def serve_nobody(item: Any, context: Any, request: Any) -> Any:
    """Say who asks."""
    raise InvalidInput(f"asked as uid {os.geteuid()}")


@needs_root
def test_no_server_is_asked_as_root_by_settings_that_others_can_write(
    bare: Path, served_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trac, "KIND", replace(trac.KIND, serve=serve_nobody))
    ini = bare / "conf" / "trac.ini"
    assert "asked as uid 0" in served_base.reason(item("trac", bare))
    for mode in (0o664, 0o646):
        ini.chmod(mode)
        for check_mode in (False, True):
            reason = served_base.reason(item("trac", bare), check_mode=check_mode)
            assert "is root's, and others can write it" in reason and "geheim" not in reason
    os.chown(ini, 65534, 65534)
    assert "asked as uid 65534" in served_base.reason(item("trac", bare))


@needs_root
def test_the_owner_of_the_settings_is_that_of_the_file_that_was_read(
    bare: Path, served_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    ini, other = bare / "conf" / "trac.ini", bare / "conf" / "other.ini"
    other.write_text("")
    os.chown(ini, 65534, 65534)
    request_of = trac_server.request_of

    def exchange_and_ask(*arguments: Any, **more: Any) -> dict[str, Any]:
        os.replace(other, ini)
        return request_of(*arguments, **more)

    monkeypatch.setattr(trac_server, "request_of", exchange_and_ask)
    monkeypatch.setattr(trac, "KIND", replace(trac.KIND, serve=serve_nobody))
    assert "asked as uid 65534" in served_base.reason(item("trac", bare))
    assert ini.stat().st_uid == 0
