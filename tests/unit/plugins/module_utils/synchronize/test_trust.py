"""Keys of pairs, and what they allow."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.stores import served
from helpers.trees import needs_root
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.synchronize import trust
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.peers import Peer, ssh_command
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.rsync import rsync_command
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, InvalidInput

KEY = f"ssh-ed25519 {'A' * 68}"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A marked base, and a home of its own."""
    monkeypatch.setattr(trust, "home_of", lambda _user: str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "base" / ".altbackup").mkdir(parents=True, mode=0o700)
    return tmp_path / "base"


def lines(base: Path) -> list[str]:
    """Return the lines of authorized_keys."""
    path = base.parent / "home" / ".ssh" / "authorized_keys"
    return path.read_text().splitlines() if path.exists() else []


def test_a_key_is_made_once_and_rotated_in_two_steps(base: Path) -> None:
    assert trust.own_keys(str(base), "cms01", write=False) == (True, [])
    made, (first,) = trust.own_keys(str(base), "cms01")
    assert made and trust.own_keys(str(base), "cms01") == (False, [first])
    path = base / ".altbackup" / "trust" / "cms01" / "key"
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, text=True).stdout.startswith(first)
    made, (old, new) = trust.own_keys(str(base), "cms01", rotate=True)
    assert (made, old) == (True, first) and new != first
    assert trust.own_keys(str(base), "cms01", rotate=True) == (False, [old, new]), "a rotation that was cut goes on"
    assert trust.promote(str(base), "cms01") and not trust.promote(str(base), "cms01")
    assert trust.own_keys(str(base), "cms01") == (False, [new])
    assert trust.forget(str(base), "cms01") and not trust.forget(str(base), "cms01")
    assert not path.parent.parent.exists()


def test_without_a_marker_no_key_is_made(tmp_path: Path) -> None:
    with pytest.raises(AltbackupError, match="has no marker"):
        trust.own_keys(str(tmp_path), "cms01")


@pytest.mark.parametrize("shell", [False, True])
def test_a_login_without_the_forced_command_is_told(base: Path, tmp_path: Path, shell: bool) -> None:
    with served("sftp", tmp_path / "account") as place:
        folder = tmp_path / "account"
        if shell:
            config = folder / "sshd_config"
            config.write_text(config.read_text().replace("ForceCommand internal-sftp\n", ""))
            pid = folder / "sshd.pid"
            assert wait_until(
                lambda: pid.exists() and pid.read_text().endswith("\n"), 60
            )  # sshd answers before it writes that
            server = int(pid.read_text())
            pid.unlink()
            os.kill(server, signal.SIGHUP)
            assert wait_until(pid.exists, 60)
        trust.pin(str(base), "cms01", [" ".join((folder / "host.pub").read_text().split()[:2])])
        user = pwd.getpwuid(os.geteuid()).pw_name
        files = {"trust": str(base / ".altbackup/trust/cms01"), "ssh_key": str(folder / "user")}
        peer = Peer("cms01", "", host="127.0.0.1", port=place.way.port, user=user, **files)
        with pytest.raises(AltbackupError, match=r"cms01 lets this node in .* another line of authorized_keys there"):
            trust.try_out(peer)


def test_host_keys_are_those_of_the_sshd_that_answers_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ssh_host_ed25519_key.pub").write_text(f"{KEY} root@elsewhere\n")
    monkeypatch.setattr(trust, "_HOST_KEYS", str(tmp_path))
    monkeypatch.setattr(trust, "_own_address", lambda: ("", 0))
    assert trust.host_keys() == [KEY]
    with served("sftp", tmp_path / "account") as place:
        own = " ".join((tmp_path / "account" / "host.pub").read_text().split()[:2])
        assert trust.host_keys(place.way.port) == [own]
        with served("sftp", tmp_path / "another") as other:
            theirs = " ".join((tmp_path / "another" / "host.pub").read_text().split()[:2])
            monkeypatch.setattr(trust, "_own_address", lambda: ("127.0.0.1", other.way.port))
            assert trust.host_keys(place.way.port) == [own, theirs], "that which peers find is the first"
            assert trust.host_keys() == [theirs]


def test_host_keys_are_pinned_under_the_name_of_the_node(base: Path) -> None:
    assert trust.pin(str(base), "cms01", [KEY]) and not trust.pin(str(base), "cms01", [KEY, KEY])
    path = base / ".altbackup" / "trust" / "cms01" / "known_hosts"
    assert path.read_text() == f"cms01 {KEY}\n"
    assert trust.pin(str(base), "a b", [KEY])
    assert (path.parent.parent / "a b" / "known_hosts").read_text() == f"peer {KEY}\n"
    with pytest.raises(InvalidInput):
        trust.pin(str(base), "cms01", [f"{KEY}\n* {KEY}"])


def test_transfers_use_what_set_up_made(base: Path) -> None:
    folder = base / ".altbackup" / "trust" / "cms01"
    peer = Peer("cms01", "/data x/.altbackup/incoming/dayabay", host="192.0.2.1", trust=str(folder))
    assert "-i" not in ssh_command(peer) and "--protect-args" in rsync_command(peer, "/here")
    trust.own_keys(str(base), "cms01")
    trust.pin(str(base), "cms01", [KEY])
    words = ssh_command(peer)
    assert words[words.index("-i") + 1] == f"{folder}/key"
    assert f'-oUserKnownHostsFile="{folder}/known_hosts"' in words and "-oHostKeyAlias=cms01" in words
    command = rsync_command(peer, "/here")
    assert command[-1] == "192.0.2.1:./" and "--protect-args" not in command
    given = Peer("cms01", "/data", host="192.0.2.1", trust=str(folder), ssh_key="/own/key")
    assert ssh_command(given)[ssh_command(given).index("-i") + 1] == "/own/key"
    assert rsync_command(given, "/here")[-1] == "192.0.2.1:/data/", "a key of somebody's own may lead anywhere"


def admit(base: Path, keys: list[str], **more: Any) -> dict[str, Any]:
    """Admit keys of dayabay."""
    return trust.admit(str(base), "incoming", "dayabay", keys, **more)


def test_a_pair_is_let_in_once_and_from_where_it_was_before(base: Path) -> None:
    assert admit(base, [KEY], write=False)["changed"] and not lines(base)
    assert admit(base, [KEY], sources="192.0.2.7", limit=1000)["changed"]
    (line,) = lines(base)
    folder = base / ".altbackup/incoming/dayabay"
    assert line.startswith('restrict,from="192.0.2.7",command="') and f'{folder} --limit=1000" {KEY}' in line
    again = admit(base, [KEY], limit=1000)
    assert (again["changed"], again["sources"]) == (False, "192.0.2.7")
    assert admit(base, [KEY], sources="any", limit=1000) == {"changed": True, "sources": "", "folder": str(folder)}
    program = base / ".altbackup" / "bin" / "forced_command.py"
    assert program.read_text() == Path(str(trust.forced_command.__file__)).read_text()
    program.write_text("old")
    assert admit(base, [KEY], limit=1000)["changed"]


def test_what_was_let_in_is_let_in_no_more_and_what_arrived_stays(base: Path) -> None:
    admit(base, [KEY])
    trust.admit(str(base), "outgoing", "sdu", [KEY])
    (base / ".altbackup/incoming/dayabay/sha256-00").write_text("x")
    (base / ".altbackup/receive/dayabay/whole").mkdir(parents=True)
    (base / ".altbackup/receive/dayabay/whole/sha256-01").write_text("x")
    assert trust.dismiss(str(base), "incoming", "dayabay", write=False) and len(lines(base)) == 2
    assert (base / ".altbackup/receive/dayabay/whole/sha256-01").exists(), "check mode moves nothing"
    assert trust.dismiss(str(base), "incoming", "dayabay")
    assert [line.rpartition("/")[2] for line in lines(base)] == ["sdu"]
    assert sorted(path.name for path in (base / ".altbackup/incoming/dayabay").iterdir()) == ["sha256-00", "sha256-01"]
    assert trust.dismiss(str(base), "outgoing", "sdu") and not lines(base)
    assert not trust.dismiss(str(base), "outgoing", "sdu")
    assert sorted(path.name for path in (base / ".altbackup").iterdir()) == ["incoming", "receive"]


def test_who_logs_in_has_to_own_the_base(base: Path) -> None:
    with pytest.raises(InvalidInput, match="does not exist on this node"):
        admit(base, [KEY], user="nobody-of-that-name")


def test_on_a_node_that_is_yet_to_be_made_it_is_predicted_that_a_pair_is_let_in(tmp_path: Path) -> None:
    base = str(tmp_path / "backup")
    found = trust.admit(base, "incoming", "dayabay", [KEY], sources="192.0.2.1", user="made-before-it", write=False)
    assert (found["changed"], found["sources"]) == (True, "192.0.2.1")
    with pytest.raises(InvalidInput, match="does not exist on this node"):
        trust.admit(base, "incoming", "dayabay", [KEY], user="made-before-it")


def test_what_a_forced_command_answers_is_compared_with_what_was_meant() -> None:
    answer = {"folder": "/a", "rsync": True}
    assert trust.told(answer, "/a") == []
    assert trust.told({**answer, "rsync": False}, "/b") == ["the key leads to /a, not to /b", "there is no rsync"]


def test_what_arrived_whole_is_never_removed_and_a_program_stays_that_another_key_leads_to(base: Path) -> None:
    admit(base, [KEY])
    trust.admit(str(base), "incoming", "lingao", [KEY])
    whole = base / ".altbackup/receive/dayabay/whole"
    whole.mkdir(parents=True)
    (whole / "sha256-01").write_text("x")
    (base / ".altbackup/incoming/dayabay").rmdir()
    assert trust.dismiss(str(base), "incoming", "dayabay")
    assert (base / ".altbackup/incoming/dayabay/sha256-01").read_text() == "x"
    assert (base / ".altbackup/bin/forced_command.py").exists(), "lingao has not logged in yet, but may"


@needs_root
def test_what_is_anothers_is_written_as_that_one(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that he starts is his own, and root writes nothing where he could lay a link."""
    for path in (base, base / ".altbackup"):
        os.chown(path, 65534, 65534)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == 0 and path != path.parent:
            path.chmod(path.stat().st_mode | 0o711)
    home = tmp_path / "nobody"
    home.mkdir()
    os.chown(home, 65534, 65534)
    monkeypatch.setattr(trust, "home_of", lambda user: str(home))
    assert admit(base, [KEY], user="nobody")["changed"]
    for path in ("bin/forced_command.py", "incoming/dayabay"):
        assert (base / ".altbackup" / path).stat().st_uid == 65534
    vault = tmp_path / "vault"
    vault.mkdir()
    (base / ".altbackup/incoming/dayabay").rmdir()
    (base / ".altbackup/incoming/dayabay").symlink_to(vault)
    state = base / ".altbackup/receive/dayabay/whole"
    state.mkdir(parents=True)
    (state / "x").write_text("of nobody")
    for path in (state / "x", state, state.parent, state.parent.parent):
        os.chown(path, 65534, 65534)
    with contextlib.suppress(AltbackupError):
        trust.dismiss(str(base), "incoming", "dayabay", user="nobody")
    assert list(vault.iterdir()) == []


def test_a_kill_between_the_two_halves_of_a_new_key_lets_no_old_half_be_believed(base: Path) -> None:
    trust.own_keys(str(base), "cms01")
    (_, keys) = trust.own_keys(str(base), "cms01", rotate=True)
    folder = base / ".altbackup" / "trust" / "cms01"
    (folder / "key.pub").unlink()
    os.replace(folder / "key.next", folder / "key")  # what a killed promote leaves
    (folder / "key.next.pub").unlink()
    assert trust.own_keys(str(base), "cms01")[1] == [keys[-1]]
