"""Others than the callback get the same settings of the mail."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible import constants

from ansible_collections.altbackup.core.plugins.callback.error_mail import CallbackModule
from ansible_collections.altbackup.core.plugins.plugin_utils.mail import options
from ansible_collections.altbackup.core.plugins.plugin_utils.mail.options import CALLBACK, is_enabled, load_settings


def test_settings_are_those_of_the_callback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = SimpleNamespace(set_options=lambda: None, settings="the settings")
    monkeypatch.setattr(options, "callback_loader", SimpleNamespace(get={CALLBACK: given}.get))
    assert load_settings() == "the settings"
    assert CallbackModule.CALLBACK_NAME == CALLBACK


def test_callback_that_cannot_be_loaded_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "callback_loader", SimpleNamespace(get=lambda _: None))
    assert load_settings().problems == (f"the callback {CALLBACK} cannot be loaded",)


@pytest.mark.parametrize(("enabled", "expected"), [(None, False), ([], False), (["other", CALLBACK], True)])
def test_callback_is_enabled_by_its_full_name(
    enabled: list[str] | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "CALLBACKS_ENABLED", enabled)
    assert is_enabled() is expected
