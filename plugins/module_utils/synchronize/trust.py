"""Trust of a pair: a key that never leaves the side that dials, and on the dialled side a line of authorized_keys that allows one thing.

Set-up stores below the base: in `.altbackup/trust/<peer>/` `key`, `key.pub` and `known_hosts` of the dialling side, in `.altbackup/bin/`
the forced command of the dialled side.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import pwd
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..system.authorized_keys import edit, home_of, line_of, purpose_of, sources_of
from ..system.digest import open_plain
from ..system.errors import AltbackupError, InvalidInput, ToolFailed
from ..system.proc import PARENT, stat_of
from ..system.processes import Deadline, run
from ..system.programs import clean_environment, find_tool, inherited_environment
from ..system.visible import printable
from ..tree.failures import failure
from ..tree.layout import MARKER, open_tree
from ..tree.owner import Owner, identify
from ..tree.publish import make_folders, remove_folder, write_text
from . import forced_command
from .forced_command import HELLO, STATES
from .peers import KEY, KNOWN_HOSTS, Peer, alias_of, ssh_command

STAGE, TRUST = "trust", "trust"
PROGRAM = "bin/forced_command.py"
ANYWHERE = "any"
_NEXT = "key.next"
_KEY_LINE = re.compile(r"((?:ssh|ecdsa|sk)-[A-Za-z0-9@.-]+) ([A-Za-z0-9+/=]+)")
_HELLO_SIZE = 4096
_NO_SUCH_COMMAND = (126, 127)
"""Exit codes of a shell for what it cannot run"""
_SSH_FAILED = 255
_HOST_KEYS = "/etc/ssh"
_LIMIT = 60.0


def trust_folder(base: str, peer: str) -> str:
    """Return the folder of the key for a peer, below the base of the dialling side."""
    return os.path.join(base, MARKER, TRUST, peer)


def own_keys(base: str, peer: str, *, rotate: bool = False, write: bool = True) -> tuple[bool, list[str]]:
    """Make a key for a peer if there is none; return whether one was made (without `write`: is missing), and the public keys.

    To `rotate`, the next key is made beside it: both are valid until `promote`. Raise AltbackupError or OSError.
    """
    folder = trust_folder(base, peer)
    private = os.path.join(base, MARKER)
    if not os.path.isdir(private) and write:
        raise AltbackupError(f"{base} has no marker {MARKER}/: set-up of nodes makes it, or the disk is not mounted")
    names = [name for name in (KEY, _NEXT) if os.path.exists(os.path.join(folder, name))]
    missing = [KEY] if KEY not in names else [_NEXT] if rotate and _NEXT not in names else []
    if missing and write:
        make_folders(folder, private)
        _make_key(folder, missing[0], peer)
        names += missing
    return bool(missing), [_public(os.path.join(folder, name)) for name in names]


def _make_key(folder: str, name: str, peer: str) -> None:
    """Make a key under a temporary name, then rename both halves. Raise AltbackupError."""
    temporary = os.path.join(folder, "key.making")
    for suffix in ("", ".pub"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary + suffix)
    words = ["-q", "-t", "ed25519", "-N", "", "-C", f"altbackup for {peer}", "-f", temporary]
    run(
        [find_tool("ssh-keygen"), *words],
        what=f"making the key for {peer}",
        deadline=Deadline(_LIMIT, "making of a key"),
    )
    os.rename(f"{temporary}.pub", os.path.join(folder, f"{name}.pub"))
    os.rename(temporary, os.path.join(folder, name))


def _public(key: str) -> str:
    """Return the public half of a key as `type base64`, derived from the private one where its file is missing. Raise AltbackupError."""
    if not os.path.exists(key):
        raise AltbackupError(
            f"{key} (altbackup_ssh_key) is missing: make it, or leave altbackup_ssh_key out, and set-up makes one for each pair"
        )
    try:
        with open_plain(f"{key}.pub") as stream:
            found = _KEY_LINE.match(stream.read(_HELLO_SIZE).decode("ascii", "replace"))
    except FileNotFoundError:
        found = None
    if not found:
        output = run(
            [find_tool("ssh-keygen"), "-y", "-P", "", "-f", key],
            what=f"reading {key}",
            deadline=Deadline(_LIMIT, "reading of a key"),
        )
        found = _KEY_LINE.match(output.decode("ascii", "replace"))
    if not found:
        raise AltbackupError(f"{key}.pub holds no public key: remove both, and run set-up again")
    return f"{found[1]} {found[2]}"


def promote(base: str, peer: str) -> bool:
    """Replace the key of a peer by its next one; return whether there was a next one."""
    folder = trust_folder(base, peer)
    if not os.path.exists(os.path.join(folder, _NEXT)):
        return False
    with contextlib.suppress(FileNotFoundError):
        os.unlink(
            os.path.join(folder, f"{KEY}.pub")
        )  # a missing public half is derived, that of another key would be believed
    os.replace(os.path.join(folder, _NEXT), os.path.join(folder, KEY))
    with contextlib.suppress(FileNotFoundError):
        os.replace(os.path.join(folder, f"{_NEXT}.pub"), os.path.join(folder, f"{KEY}.pub"))
    return True


def pin(base: str, peer: str, host_keys: Sequence[str], *, write: bool = True) -> bool:
    """Write exactly these host keys, `type base64`, to a peer's known_hosts; return whether that changes it. Raise InvalidInput."""
    for key in host_keys:
        if not _KEY_LINE.fullmatch(key):
            raise InvalidInput(f"{key[:80]!r} is no host key")
    text = "".join(f"{alias_of(peer)} {key}\n" for key in sorted(set(host_keys)))
    path = os.path.join(trust_folder(base, peer), KNOWN_HOSTS)
    with contextlib.suppress(FileNotFoundError), open_plain(path) as stream:
        if stream.read(1 << 20) == text.encode("ascii"):
            return False
    if write:
        make_folders(os.path.dirname(path), os.path.join(base, MARKER))
        write_text(path, text)
    return True


def try_out(peer: Peer) -> dict[str, Any]:
    """Log in to a peer as transfers do and return its forced command's answer to HELLO; `key` is the name of the key used.

    The next key is tried before the current one. Raise AltbackupError.
    """
    nexts = os.path.join(peer.trust, _NEXT)
    tried = [replace(peer, ssh_key=nexts)] if not peer.ssh_key and os.path.exists(nexts) else []
    for one in tried:
        with contextlib.suppress(AltbackupError):
            return {**_hello(one), "key": _NEXT}
    return {**_hello(peer), "key": KEY}


def _hello(peer: Peer) -> dict[str, Any]:
    to = ["-l", peer.user] if peer.user else []
    deadline = Deadline(peer.connect_timeout + peer.io_timeout, "trial of a key")
    environment = clean_environment(**inherited_environment("HOME", "USER", "LOGNAME"))
    argv = [*ssh_command(peer), "-oPasswordAuthentication=no", *to, peer.host, HELLO]
    try:
        reply = run(argv, what=f"logging in to {peer.node} as {peer}", deadline=deadline, environment=environment)
    except ToolFailed as error:
        if error.rc in _NO_SUCH_COMMAND or (error.rc != _SSH_FAILED and not error.stderr.strip()):
            raise _without_forced_command(peer) from None
        raise ToolFailed(peer.censored(str(error)), error.rc, peer.censored(error.stderr)) from None
    try:
        answer = json.loads(reply[:_HELLO_SIZE])
        if not isinstance(answer, dict) or not isinstance(answer.get("altbackup"), int):
            raise ValueError
    except (ValueError, RecursionError):
        raise _without_forced_command(peer) from None
    landlock = answer.get("landlock")
    return {
        **{name: printable(str(answer.get(name, "")))[:_HELLO_SIZE] for name in ("address", "does", "folder")},
        "landlock": landlock if isinstance(landlock, int) else 0,
        "rsync": answer.get("rsync") is True,
    }


def _without_forced_command(peer: Peer) -> AltbackupError:
    return AltbackupError(
        f"{peer.node} lets this node in as {peer}, but not to the forced command of this collection: another line of authorized_keys there "
        "has the same key, or its sshd reads another file"
    )


def host_keys(port: int = 0) -> list[str]:
    """Return this node's host keys as `type base64`: of the sshd at `port`, then of that which let the controller in, else those in /etc/ssh.

    They are asked for at addresses of this node itself, so nobody on the way could answer. Those in /etc/ssh may be another sshd's than the one
    that answers.
    """
    found: list[str] = []
    address, own_port = _own_address()
    for number in dict.fromkeys(filter(None, (port, own_port))):
        with contextlib.suppress(AltbackupError):
            words = [find_tool("ssh-keyscan"), "-T", "5", "-p", str(number), address or "127.0.0.1"]
            output = run(
                words, what="asking this node's sshd for its host keys", deadline=Deadline(30, "asking for host keys")
            )
            lines = output.decode("ascii", "replace").splitlines()
            found += sorted(" ".join(line.split()[1:3]) for line in lines if line[:1] not in ("#", ""))
    with contextlib.suppress(OSError):
        for name in () if found else sorted(os.listdir(_HOST_KEYS)):
            if name.startswith("ssh_host_") and name.endswith(".pub"):
                with contextlib.suppress(OSError), open_plain(os.path.join(_HOST_KEYS, name)) as stream:
                    found.append(" ".join(stream.read(20_000).decode("ascii", "replace").split()[:2]))
    return [key for key in dict.fromkeys(found) if _KEY_LINE.fullmatch(key)]


def _own_address() -> tuple[str, int]:
    """Return (address, port) of the sshd that let the controller in, from SSH_CONNECTION of the nearest ancestor; ("", 0) if unknown."""
    pid = os.getpid()
    for _ in range(32):
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{pid}/environ", "rb") as stream:
                variables = stream.read(1 << 20).split(b"\0")
            variable = next((entry for entry in variables if entry.startswith(b"SSH_CONNECTION=")), b"")
            words = variable.partition(b"=")[2].decode("ascii").split()
            if len(words) == 4:
                return words[2], int(words[3])
        try:
            pid = int(stat_of(pid)[PARENT])
        except (OSError, ValueError, IndexError):
            break
        if pid <= 1:
            break
    return "", 0


def base_identity(base: str, owner: Owner | None) -> list[dict[str, Any]]:
    """Return what identifies a base whose owner this is, as a list of one; [] without an owner, or of a base without a marker. Raise Taken or OSError."""
    if owner is None or not os.path.isdir(os.path.join(base, MARKER)):
        return []
    return [identify(open_tree(base), owner, claim=False)]


def admit(
    base: str,
    kind: str,
    peer: str,
    keys: Sequence[str],
    *,
    sources: str = "",
    limit: int = 0,
    user: str = "",
    write: bool = True,
) -> dict[str, Any]:
    """Let a peer's public keys do one thing in a base, and no other keys of that pair.

    `kind` is `incoming` or `outgoing`. `sources` are the addresses from which they may come, ANYWHERE for all, empty to keep those of the
    current lines. Without keys the pair may do nothing. `user` is the one that logs in. Return `changed`, `sources`, and `folder`. Raise
    AltbackupError or OSError.
    """
    if kind not in STATES:
        raise InvalidInput(f"{kind!r} is none of {', '.join(STATES)}")
    private = os.path.join(base, MARKER)
    folder = os.path.join(private, kind, peer)
    if keys and not write and not os.path.isdir(private):
        # A prediction on a node that set-up has not made yet: neither base nor user need be there.
        return {"changed": True, "sources": "" if sources == ANYWHERE else sources, "folder": folder}
    if keys:
        _require_owner(private, user)
    text = inspect.getsource(forced_command)  # read here, since `user` may not be able to read this module
    program = os.path.join(private, PROGRAM)
    more = [f"--limit={limit}"] if limit else []
    command = [sys.executable, "-I", "-S", "-B", program, folder, *more]

    def see_to() -> tuple[bool, str]:
        installed = bool(keys) and install(private, text, write=write)
        if keys and write and kind == "incoming":
            make_folders(folder, private)
        home = home_of("")
        now = [line for line in edit(home, {}, write=False)[1] if purpose_of(line) == folder]
        chosen = "" if sources == ANYWHERE else sources or sources_of(now)
        lines = [line_of(key, command, chosen, folder) for key in keys]
        return edit(home, {folder: lines}, write=write)[0] or installed, chosen

    changed, chosen = as_user(user, see_to)
    return {"changed": changed, "sources": chosen, "folder": folder}


def _require_owner(private: str, user: str) -> None:
    """Raise AltbackupError if the user that logs in does not own the base and so could write nothing there."""
    uid = _uid_of(user)
    try:
        owner = os.stat(private).st_uid
    except FileNotFoundError:
        raise AltbackupError(f"{private} is missing: set-up of nodes makes it, or the disk is not mounted") from None
    if owner != uid:
        raise AltbackupError(
            f"peers log in here as {user or 'this user'} (uid {uid}), but {private} is uid {owner}'s: set altbackup_rsync_user, or altbackup_node_user"
        )


def _uid_of(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_uid if user else os.geteuid()
    except KeyError:
        raise InvalidInput(f"user {user!r}, as whom peers log in, does not exist on this node") from None


def as_user(user: str, function: Callable[[], tuple[bool, str]]) -> tuple[bool, str]:
    """Call a function as a user, in a forked process if that is not this process's user; its errors there are raised as AltbackupError."""
    uid = _uid_of(user)
    if uid == os.geteuid():
        return function()
    if os.geteuid() != 0:
        raise AltbackupError(f"authorized_keys of {user} cannot be written by uid {os.geteuid()}: use become")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        answer: dict[str, Any] = {}
        try:
            entry = pwd.getpwuid(uid)
            os.initgroups(entry.pw_name, entry.pw_gid)
            os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
            os.setresuid(uid, uid, uid)
            answer = {"result": function()}
        except BaseException as error:  # noqa: BLE001 (the child must not run on into the parent's code)
            answer = {"error": str(error) or type(error).__name__}
        finally:
            os.write(writing, json.dumps(answer).encode()[:60_000])
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as stream:
        output = stream.read()
    os.waitpid(child, 0)
    answer = json.loads(output or b"{}")
    if "result" not in answer:
        raise AltbackupError(
            f"authorized_keys of {user}: {answer.get('error', 'the process that was to write it died')}"
        )
    changed, chosen = answer["result"]
    return bool(changed), str(chosen)


def install(private: str, text: str, *, write: bool = True) -> bool:
    """Write the text of the forced command below the marker if it differs; return whether that changes it."""
    path = os.path.join(private, PROGRAM)
    with contextlib.suppress(OSError), open_plain(path) as stream:
        if stream.read() == text.encode("utf-8"):
            return False
    if write:
        make_folders(os.path.dirname(path), private)
        write_text(path, text)
    return True


def dismiss(base: str, kind: str, peer: str, *, user: str = "", write: bool = True) -> bool:
    """Undo what `admit` did for a pair, but keep what arrived; return whether there was anything to undo."""
    changed: bool = admit(base, kind, peer, (), user=user, write=write)["changed"]
    private = os.path.join(base, MARKER)
    cleared, _ = as_user(user, lambda: (_clear(private, kind, peer, write=write), ""))
    return changed or cleared


def _clear(private: str, kind: str, peer: str, *, write: bool) -> bool:
    """Remove a pair's session state, but not what arrived, and the forced command if no other key uses it; return whether any was there."""
    folder, state = os.path.join(private, kind, peer), os.path.join(private, STATES[kind], peer)
    if write and os.path.isdir(os.path.join(state, forced_command.WHOLE)):
        make_folders(folder, private)
        forced_command.gather(folder)
    others = [
        line
        for line in edit(home_of(""), {}, write=False)[1]
        if purpose_of(line) != folder and purpose_of(line).startswith(f"{private}/")
    ]
    there = [
        path
        for path in (state, *([] if others else [os.path.join(private, os.path.dirname(PROGRAM))]))
        if os.path.isdir(path)
    ]
    for path in there if write else ():
        remove_folder(path)
    return bool(there)


def forget(base: str, peer: str, *, write: bool = True) -> bool:
    """Remove the key for a peer and its host keys; return whether there were any."""
    folder = trust_folder(base, peer)
    there = os.path.isdir(folder)
    if there and write:
        remove_folder(folder)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(folder))
    return there


def told(answer: Mapping[str, Any], folder: str) -> list[str]:
    """Return what is wrong with a forced command's answer; `folder` is the one that it should serve."""
    wrong = []
    if answer["folder"] != folder:
        wrong.append(f"the key leads to {answer['folder']}, not to {folder}")
    if not answer["rsync"]:
        wrong.append("there is no rsync")
    return wrong


def dial(
    base: str, peer: Peer, *, rotate: bool = False, host_keys: Sequence[str] = (), trial: str = "no", write: bool = True
) -> dict[str, Any]:
    """Make or rotate the key for a peer, pin its host keys, and try them unless `trial` is `no`.

    A trial that fails is in `refused`, and with `trial` `require` a failure, too. Return `changed`, `public_keys`, `answer`, `refused` and
    `failures`. Raise AltbackupError or OSError.
    """
    if peer.ssh_key:
        changed, keys = False, [_public(peer.ssh_key)]
    else:
        changed, keys = own_keys(base, peer.node, rotate=rotate, write=write)
    if host_keys:
        changed = pin(base, peer.node, host_keys, write=write) or changed
    result: dict[str, Any] = {"changed": changed, "public_keys": keys, "answer": {}, "refused": "", "failures": []}
    if trial == "no" or not keys:
        return result
    try:
        answer = try_out(replace(peer, trust=peer.trust or trust_folder(base, peer.node)))
        if wrong := told(answer, peer.folder):
            raise AltbackupError(f"{peer.node}: {'; '.join(wrong)}")
        result["answer"] = answer
        if answer["key"] == _NEXT and write:
            promote(base, peer.node)
            result.update({"changed": True, "public_keys": own_keys(base, peer.node)[1]})
    except (AltbackupError, OSError) as error:
        result["refused"] = str(error)
        if trial == "require":
            result["failures"] = [failure(STAGE, error)]
    return result
