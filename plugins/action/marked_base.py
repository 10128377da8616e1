"""The controller's side of this module's calls, which is the same for all modules."""

from __future__ import annotations

from ..plugin_utils.calls.action import ActionModule

__all__ = ["ActionModule"]
