"""The failure mail's callback as Ansible makes it, without Ansible's search for plugins."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible import constants

from ansible_collections.altbackup.core.plugins.callback import error_mail

NAME = "altbackup.core.error_mail"


def documented() -> dict[str, Any]:
    """Return its options as documented."""
    return dict(yaml.safe_load(error_mail.DOCUMENTATION)["options"])


def make_callback(monkeypatch: pytest.MonkeyPatch, spool: Path, options: dict[str, str]) -> error_mail.CallbackModule:
    """Return the callback with only these options in the environment."""
    for name in [name for name in os.environ if name.startswith("ALTBACKUP_MAIL") or name == "MAILTO"]:
        monkeypatch.delenv(name)
    for name, value in {"SPOOL": str(spool), **options}.items():
        monkeypatch.setenv(name if name == "MAILTO" else f"ALTBACKUP_MAIL_{name}", value)
    constants.config.initialize_plugin_configuration_definitions("callback", NAME, documented())
    made = error_mail.CallbackModule()
    made._load_name = NAME
    made.set_options()
    return made
