"""Findings on the connection of each pair, from what the dialling side tried and the facts of the other. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..planning.connections import is_fetched
from .finding import OK, UNKNOWN, WRONG, Commands, Finding, both, is_key
from .words import meaning, telling_line


@dataclass(frozen=True)
class Connection:
    """A pair, seen from the side that dials."""

    pair: str
    dialler: str
    dialled: str
    tried: Mapping[str, Any]
    mine: Mapping[str, Any]
    """Facts of the dialling side"""
    theirs: Mapping[str, Any]
    """Facts of the other side, {} if it could not be examined"""
    entry: Mapping[str, Any]
    """The plan's entry of the other side"""
    folder: str
    """The folder there to which the key may be bound"""
    from_controller: Mapping[str, Any]
    """How the controller reaches the other side: address, number, port"""
    fetched: bool = False

    def finding(self, what: str, state: str = OK, why: str = "", mend: str = "") -> Finding:
        """Return a finding on this pair."""
        return Finding(self.dialler, what, state, why, mend, self.pair)


def pairs(
    plan: Mapping[str, Any],
    known: Mapping[str, Mapping[str, Any]],
    from_controller: Mapping[str, Mapping[str, Any]],
    commands: Commands,
) -> list[Finding]:
    """Return the findings on all pairs; `known` is {node: facts}, `from_controller` is {node: how the controller reaches it}."""
    found = []
    for source, entry in plan["sources"].items():
        for target in entry["targets"]:
            label = f"{source} -> {target}"
            fetched = is_fetched(plan, source, target)
            dialler, dialled = (target, source) if fetched else (source, target)
            if target in entry["local_targets"]:
                found.append(Finding(source, "way", why="on this machine", pair=label))
                continue
            mine = known.get(dialler, {})
            tries = [
                one for one in mine.get("peers") or () if one.get("node") == dialled and one.get("fetch") == fetched
            ]
            if not tries:
                why = f"{dialler} could not be asked" if not mine else "it was not tried, as the base is not known"
                found.append(Finding(dialler, "way", UNKNOWN, why, pair=label))
                continue
            base = plan["sources"][source]["base"] if fetched else plan["targets"][target]["target_base"]
            folder = os.path.join(
                base or "/", ".altbackup", *(("outgoing", target) if fetched else ("incoming", source))
            )
            other = plan["sources" if fetched else "targets"][dialled]
            connection = Connection(
                label,
                dialler,
                dialled,
                tries[0],
                mine,
                known.get(dialled, {}),
                other,
                folder,
                from_controller.get(dialled, {}),
                fetched,
            )
            found += [
                replace(finding, set_up=_is_set_up(finding, connection, commands))
                for finding in judged(connection, commands)
            ]
    return found


def _is_set_up(finding: Finding, connection: Connection, commands: Commands) -> bool:
    """Return whether setup.yml mends a finding: it pins the host keys of pairs, installs rsync, and does what its command is told for."""
    if finding.state != WRONG or not connection.theirs:
        return False
    made = _set_up(connection, commands)
    return finding.what == "tools" or bool(made and (finding.what == "host key" or finding.mend == made))


def judged(connection: Connection, commands: Commands) -> list[Finding]:
    """Return the findings on a connection: each step that works, and the first that does not."""
    tried = connection.tried
    dialled = tried.get("dialled") or {}
    if tried.get("name"):
        return [
            connection.finding(
                "name", WRONG, f"{connection.dialler} does not know {tried['name']}", _name_mend(connection, commands)
            )
        ]
    shown = f"{dialled.get('address')} port {dialled.get('port')}"
    fine = [connection.finding("name", why=shown)] if dialled.get("direct") else []
    if tried.get("port"):
        return [*fine, connection.finding("port", WRONG, str(tried["port"]), _port_mend(connection, commands))]
    key = _key(connection, commands)
    message = str(tried.get("said") or "")
    what = meaning(message)
    if what in ("host key", "host key changed"):
        broken = [connection.finding("host key", WRONG, telling_line(message), _host_key_mend(connection, commands))]
        return [*fine, *broken, *(one for one in key if one.state == WRONG)]
    fine.append(connection.finding("host key", why=f"known in {dialled.get('known_hosts')}"))
    if any(one.state == WRONG for one in key):
        return [*fine, *key]
    if what == "key":
        return [*fine, connection.finding("key", WRONG, telling_line(message), _refused_mend(connection, commands))]
    if what == "tools":
        mend = commands.install(connection.dialled, "rsync", bool(connection.theirs.get("uid")))
        return [*fine, *key, connection.finding("tools", WRONG, message, mend)]
    if message:
        return [*fine, *key, _transfer(connection, message, commands)]
    return [*fine, *key, connection.finding("way", why="rsync gets to its folder")]


def _name_mend(connection: Connection, commands: Commands) -> str:
    """Return the command that makes the name known to the dialling side, with the address that the controller uses."""
    address = str(connection.from_controller.get("number") or "")
    name = str((connection.tried.get("dialled") or {}).get("address"))
    if not address:
        return f"# set altbackup_rsync_host of {connection.dialled} to the address under which {connection.dialler} reaches it"
    return commands.on(
        connection.dialler, "lineinfile", bool(connection.mine.get("uid")), path="/etc/hosts", line=f"{address} {name}"
    )


def _port_mend(connection: Connection, commands: Commands) -> str:
    port, used = (connection.tried.get("dialled") or {}).get("port"), connection.from_controller.get("port")
    if connection.theirs and used and used != port:
        return commands.setting(connection.dialled, "altbackup_rsync_port", used)
    if connection.theirs:
        return f"# a firewall between {connection.dialler} and {connection.dialled} is in the way, or altbackup_rsync_host of {connection.dialled} is wrong"
    return f"# start sshd on {connection.dialled} (systemctl start ssh)"


def _host_key_mend(connection: Connection, commands: Commands) -> str:
    """Return the command that pins the other side's host key, as that side told it to the controller over a trusted connection."""
    dialled = connection.tried.get("dialled") or {}
    name = str(dialled.get("alias") or dialled.get("host"))
    shown = name if dialled.get("port") in (22, None) or dialled.get("alias") else f"[{name}]:{dialled['port']}"
    keys = sorted(filter(is_key, connection.theirs.get("host_keys") or ()), key=lambda key: "ed25519" not in key)
    path = str(dialled.get("known_hosts"))
    if not keys:
        return f"# reach {connection.dialled} from the controller first: its host key is pinned by what it tells there"
    pin = commands.on(connection.dialler, "known_hosts", name=shown, key=f"{shown} {keys[0]}", path=path)
    if dialled.get("known_hosts_folder") is False:
        folder = commands.on(connection.dialler, "file", path=os.path.dirname(path), state="directory", mode="0700")
        return both(folder, pin)
    return pin


def _key(connection: Connection, commands: Commands) -> list[Finding]:
    """Return the findings on the key: whether it exists, is private, is accepted, and what it is bound to."""
    key = connection.tried.get("key") or {}
    path = str(key.get("path") or "")
    if not key.get("there"):
        if not key.get("named"):
            return []
        why = f"{path}: {key.get('why') or 'it is not there'}"
        return [connection.finding("key", WRONG, why, _new_key_mend(connection, path, commands))]
    if int(str(key.get("mode") or "0"), 8) & 0o077 and key.get("mine"):
        mend = commands.on(connection.dialler, "file", path=path, mode="0600")
        return [
            connection.finding(
                "key", WRONG, f"{path} has mode {key['mode']}: ssh does not use a key that others can read", mend
            )
        ]
    theirs = _authorized(connection)
    public = str(key.get("public") or "")
    if theirs is None or not is_key(public):
        return [connection.finding("key", why=path)] if not connection.tried.get("said") else []
    if theirs.get("problem", "").startswith("there is no user"):
        mend = commands.setting(connection.dialled, "altbackup_rsync_user", str(connection.theirs.get("user")))
        return [
            connection.finding(
                "key", WRONG, f"{connection.dialled}: {theirs['problem']}, as whom {connection.dialler} logs in", mend
            )
        ]
    options = [line.partition(public)[0].strip() for line in theirs.get("lines") or () if f" {public} " in f" {line} "]
    if not options and meaning(str(connection.tried.get("said") or "")) == "key":
        mend = _accept_mend(connection, theirs, public, commands)
        return [
            connection.finding(
                "key",
                WRONG,
                f"{theirs['path']} on {connection.dialled} does not have {path}.pub of {connection.dialler}",
                mend,
            )
        ]
    if not options:
        return [connection.finding("key", why=path)] if not connection.tried.get("said") else []
    return [
        connection.finding("key", why=f"{path}, accepted"),
        _bound(connection, theirs, public, options[0], commands),
    ]


def _authorized(connection: Connection) -> Mapping[str, Any] | None:
    """Return the authorized keys of the login user on the other side, None if they are not known."""
    found: Mapping[str, Any] | None = (connection.theirs.get("authorized") or {}).get(
        str(connection.entry.get("rsync_user") or "")
    )
    return found


def _bound(connection: Connection, theirs: Mapping[str, Any], public: str, options: str, commands: Commands) -> Finding:
    """Return the finding on whether a key is bound as the inventory says."""
    command = re.search(r'command="((?:[^"\\]|\\.)*)"', options)
    if not connection.entry.get("rrsync"):
        if command and "rrsync" in command[1]:
            why = f"the key is bound by rrsync on {connection.dialled}, but altbackup_rrsync is not set there"
            return connection.finding(
                "forced command", WRONG, why, commands.setting(connection.dialled, "altbackup_rrsync", True)
            )
        told = (
            f"bound to {connection.folder}"
            if _leads_to(command, connection.folder)
            else f"bound to: {command[1]}"
            if command
            else "not bound: it opens the whole account"
        )
        return connection.finding("forced command", why=told)
    if command and _leads_to(command, connection.folder):
        return connection.finding("forced command", why=f"bound to {connection.folder}")
    bound = f"it is bound to: {command[1]}" if command else "it is not bound"
    mend = _accept_mend(connection, theirs, public, commands)
    return connection.finding(
        "forced command",
        WRONG,
        f"altbackup_rrsync is set for {connection.dialled}, so the key is to be bound to {connection.folder}, but {bound}",
        mend,
    )


def _leads_to(command: re.Match[str] | None, folder: str) -> bool:
    """Return whether a key's forced command names the folder, not merely a path that begins with it."""
    return (
        command is not None and re.search(rf"(?<![^\s'\"\\]){re.escape(folder)}(?![^\s'\"\\])", command[1]) is not None
    )


def _set_up(connection: Connection, commands: Commands) -> str:
    """Return the command of setup.yml that makes, admits and binds a pair's keys; "" if rrsync, which it does not set up, binds them."""
    return "" if connection.entry.get("rrsync") else commands.set_up(connection.pair)


def _line(connection: Connection, public: str) -> str:
    """Return the authorized_keys line of a key that rrsync binds."""
    return f'restrict,command="rrsync {"-ro" if connection.fetched else "-wo"} {connection.folder}" {public}'


def _as_root(connection: Connection, theirs: Mapping[str, Any]) -> bool:
    """Return whether writing the login user's keys needs root."""
    return bool(connection.theirs.get("uid")) and theirs.get("user") != connection.theirs.get("user")


def _accept_mend(connection: Connection, theirs: Mapping[str, Any], public: str, commands: Commands) -> str:
    if made := _set_up(connection, commands):
        return made
    body = public.rsplit(maxsplit=1)[-1]
    return commands.on(
        connection.dialled,
        "lineinfile",
        _as_root(connection, theirs),
        path=str(theirs["path"]),
        regexp=rf"(^|\s){re.escape(body)}(\s|$)",
        line=_line(connection, public),
        create=True,
        mode="0600",
        owner=str(theirs.get("user")),
    )


def _new_key_mend(connection: Connection, path: str, commands: Commands) -> str:
    """Return the commands that make a key and have it accepted; only its public half leaves the machine."""
    if made := _set_up(connection, commands):
        return both(
            commands.run_on(connection.dialler, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path]), made
        )
    theirs = _authorized(connection)
    if (
        not theirs
        or not theirs.get("path")
        or "{" in f"{theirs['path']}{theirs.get('user')}{connection.folder}{connection.dialler}"
    ):
        return commands.run_on(connection.dialler, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path])
    fetched = f"~/.altbackup/keys/{connection.dialler}.pub"
    line = _line(connection, "{{ (lookup('file', '" + fetched + "') | split)[:2] | join(' ') }}")
    return both(
        commands.run_on(connection.dialler, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path]),
        commands.on(connection.dialler, "fetch", src=f"{path}.pub", dest=fetched, flat=True),
        commands.on_by_template(
            connection.dialled,
            "lineinfile",
            _as_root(connection, theirs),
            path=str(theirs["path"]),
            line=line,
            create=True,
            mode="0600",
            owner=str(theirs.get("user")),
        ),
    )


def _refused_mend(connection: Connection, commands: Commands) -> str:
    """Return what mends a key that is refused although it exists and is listed, as far as the reason is known."""
    theirs = _authorized(connection) or {}
    loose = theirs.get("loose") or ()
    if loose:
        modes = {"authorized_keys": "0600", ".ssh": "0700"}
        become = bool(connection.theirs.get("uid"))
        return both(
            *(
                commands.on(
                    connection.dialled,
                    "file",
                    become,
                    path=str(entry["path"]),
                    mode=modes.get(os.path.basename(str(entry["path"])), "go-w"),
                    owner=str(theirs.get("user")),
                )
                for entry in loose
            )
        )
    made = commands.set_up(connection.pair)
    if not (connection.tried.get("key") or {}).get("named") and not connection.entry.get("rrsync"):
        return made
    if not connection.tried.get("key", {}).get("there"):
        path = "~/.ssh/altbackup"
        return both(
            commands.setting(connection.dialler, "altbackup_ssh_key", path), _new_key_mend(connection, path, commands)
        )
    return f"# see on {connection.dialled} why: journalctl -u ssh, or /var/log/auth.log"


def _transfer(connection: Connection, message: str, commands: Commands) -> Finding:
    """Return the finding for a pair where ssh connected and rsync failed."""
    bases = [base for base in connection.theirs.get("bases") or () if not base.get("marker") or not base.get("there")]
    if bases and not connection.fetched:
        return connection.finding("way", UNKNOWN, f"{bases[0]['base']} on {connection.dialled} is not ready, see there")
    theirs = _authorized(connection)
    public = str((connection.tried.get("key") or {}).get("public") or "")
    if theirs and is_key(public) and connection.entry.get("rrsync"):
        return connection.finding(
            "forced command", WRONG, telling_line(message), _accept_mend(connection, theirs, public, commands)
        )
    return connection.finding(
        "way", WRONG, telling_line(message), f"# its words, in full: {commands.own('run', 'backup', '--check')}"
    )
