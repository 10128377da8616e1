"""The controller's end of the calls of this module."""

from __future__ import annotations

from ..plugin_utils.calls.action import ActionModule

__all__ = ["ActionModule"]
