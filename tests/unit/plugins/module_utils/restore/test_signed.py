"""Restores of what is encrypted: with the right key alone, and only what the source itself made."""

from __future__ import annotations

import base64
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers.age_keys import age_key, ssh_key
from helpers.trees import FIRST, FOURTH, SECOND, THIRD, Base, describe_tree, item

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.restore.order import Order, parse_order
from ansible_collections.altbackup.core.plugins.module_utils.restore.restore import look, prepare, restore
from ansible_collections.altbackup.core.plugins.module_utils.restore.signed import Unsigned
from ansible_collections.altbackup.core.plugins.module_utils.system.age import NoKey
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.encryption import shared

KEY = "folders/notes"
CONTENT = "what nobody else may read"


class Site:
    """A source that encrypts, and the tree of it on a target, as that may have changed it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = [age_key(folder, "one"), ssh_key(folder)]
        self.source = Base(folder / "source" / "dayabay")
        self.target = folder / "target"
        (self.target / ".altbackup").mkdir(parents=True, mode=0o700)
        self.live = folder / "live"
        self.live.mkdir()
        (self.live / "file").write_text(CONTENT)
        (self.live / "large").write_bytes(random.Random(3).randbytes(300_000))
        self.item = item("folder", self.live, "notes")
        self.form = ArchiveFormat(recipients=tuple(sorted(key.recipient for key in self.keys)))
        self.told: dict[str, dict[str, Any]] = {}

    def night(self, stamp: str = FIRST, full_every: int = 1) -> dict[str, Any]:
        """Dump, and bring the copy to the target; return its tarball as a target tells of it."""
        tarball = self.source.dump_one(self.item, stamp=stamp, form=self.form, full_every=full_every)
        path = self.target / "dayabay" / tarball["relpath"]
        path.parent.mkdir(parents=True)
        for suffix in ("", ".dna"):
            shutil.copyfile(tarball["path"] + suffix, f"{path}{suffix}")
        known = {name: tarball[name] for name in ("relpath", "size", "dig", "alg")}
        self.told[stamp] = {**known, "record": shared(tarball["record"])}
        return self.told[stamp]

    @property
    def signing_key(self) -> str:
        """The public key of the source."""
        text = (self.source.path / ".altbackup/encryption/signing_key.pub").read_text()
        return " ".join(text.split()[:2])

    def order(self, *tarballs: Mapping[str, Any], **more: Any) -> Order:
        """Return the order of a restore from the target."""
        newest = tarballs[-1]
        values = {
            "destination": str(self.folder / "restored"),
            "kind": "folder",
            "tarballs": list(tarballs),
            "record": newest["record"],
            "base": str(self.target / "dayabay"),
            "origin": {"source": "dayabay", "item": KEY, "stamp": FIRST, "node": "cms01"},
            "identity": self.keys[0].text,
            "signing_key": self.signing_key,
            **more,
        }
        return parse_order(values, FOURTH)

    def replace(self, told: Mapping[str, Any], content: bytes) -> dict[str, Any]:
        """Put other bytes in the place of a tarball on the target, with a dna that fits; return what the target tells then."""
        path = self.target / "dayabay" / told["relpath"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        dig = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
        Path(f"{path}.dna").write_text(f'{{"dig": "{dig}", "size": {len(content)}, "alg": "sha256"}}\n')
        new = {"dig": dig, "size": len(content), "alg": "sha256"}
        return {**told, **new, "record": {**told["record"], **new}}

    def bytes_of(self, told: Mapping[str, Any]) -> bytes:
        """Return what the target has of a tarball."""
        return (self.target / "dayabay" / str(told["relpath"])).read_bytes()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return a site without any night."""
    return Site(tmp_path)


def go(order: Order) -> dict[str, Any]:
    """See whether it can be done, and do it."""
    prepare(order)
    return restore(order, Deadline(60, "restore"))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("number", [0, 1])
def test_each_identity_brings_it_back(site: Site, number: int) -> None:
    told = site.night()
    result = go(site.order(told, identity=site.keys[number].text, sources=["dayabay", "older"]))
    assert describe_tree(site.folder / "restored") == describe_tree(site.live)
    assert result["notes"] == []


def test_an_identity_of_the_host_is_read_there(site: Site) -> None:
    told = site.night()
    go(site.order(told, identity="", identity_file=str(site.keys[1].path)))
    assert (site.folder / "restored/file").read_text() == CONTENT
    with pytest.raises(InvalidInput, match="neither on the controller nor on this host"):
        site.order(told, identity="", identity_file="/nonexistent/key")


@pytest.mark.full
def test_a_differential_comes_back_with_its_full_tarball(site: Site) -> None:
    site.night(full_every=9)
    (site.live / "file").unlink()
    (site.live / "new").write_text("new")
    site.night(SECOND, full_every=9)
    assert site.told[SECOND]["relpath"].endswith("notes.diff.tar.zst.age")
    go(site.order(site.told[FIRST], site.told[SECOND]))
    assert describe_tree(site.folder / "restored") == describe_tree(site.live)


def test_a_link_is_signed_under_its_own_stamp(site: Site) -> None:
    site.night()
    told = site.night(SECOND)
    assert told["dig"] == site.told[FIRST]["dig"]
    go(site.order(told))
    assert (site.folder / "restored/file").read_text() == CONTENT


def test_a_part_comes_back_alone(site: Site) -> None:
    go(site.order(site.night(), member="notes/file"))
    assert (site.folder / "restored").read_text() == CONTENT


def test_without_a_key_it_is_told_who_has_one_before_anything_travels(site: Site) -> None:
    told = site.night()
    other = age_key(site.folder, "other")
    for identity, expected in (("", "is encrypted to "), (other.text, "the one that was given does not open it")):
        with pytest.raises(NoKey, match=expected) as caught:
            prepare(site.order(told, identity=identity, base=""))
        assert site.keys[0].recipient in str(caught.value)
        assert "altbackup_identity_file" in str(caught.value)
        assert "SECRET" not in str(caught.value)
    assert sorted(os.listdir(site.folder)).count("restored") == 0
    assert not [name for name in os.listdir(site.folder) if name.startswith(".altbackup")]


def test_what_is_no_identity_is_told(site: Site) -> None:
    told = site.night()
    for identity in ("nonsense", site.keys[0].recipient, site.keys[1].text[:60], "AGE-SECRET-KEY-1QQQ", "x" * 40000):
        with pytest.raises(InvalidInput, match=r"is neither an identity of age|more than any file of keys"):
            prepare(site.order(told, identity=identity))


def test_an_identity_with_a_passphrase_does_not_hang(site: Site) -> None:
    told = site.night()
    locked = ssh_key(site.folder, "locked", "secret")
    site.form = ArchiveFormat(recipients=(locked.recipient,))
    told = site.night(SECOND)
    with pytest.raises(NoKey, match="passphrase"):
        prepare(site.order(told, identity=locked.text))


def test_a_node_without_a_key_reads_the_bytes_alone(site: Site) -> None:
    told = site.night()
    result = look(site.order(told, identity=""), Deadline(60))
    assert "its bytes alone were read" in result["notes"][0]
    assert look(site.order(told), Deadline(60))["notes"] == []


def _swapped(site: Site) -> dict[str, Any]:
    """Another night's tarball in the place of this one, with all that belongs to it but the stamp."""
    (site.live / "file").write_text("later")
    later = site.night(SECOND)
    return site.replace(site.told[FIRST], site.bytes_of(later))


def _replayed(site: Site) -> dict[str, Any]:
    """An old one under a new stamp, with its own record."""
    old = site.told[FIRST]
    relpath = str(old["relpath"]).replace(FIRST, THIRD)
    return site.replace(
        {**old, "relpath": relpath, "record": {**old["record"], "relpath": relpath}}, site.bytes_of(old)
    )


def _of_another_item(site: Site) -> dict[str, Any]:
    """The tarball of another item of the same name and stamp, with its record, signature and all."""
    other = site.folder / "other"
    other.mkdir()
    (other / "file").write_text("other")
    tarball = site.source.dump_one(item("folder", other, "other"), stamp=FIRST, form=site.form)
    with open(tarball["path"], "rb") as stream:
        told = site.replace(site.told[FIRST], stream.read())
    return {**told, "record": {**shared(tarball["record"]), "relpath": told["relpath"]}}


def _truncated(site: Site) -> dict[str, Any]:
    return site.replace(site.told[FIRST], site.bytes_of(site.told[FIRST])[:-100])


def _appended_recipient(site: Site) -> dict[str, Any]:
    """A file that opens for one more, which only who opens it could make; the header alone can be written anew."""
    content = site.bytes_of(site.told[FIRST])
    mine = age_key(site.folder, "mine")
    stanza = subprocess.run(["age", "-r", mine.recipient], input=b"x", capture_output=True, check=True).stdout.split(
        b"\n"
    )[1:3]
    head, _, rest = content.partition(b"\n--- ")
    return site.replace(site.told[FIRST], head + b"\n" + b"\n".join(stanza) + b"\n--- " + rest)


def _forged(site: Site) -> dict[str, Any]:
    """A file that opens, made by whoever knows the recipients, with the record of one that is good."""
    evil = site.folder / "evil" / "notes"
    evil.mkdir(parents=True)
    (evil / "file").write_text("evil")
    plain = subprocess.run(["tar", "-C", evil.parent, "-c", "notes"], capture_output=True, check=True).stdout
    packed = subprocess.run(["zstd", "-q"], input=plain, capture_output=True, check=True).stdout
    argv = ["age", *(word for key in site.keys for word in ("-r", key.recipient))]
    return site.replace(site.told[FIRST], subprocess.run(argv, input=packed, capture_output=True, check=True).stdout)


def _self_signed(site: Site) -> dict[str, Any]:
    """The same, signed by somebody else."""
    told = _forged(site)
    mallory = ssh_key(site.folder, "mallory")
    text = base64.b64decode(told["record"]["signed"]).decode()
    text = text.replace(site.told[FIRST]["dig"], told["dig"]).replace(
        f"size {site.told[FIRST]['size']}", f"size {told['size']}"
    )
    argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", "altbackup", "-f", mallory.path]
    signature = subprocess.run(argv, input=text.encode(), capture_output=True, check=True).stdout
    both = {"signed": base64.b64encode(text.encode()).decode(), "signature": base64.b64encode(signature).decode()}
    return {**told, "record": {**told["record"], **both}}


def _unsigned(site: Site) -> dict[str, Any]:
    told = site.told[FIRST]
    left = {name: value for name, value in told["record"].items() if name not in ("signed", "signature")}
    return {**told, "record": left}


ATTACKS = (
    _swapped,
    _replayed,
    _of_another_item,
    _truncated,
    _appended_recipient,
    _forged,
    _self_signed,
    _unsigned,
)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_the_source_did_not_make_is_refused_before_it_travels(site: Site, attack: Any) -> None:
    site.night()
    told = attack(site)
    for base in ("", str(site.target / "dayabay")):
        with pytest.raises(Unsigned) as caught:
            prepare(site.order(told, base=base))
        assert told["relpath"] in str(caught.value)
    assert not (site.folder / "restored").exists()


@pytest.mark.parametrize("attack", [_truncated, _appended_recipient])
def test_a_damaged_one_is_told_without_signatures_too(site: Site, attack: Any) -> None:
    site.night()
    told = attack(site)
    order = site.order({**told, "record": {}}, record={}, signing_key="")
    with pytest.raises(AltbackupError, match=r"decrypt|damaged"):
        restore(order, Deadline(60, "restore"))
    assert not (site.folder / "restored").exists()


def test_without_the_key_of_signatures_it_is_said_that_nothing_tells_who_made_it(site: Site) -> None:
    site.night()
    result = go(site.order(_forged(site), signing_key="", record={}))
    assert "nothing tells that dayabay made" in result["notes"][0]


def test_a_signature_of_another_source_is_refused(site: Site) -> None:
    with pytest.raises(Unsigned, match="signed as one of dayabay, not of juno"):
        prepare(site.order(site.night(), sources=["juno"]))


@pytest.fixture
def watched() -> Iterator[list[str]]:
    """Yield what any process of age had on its command line and in its environment while the test ran."""
    seen: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{pid}/comm") as stream:
                        if stream.read().strip() != "age":
                            continue
                    for name in ("cmdline", "environ"):
                        with open(f"/proc/{pid}/{name}", "rb") as found:
                            seen.append(found.read().decode("utf-8", "replace"))
                except OSError:
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    yield seen
    over.set()
    thread.join()


def test_no_command_line_environment_or_file_has_the_identity(site: Site, watched: list[str], tmp_path: Path) -> None:
    (site.live / "more").write_bytes(random.Random(5).randbytes(3_000_000))
    told = site.night()
    own = {key.path for key in site.keys}
    go(site.order(told))
    secret = next(line for line in site.keys[0].text.splitlines() if "SECRET" in line)
    assert any("--decrypt" in text for text in watched)
    assert not any(secret in text for text in watched)
    for parent, _, files in os.walk(tmp_path):
        for name in files:
            path = Path(parent, name)
            assert path in own or secret.encode() not in path.read_bytes()
