"""Reads the command line of `altbackup run`: its playbook, its inventory, and the settings of Ansible that apply."""

from __future__ import annotations

import argparse
import configparser
import json
import locale
import os
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.programs import search_path
from ...module_utils.system.values import closest
from ..mail.memory import job_key
from ..mail.settings import MAIL_OPTIONS, Settings, judge, variable_of

ROOT = Path(__file__).resolve().parents[3]
"""The folder of the collection, a checkout or installed"""
PROGRAM = str(ROOT / "bin" / "altbackup")
QUESTIONS = tuple(ROOT / "playbooks" / name for name in ("contents.yml", "doctor.yml", "survey.yml"))
"""Playbooks whose outcome says nothing about how backups stand"""
_DEFAULT = ROOT / "inventory" / "local"
_COLLECTION = "altbackup.core."
_ASKING = {
    "ask_pass": ("-k", "--ask-pass"),
    "ask_become_pass": ("-K", "--ask-become-pass"),
    "ask_vault_pass": ("-J", "--ask-vault-pass", "--ask-vault-password"),
    "step": ("--step",),
}
_IDLE = ("--list-hosts", "--list-tasks", "--list-tags", "--syntax-check", "--version", "-h", "--help")
_MOST_EVENT_BYTES = 8 * 1024 * 1024


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidInput(message)


@dataclass(frozen=True)
class Job:
    """A playbook with its inventories and options for ansible-playbook."""

    playbook: Path
    options: tuple[str, ...] = ()
    """As they are passed to ansible-playbook"""
    inventory: tuple[str, ...] = ()
    limit: str | None = None
    tags: tuple[str, ...] = ()
    skip_tags: tuple[str, ...] = ()
    check: bool = False
    argv: tuple[str, ...] = ()
    """The whole command line"""

    @property
    def label(self) -> str:
        """The name of the playbook in mails."""
        return self.playbook.name

    @property
    def harmless(self) -> bool:
        """Whether it changes and proves nothing, so that nobody need be told of its failures."""
        return self.check or self.playbook in (ROOT / "playbooks" / "list.yml", *QUESTIONS)

    @property
    def lock(self) -> str:
        """The name of its lock: runs of the same playbook and inventory exclude each other."""
        return json.dumps([str(self.playbook), *self.inventory])

    @property
    def key(self) -> str:
        """The key that makes runs of different nights the same job; the callback computes the same."""
        options = {"subset": self.limit, "tags": self.tags, "skip_tags": self.skip_tags, "check": self.check}
        return job_key([str(self.playbook)], self.inventory, **options)


@dataclass(frozen=True)
class AnsibleSettings:
    """The configuration file that Ansible is going to read, and its content."""

    path: Path
    sections: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def get(self, section: str, key: str) -> str:
        """Return a value as written, "" if it is not set."""
        return self.sections.get(section, {}).get(key, "")


def ansible_settings(environment: Mapping[str, str]) -> AnsibleSettings:
    """Return Ansible's settings: from the file that ANSIBLE_CONFIG names, else from this collection's.

    An unreadable file gives no settings here; Ansible reports it. Ansible's ConfigManager is not used, because these settings also serve to
    mail that Ansible is not installed.
    """
    path = Path(environment.get("ANSIBLE_CONFIG") or ROOT / "ansible.cfg").expanduser().absolute()
    path = path / "ansible.cfg" if path.is_dir() else path
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError):
        return AnsibleSettings(path)
    return AnsibleSettings(path, {name: dict(parser[name]) for name in parser.sections()})


def own_settings(environment: Mapping[str, str]) -> AnsibleSettings:
    """Return the user's settings that name an inventory: of ANSIBLE_CONFIG, else of this folder unless others can write to it, or home."""
    home = environment.get("HOME") or os.path.expanduser("~")
    here = [] if os.stat(".").st_mode & stat.S_IWOTH else [Path("ansible.cfg")]
    named = environment.get("ANSIBLE_CONFIG")
    for path in [Path(named)] if named else [*here, Path(home) / ".ansible.cfg"]:
        settings = ansible_settings({"ANSIBLE_CONFIG": str(path)})
        if settings.get("defaults", "inventory"):
            return settings
    return AnsibleSettings(Path(os.devnull))


def mail_settings(settings: AnsibleSettings, environment: Mapping[str, str]) -> Settings:
    """Return the settings of the mail as the callback has them: the environment takes precedence over the file."""
    options: dict[str, Any] = {}
    for name in MAIL_OPTIONS:
        options[name] = environment.get(variable_of(name), settings.get("callback_error_mail", name))
    return judge(options, environment)


def read_job(
    playbook: str,
    options: Sequence[str],
    argv: Sequence[str],
    settings: AnsibleSettings,
    environment: Mapping[str, str],
) -> Job:
    """Return the job of a playbook and options for ansible-playbook, without `check_job`. Raise InvalidInput."""
    seen = _look(options)
    return Job(
        playbook=find_playbook(playbook),
        options=tuple(options),
        inventory=tuple(_inventory(seen.inventory, environment)),
        limit=seen.limit,
        tags=_tags(seen.tags),
        skip_tags=_tags(seen.skip_tags),
        check=seen.check,
        argv=tuple(argv),
    )


def check_job(job: Job) -> None:
    """Raise InvalidInput if a job cannot run, or would wait for an answer."""
    if not job.playbook.is_file():
        known = ", ".join(sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml")))
        raise InvalidInput(f"the playbook {job.playbook} does not exist; playbooks of this collection: {known}")
    if job.options and not job.options[0].startswith("-"):
        raise InvalidInput(f"one playbook a run, but there is also {job.options[0]!r}")
    seen = _look(job.options)
    for name, words in _ASKING.items():
        if getattr(seen, name):
            raise InvalidInput(f"{words[-1]} asks, and here nobody answers: ansible-playbook takes it from a file, too")
    for word in _IDLE:
        if word in job.options:
            raise InvalidInput(f"{word} runs nothing: call ansible-playbook for it")
    if not job.inventory:
        raise InvalidInput(
            "no inventory is named: say which with -i INVENTORY, or with ALTBACKUP_INVENTORY in the environment. What ansible-playbook "
            f"takes in this checkout by itself is used only if it is named: -i {_DEFAULT}"
        )
    require_files(job.inventory)


def require_files(inventory: Sequence[str]) -> None:
    """Raise InvalidInput for an inventory that does not exist, with the nearest name in its folder."""
    for name in inventory:
        if "," in name or os.path.exists(name):
            continue
        folder, own = os.path.split(name)
        near = closest(own, os.listdir(folder)) if os.path.isdir(folder) else ""
        hint = f", did you mean {os.path.join(folder, near)}?" if near else ""
        raise InvalidInput(f"the inventory {name} does not exist{hint}")


def is_verbose(options: Sequence[str]) -> bool:
    """Return whether the options for ansible-playbook include -v."""
    return bool(_look(options).verbose)


def find_playbook(name: str) -> Path:
    """Return the absolute path of a playbook, given as a path or by the name of one of this collection; it need not exist."""
    own = ROOT / "playbooks" / f"{name.removeprefix(_COLLECTION).removesuffix('.yml')}.yml"
    return own if not os.path.exists(name) and "/" not in name and own.is_file() else Path(name).absolute()


def find_ansible(environment: Mapping[str, str]) -> str:
    """Return the PATH to use, with the folder of this Python first. Raise InvalidInput if ansible-playbook is not on it."""
    folders = [str(Path(sys.executable).parent), *search_path().split(os.pathsep)]
    path = os.pathsep.join(dict.fromkeys(folders))
    if not shutil.which("ansible-playbook", path=path):
        raise InvalidInput(f"ansible-playbook is not installed for {sys.executable}, nor on PATH {search_path()}")
    return path


def child_environment(
    settings: AnsibleSettings, environment: Mapping[str, str], *, colour: bool, job: Job | None = None
) -> dict[str, str]:
    """Return the variables to add to the environment of ansible-playbook under ansible-runner."""
    named = {}
    if job is not None and not _look(job.options).inventory:
        named["ANSIBLE_INVENTORY"] = ",".join(job.inventory)
    added = {
        "ANSIBLE_CONFIG": str(settings.path),
        # ansible-runner turns it off by default
        "ANSIBLE_HOST_KEY_CHECKING": settings.get("defaults", "host_key_checking") or "True",
        "MAX_EVENT_RES": str(_MOST_EVENT_BYTES),
    }
    if not colour:
        added["ANSIBLE_NOCOLOR"] = "1"
    if not _is_utf8():
        added["LC_ALL"] = "C.UTF-8"
    if ROOT.parts[-3:] == ("ansible_collections", "altbackup", "core"):
        added["ANSIBLE_COLLECTIONS_PATH"] = f"{ROOT.parents[2]}:~/.ansible/collections:/usr/share/ansible/collections"
    return {**{name: value for name, value in added.items() if name == "LC_ALL" or not environment.get(name)}, **named}


def _is_utf8() -> bool:
    """Return whether the locale of this process suits Ansible: every category is installed, and it is UTF-8."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "")
        return (locale.getlocale()[1] or "").lower() in ("utf-8", "utf8")
    except (locale.Error, ValueError):
        return False
    finally:
        locale.setlocale(locale.LC_ALL, before)


def _look(options: Sequence[str]) -> argparse.Namespace:
    """Return the options for ansible-playbook that matter here. Raise InvalidInput."""
    parser = _Parser(add_help=False)
    parser.add_argument("-i", "--inventory", "--inventory-file", action="append")
    parser.add_argument("-l", "--limit")
    parser.add_argument("-t", "--tags", action="append", default=[])
    parser.add_argument("--skip-tags", action="append", default=[])
    parser.add_argument("-C", "--check", action="store_true")
    for name, words in _ASKING.items():
        parser.add_argument(*words, dest=name, action="store_true")
    parser.add_argument("-v", "--verbose", action="count", default=0)
    for letter in "bD":
        parser.add_argument(f"-{letter}", action="count")
    for letter in "eucTfM":
        parser.add_argument(f"-{letter}", action="append")
    return parser.parse_known_args(list(options))[0]


def _tags(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({tag.strip() for value in values for tag in value.split(",")}))


def _inventory(given: Sequence[str] | None, environment: Mapping[str, str]) -> list[str]:
    """Return the inventories named on the command line, in the environment, or in the user's own settings.

    The default of this checkout's own ansible.cfg does not count, as no user named it.
    """
    base, names = Path.cwd(), list(given or ())
    shipped = False
    if not names:
        chosen = environment.get("ALTBACKUP_INVENTORY") or environment.get("ANSIBLE_INVENTORY") or ""
        if not chosen:
            own = own_settings(environment)
            chosen, base = own.get("defaults", "inventory"), own.path.parent
            shipped = own.path.resolve() == ROOT / "ansible.cfg"
        names = [name.strip() for name in chosen.split(",") if name.strip()]
    found = [
        name if "," in name else os.path.normpath(base / os.path.expanduser(os.path.expandvars(name))) for name in names
    ]
    return [] if shipped and [os.path.realpath(name) for name in found] == [str(_DEFAULT)] else found
