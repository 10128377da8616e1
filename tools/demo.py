#!/usr/bin/env python3
"""Show a backup from its first night to a mended copy, on real data made below var/demo. Usage: make demo.

Every command that is shown is the one that runs. What Ansible says is shortened; all of it is in var/demo/logs.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
DEMO = Path("var/demo")
LIVE = DEMO / "live"
WORK = DEMO / "work"
SOURCE = DEMO / "source"
TARGET = DEMO / "target"
LOGS = DEMO / "logs"
MADE_BY = DEMO / ".made-by-make-demo"

ITEMS = 5
SECONDS = 300
EXT = ".tar.zst"

SVN_LIVE = LIVE / "svn" / "dybsvn"
TRAC_LIVE = LIVE / "tracs" / "dybsvn"
GIT_LIVE = LIVE / "git" / "toolbox.git"
FOLDER_LIVE = LIVE / "svnsetup"
SQLITE_LIVE = LIVE / "monitor.db"

ODD_NAMES = (
    b"a name with spaces",
    b"it's \"quoted\"",
    b"$HOME and `date`",
    b"-rf",
    b"two\nlines",
    b"not utf-8 \xe4\xf6\xfc",
    "μ, 大亚湾".encode(),
)


class DemoFailed(Exception):
    """Something went otherwise than the demo shows."""


@dataclass
class Ran:
    """A command that has run: its exit code, all that it said, and how long it took."""

    code: int
    output: str
    seconds: float
    log: Path


@dataclass
class Stored:
    """The tarballs below the two bases: the bytes that they take up, and how many names they have."""

    inodes: dict[tuple[int, int], int] = field(default_factory=dict)
    names: set[Path] = field(default_factory=set)

    def since(self, before: Stored) -> tuple[int, int, int]:
        """Given an earlier state, return how many files and bytes are new, and how many names are new links to old files."""
        new = [size for inode, size in self.inodes.items() if inode not in before.inodes]
        return len(new), sum(new), len(self.names - before.names) - len(new)
