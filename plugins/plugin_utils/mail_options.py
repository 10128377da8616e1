"""The settings of the failure mail as the callback has them, for whoever is not the callback: ansible.cfg and environment."""

from __future__ import annotations

import os

from ansible import constants
from ansible.plugins.loader import callback_loader

from .mail_settings import Settings, judge

CALLBACK = "altbackup.core.error_mail"


def load_settings() -> Settings:
    """Return the settings of the failure mail, from the same options as those of the callback."""
    callback_loader.get(CALLBACK, class_only=True)  # this alone makes its options known
    return judge(constants.config.get_plugin_options("callback", CALLBACK), os.environ)


def is_enabled() -> bool:
    """Return whether Ansible's settings enable the callback."""
    return CALLBACK in (constants.CALLBACKS_ENABLED or ())
