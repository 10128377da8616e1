"""The doctor's findings about a site, and the commands that it prints, executed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from integration.lab_site import environment
from integration.site import REPOSITORY

PLACES = {"schedule", "mail", "last run"}
"""Places on the controller that are wrong in these tests, whatever the site"""


def findings(inventory: Path, folder: Path, home: Path) -> list[dict[str, str]]:
    """Run doctor.yml; return its findings."""
    file = folder / "findings.json"
    file.unlink(missing_ok=True)
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory)]
    command += [str(REPOSITORY / "playbooks" / "doctor.yml"), "-e", f"altbackup_list_file={file}"]
    done = subprocess.run(command, env=_environment(home), capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, str]] = json.loads(file.read_text())["findings"]
    return found


def _environment(home: Path) -> dict[str, str]:
    return {**environment(), "HOME": str(home), "ALTBACKUP_HISTORY": str(home / "history"), "ANSIBLE_TIMEOUT": "60"}


def mend(command: str, home: Path) -> None:
    """Run a command exactly as printed."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=home,
        env=_environment(home),
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def mend_all(commands: Sequence[str], home: Path, files: Iterable[str]) -> None:
    """Run commands exactly as printed, in parallel, but those that write one of some files one after the other.

    Those that set up a pair are printed after what mends its nodes: they come last, one after the other, as no two such runs may overlap.
    """
    named = list(files)
    setting_up = [command for command in commands if " run setup " in command]
    lanes: dict[str, list[str]] = {}
    for command in commands:
        if command not in setting_up:
            lanes.setdefault(next((file for file in named if file in command), command), []).append(command)

    def run(lane: list[str]) -> None:
        for command in lane:
            mend(command, home)

    with ThreadPoolExecutor(len(lanes)) as pool:
        list(pool.map(run, lanes.values()))
    run(setting_up)


def states(found: list[dict[str, str]]) -> dict[tuple[str, str], str]:
    """Return {(node or pair, what): the worst state}."""
    worst: dict[tuple[str, str], str] = {}
    for entry in found:
        place = (entry["pair"] or entry["node"], entry["what"])
        worst[place] = max(worst.get(place, ""), entry["state"])  # ok, unknown, wrong
    return worst


def not_right(found: list[dict[str, str]]) -> set[tuple[str, str]]:
    """Return what is wrong, without what is always wrong here."""
    return {place for place, state in states(found).items() if state == "wrong" and place[1] not in PLACES}


def commands_of(found: list[dict[str, str]], wanted: Iterable[tuple[str, str]]) -> list[str]:
    """Return the commands that mend what is wrong, in the order of the findings."""
    told = [entry["mend"] for entry in found if (entry["pair"] or entry["node"], entry["what"]) in wanted]
    return list(dict.fromkeys(command for command in told if command and not command.startswith("# ")))
