"""A lab of several real ssh hosts on one machine; see README.md."""

from __future__ import annotations

from .errors import LabError, NamespacesNeeded
from .host import Host
from .inventory import write_inventory
from .lab import Lab
from .pythons import find_python

__all__ = ["Host", "Lab", "LabError", "NamespacesNeeded", "find_python", "write_inventory"]
