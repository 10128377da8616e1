"""Loads the databases of an OpenLDAP server into an empty folder, and says how many entries they then have.

It needs nothing but Python's standard library, so that Sandbox can run it, as a program of its own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

_ELSEWHERE = re.compile(r"(?:olcTLS\w*|olcPidFile|olcArgsFile|olcLogFile|olcSaslHost|olcSaslRealm):", re.IGNORECASE)
"""Attributes of a configuration that tell of files and names of the server's own machine"""
_ELSEWHERE_IN_FILE = re.compile(r"(?:TLS\w*|pidfile|argsfile|logfile|sasl-host|sasl-realm)\s", re.IGNORECASE)
_SAID = 2000


class Failed(Exception):
    """What was loaded, or a program, failed; the message says how."""


def entries_in(text: str) -> int:
    """Return the number of entries in LDIF."""
    return len(re.findall(r"^dn:", text, re.MULTILINE))


def unfolded(text: str) -> list[str]:
    """Return the lines of LDIF, those that go on in the next one joined; see RFC 2849."""
    return re.sub(r"\r?\n ", "", text).split("\n")


def elsewhere(text: str, folder: str) -> tuple[str, list[str]]:
    """Return (a configuration as LDIF with its databases below a folder, the folders of these databases)."""
    lines: list[str] = []
    folders: list[str] = []
    for line in unfolded(text):
        if _ELSEWHERE.match(line):
            continue
        if re.match(r"olcDbDirectory::?", line):
            folders.append(os.path.join(folder, f"database{len(folders)}"))
            lines.append(f"olcDbDirectory: {folders[-1]}")
        else:
            lines.append(line)
    return "\n".join(lines), folders


def elsewhere_in_file(text: str, folder: str) -> tuple[str, list[str]]:
    """Return the same as `elsewhere` for the text of a slapd.conf."""
    lines: list[str] = []
    folders: list[str] = []
    for line in text.split("\n"):
        if _ELSEWHERE_IN_FILE.match(line):
            continue
        if re.match(r"directory\s", line):
            folders.append(os.path.join(folder, f"database{len(folders)}"))
            lines.append(f"directory {folders[-1]}")
        else:
            lines.append(line)
    return "\n".join(lines), folders


def _run(*argv: str) -> str:
    """Run a program and return what it says. Raise Failed."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        stderr_text = done.stderr.decode("utf-8", "backslashreplace").strip()
        raise Failed(f"{os.path.basename(argv[0])} failed with exit code {done.returncode}: {stderr_text[-_SAID:]}")
    return done.stdout.decode("utf-8", "surrogateescape")


def survey(programs: Mapping[str, str], folder: str, order: Mapping[str, Any], room: str) -> dict[str, Any]:
    """Return {number of a database: its entries once loaded}; `folder` has the LDIF, `order` is what is known of it. Raise Failed."""
    with open(os.path.join(folder, order["config"]), encoding="utf-8", errors="surrogateescape") as stream:
        text = stream.read()
    is_file = order["config"].endswith(".conf")
    changed, folders = (elsewhere_in_file if is_file else elsewhere)(text, room)
    config = os.path.join(room, "config")
    for path in folders:
        os.mkdir(path, 0o700)
    written = config if is_file else f"{config}.ldif"
    with open(written, "x", encoding="utf-8", errors="surrogateescape") as out:
        out.write(changed)
    how = ["-f", config] if is_file else ["-F", config]
    if not is_file:
        os.mkdir(config, 0o700)
        _run(programs["slapadd"], *how, "-n", "0", "-l", written)
    found = {}
    for number, name in order["databases"].items():
        _run(programs["slapadd"], "-g", "-q", *how, "-n", number, "-l", os.path.join(folder, name))
        found[number] = entries_in(_run(programs["slapcat"], "-g", "-o", "ldif-wrap=no", *how, "-n", number))
    return {"problem": "", "entries": found}


def main(argv: list[str]) -> int:
    """Print how many entries there are as JSON; `argv` is JSON of programs, the folder of LDIF and JSON that tells of it."""
    try:
        found = survey(json.loads(argv[0]), argv[1], json.loads(argv[2]), os.getcwd())
    except Failed as error:
        found = {"problem": str(error)}
    sys.stdout.write(json.dumps(found))
    return 0
