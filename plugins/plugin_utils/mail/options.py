"""The failure mail's settings as the callback has them, from ansible.cfg and environment, for code outside the callback."""

from __future__ import annotations

from ansible import constants
from ansible.plugins.loader import callback_loader

from .settings import Settings

CALLBACK = "altbackup.core.error_mail"


def load_settings() -> Settings:
    """Return the settings of the failure mail, from the options of the callback."""
    callback = callback_loader.get(CALLBACK)
    if callback is None:
        return Settings(problems=(f"the callback {CALLBACK} cannot be loaded",))
    callback.set_options()
    settings: Settings = callback.settings
    return settings


def is_enabled() -> bool:
    """Return whether Ansible's settings enable the callback."""
    return CALLBACK in (constants.CALLBACKS_ENABLED or ())
