"""The texts of a first inventory's files, as a person would write them: the answers, with comments on what they mean. Pure."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...module_utils.kinds.items import check_name
from ...module_utils.kinds.registry import CATEGORIES, DISCOVERABLE
from ...module_utils.system.errors import InvalidInput
from .inventory_servers import server_items

LOCAL = "localhost"
_PLAIN = re.compile(r"[A-Za-z/~_][\w./@+~-]*", re.ASCII)
_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null", "none")
_TEMPLATE = re.compile(r"\{[{%#]")
_TOO_HIGH = ("/", "/home", "/srv", "/opt", "/var", "/var/lib", "/root")
"""Folders too general for discovery: repositories there are listed one by one"""
_TITLES = {"svn": "Subversion repositories", "trac": "Trac environments", "git": "Git repositories"}


_WATCH = (
    "# It sees for itself, every hour, whether its sources come, and mails where they do not, also with this machine dead: by its sendmail, or by\n"
    "# a server named in altbackup_watch_mail_host. More in docs/monitoring.md.\n"
    "altbackup_watch: true\n"
)


@dataclass(frozen=True)
class Host:
    """A host as it was answered."""

    name: str
    address: str = ""
    user: str = ""
    port: int | None = None
    become: bool = False

    @property
    def is_local(self) -> bool:
        """Whether it is this machine, which needs no ssh."""
        return self.name == LOCAL and not self.address


@dataclass(frozen=True)
class Answers:
    """The answers, and what the sources hold."""

    name: str
    sources: Sequence[Host]
    targets: Sequence[Host]
    base: str
    target_base: str
    mail: str
    """Addresses, separated by commas, or `none`"""
    allow_root: bool = False
    """Whether bases may lie on the root file system"""
    mail_server: Mapping[str, str] = field(default_factory=dict)
    """host, port and security of a server that takes mails of targets, too, {} if none is known"""
    found: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """{source: facts of its survey}, without sources that did not answer"""

    @property
    def hosts(self) -> list[Host]:
        """All hosts, each once."""
        return list({host.name: host for host in [*self.sources, *self.targets]}.values())


def parse_host(text: str, user: str = "", become: bool = False) -> Host:
    """Return the host of `[NAME=][USER@]ADDRESS[:PORT]`; `user` and `become` are its defaults, and root needs no become. Raise InvalidInput."""
    found = re.fullmatch(
        r"(?:(?P<name>\w[\w.-]*)=)?(?:(?P<user>\w[\w.-]*)@)?(?P<address>\w[\w.-]*|\[[0-9A-Fa-f:]+\])(?::(?P<port>\d{1,5}))?",
        text,
        re.ASCII,
    )
    if not found or not 1 <= int(found["port"] or 22) <= 65535:
        raise InvalidInput(f"{text!r} is no host: write [NAME=][USER@]ADDRESS[:PORT], like dayabay=scm@192.0.2.10")
    address = found["address"].strip("[]")
    name = found["name"] or address
    if name == LOCAL and address == LOCAL:
        return Host(LOCAL)
    check_name(name)
    login = found["user"] or user
    return Host(name, address, login, int(found["port"]) if found["port"] else None, become and login != "root")


def scalar(value: str) -> str:
    """Return a text as a YAML scalar that reads back as the same text, and in which Ansible evaluates no template."""
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return f"{'!unsafe ' if _TEMPLATE.search(value) else ''}{json.dumps(value)}"


def files(answers: Answers) -> dict[str, str]:
    """Return {path in the inventory: text}."""
    alone = [host.name for host in answers.hosts] == [LOCAL] and answers.hosts[0].is_local
    written = {
        "hosts.yml": _hosts(answers, alone),
        "group_vars/sources/storage.yml": _source_storage(answers),
        "group_vars/targets/storage.yml": _target_storage(answers, alone),
        "group_vars/all/mail.yml": _mail(answers),
        "group_vars/all/setup.yml": _setup(answers),
    }
    if alone:
        written["group_vars/all/connection.yml"] = _local("# How Ansible reaches the hosts")
    for host in answers.hosts:
        parts = [] if alone else [_connection(host)]
        if host.name in [source.name for source in answers.sources]:
            parts.append(_items(host, answers.found.get(host.name)))
        elif not host.is_local:
            parts.append(_WATCH + _watch_server(answers.mail_server))
        if parts:
            written[f"host_vars/{host.name}.yml"] = "---\n" + "\n".join(parts)
    return written


def _watch_server(server: Mapping[str, str]) -> str:
    """Return the lines on the server that takes a target's own mails."""
    return "".join(
        f"altbackup_watch_mail_{name}: {int(text) if text.isdigit() else scalar(text)}\n"
        for name, text in server.items()
    )


def _hosts(answers: Answers, alone: bool) -> str:
    where = (
        "# This machine is source and target: it copies its own data into another of its folders, which protects against mistakes,\n"
        "# not against the loss of the machine. A target elsewhere is one more host in targets, named in altbackup_targets.\n"
        if alone
        else "# What holds for all members of a group is in group_vars/GROUP/, what holds for one host in host_vars/HOST.yml.\n"
    )

    def group(name: str, hosts: Sequence[Host], what: str) -> str:
        return f"{name}:  # {what}\n  hosts:\n" + "".join(f"    {scalar(host.name)}:\n" for host in hosts)

    return (
        "---\n# The groups sources and targets say who is what; a host may be in both. All that can be set: docs/variables.md.\n"
        f"{where}\n{group('sources', answers.sources, 'hold live data')}\n{group('targets', answers.targets, 'receive copies')}"
    )


def _source_storage(answers: Answers) -> str:
    names = ", ".join(scalar(host.name) for host in answers.targets)
    return (
        "---\n# Where a source's tarballs lie. The folder .altbackup in it, which setup.yml makes, says that the right disk is mounted.\n"
        f"# It must not lie inside an item's path.\naltbackup_base: {scalar(answers.base)}\n\n"
        f"# Who receives copies: names of hosts in group targets.\naltbackup_targets: [{names}]\n"
    )


def _target_storage(answers: Answers, alone: bool) -> str:
    more = "# On a real target it lies on another machine, better at another site.\n" if alone else ""
    return (
        f"---\n# Where the copies lie, in a folder for each source, with a marker as on a source.\n{more}"
        "# A target keeps 3 days and contents, and the newest of 7 days, 4 weeks and 6 months, unless you say otherwise: docs/retention.md\n"
        f"altbackup_target_base: {scalar(answers.target_base)}\n"
    )


def _mail(answers: Answers) -> str:
    if answers.mail == "none":
        return "---\n# Nobody gets mail on failures. To change that, name somebody, like scm-admins@example.org.\naltbackup_mail_to: none\n"
    return (
        "---\n# Who gets the mail on failures of the hosts. Who gets that of every failed run says MAILTO in the crontab, or ALTBACKUP_MAIL_TO.\n"
        f"altbackup_mail_to: {scalar(answers.mail)}\n"
    )


def _setup(answers: Answers) -> str:
    allowed = "true" if answers.allow_root else "false"
    return (
        "---\n# What setup.yml makes: docs/setup.md. Who starts a backup every night, a check and drills every week: cron, or timers of systemd.\n"
        "altbackup_schedule: cron\n\n"
        "# Whether a base may lie on the root file system: if it is meant for a disk of its own, false, and mount that disk first.\n"
        f"altbackup_allow_root_filesystem: {allowed}\n"
    )


def _local(title: str) -> str:
    return (
        f"---\n{title}: this machine itself, no ssh, with the Python that runs Ansible.\n"
        'ansible_connection: local\nansible_python_interpreter: "{{ ansible_playbook_python }}"\n'
    )


def _connection(host: Host) -> str:
    if host.is_local:
        return _local("# How Ansible reaches it").removeprefix("---\n")
    lines = [
        "# How Ansible reaches it, by keys, never by a password; its host key must be known.",
        f"ansible_host: {scalar(host.address)}",
        *([f"ansible_port: {host.port}"] if host.port else []),
        *([f"ansible_user: {scalar(host.user)}"] if host.user else []),
    ]
    if host.become:
        lines += [
            "# It becomes root, by sudo without a password, and reads each item as the item's owner.",
            "ansible_become: true",
        ]
    return "\n".join(lines) + "\n"


def _items(host: Host, found: Mapping[str, Any] | None) -> str:
    head = "# What is backed up. Each item has a kind, a name, under which its tarballs are stored, and an absolute path.\n"
    empty = f"{head}# altbackup_items:\n#   - {{kind: folder, name: notes, path: /srv/notes}}\n"
    if found is None:
        return f"{empty}# {host.name} did not answer when this was written, so nothing was found on it.\naltbackup_items: []\n"
    discovered, named = arranged(found.get("repositories") or (), found.get("folders") or ())
    servers = server_items(found.get("servers") or (), found.get("uid") == 0)
    items = [f"  - {{kind: {kind}, name: {scalar(name)}, path: {scalar(path)}}}\n" for kind, name, path in named]
    items += [f"  # {comment}.\n  - {_flow(item)}\n" for comment, item, is_whole in servers if is_whole]
    wanting = [f"  # {comment}:\n  # - {_flow(item)}\n" for comment, item, is_whole in servers if not is_whole]
    text = ""
    if items:
        text += f"{head}altbackup_items:\n{''.join([*items, *wanting])}"
    elif wanting:
        lines = "".join(wanting).replace("\n  # - ", "\n#   - ").replace("\n  # ", "\n# ").removeprefix("  ")
        text += f"{head}# altbackup_items:\n{lines}{'' if discovered else 'altbackup_items: []' + chr(10)}"
    if discovered:
        text += "\n" if text else ""
        text += "# All repositories below these folders are items, those that come later, too. What is none is reported.\naltbackup_discover:\n"
        text += "".join(f"  {kind}: {scalar(folder)}  # {_TITLES[kind]}\n" for kind, folder in discovered.items())
    if not text:
        text = f"{empty}# Nothing was found here that is usually backed up.\naltbackup_items: []\n"
    if any(path == "/etc" for _, _, path in named):
        text += "\n# /etc has secrets in it, such as private keys of this host: its copies have them, too. `exclude: [...]` leaves files out.\n"
    return text


def _flow(item: Mapping[str, Any]) -> str:
    """Return an item as a mapping on one line of YAML."""
    return f"{{{', '.join(f'{key}: {value if isinstance(value, int) else scalar(value)}' for key, value in item.items())}}}"


def arranged(
    repositories: Sequence[Mapping[str, str]], folders: Sequence[str]
) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """Return ({kind: the folder below which all repositories of that kind lie}, [(kind, name, path)] of all other items).

    `repositories` have kind and path.
    """
    discovered: dict[str, str] = {}
    named: list[tuple[str, str, str]] = []
    for kind in dict.fromkeys(entry["kind"] for entry in repositories):
        paths = [entry["path"] for entry in repositories if entry["kind"] == kind]
        above = os.path.commonpath([os.path.dirname(path) for path in paths])
        if kind in DISCOVERABLE and len(paths) > 1 and above not in _TOO_HIGH:
            discovered[kind] = above
        else:
            named += _named(kind, paths)
    return discovered, [*named, *_named("folder", folders)]


def _named(kind: str, paths: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return (kind, name, path) of items with distinct names, as short as possible; a path from which no name can be made is left out."""
    taken: dict[str, str] = {}
    for path in paths:
        whole = path.strip("/").split("/")
        short = [*whole[:-1], whole[-1].removesuffix(".git")]
        for parts, count in [(way, number) for way in (short, whole) for number in range(1, len(way) + 1)]:
            name = "-".join(parts[-count:])
            try:
                check_name(name)
            except InvalidInput:
                continue
            if name not in taken:
                taken[name] = path
                break
    if kind not in CATEGORIES:
        raise AssertionError(kind)
    return [(kind, name, path) for name, path in taken.items()]
