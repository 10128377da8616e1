"""Encrypting anew: older tarballs open with the keys of today alone, are else what they were, and are whole whatever is killed."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers.age_keys import age_key, ssh_key
from helpers.rekeyed import KEY, NOW, Site, with_differentials
from helpers.trees import FIRST, FOURTH, SECOND, THIRD

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.restore import rekey as rekeying
from ansible_collections.altbackup.core.plugins.module_utils.restore.drill import drill
from ansible_collections.altbackup.core.plugins.module_utils.restore.rekey import Wanted, folder_of
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.offer import listing
from ansible_collections.altbackup.core.plugins.module_utils.system.age import Identities
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.sandbox import Sandbox
from ansible_collections.altbackup.core.plugins.module_utils.tree import rekeyed
from ansible_collections.altbackup.core.plugins.module_utils.tree.encryption import opened
from ansible_collections.altbackup.core.plugins.module_utils.tree.leftovers import remove_leftovers
from ansible_collections.altbackup.core.plugins.module_utils.tree.rekeyed import CAME, NEW


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return such a source."""
    return Site(tmp_path)


def test_older_tarballs_open_with_the_keys_of_today_and_are_else_what_they_were(site: Site) -> None:
    site.dump(FIRST)
    site.dump(SECOND)
    (site.live / "file").write_text("other\n")
    site.dump(THIRD)
    plain = {stamp: site.old.opens(site.path(stamp)) for stamp in (FIRST, SECOND, THIRD)}
    before = {stamp: site.record(stamp) for stamp in plain}
    relpaths = [one.relpath for one in site.tarballs()]
    result = site.rekey()
    assert result["failures"] == [] and result["changed"]
    assert sorted(entry["relpath"] for entry in result["rekeyed"]) == sorted(relpaths) == sorted(result["current"])
    site.require_good(site.new, site.kept)
    for stamp, content in plain.items():
        assert site.new.opens(site.path(stamp)) == content
        record = site.record(stamp)
        assert record["rekeyed"] == before[stamp]["dig"] != record["dig"]
        changed = {"dig", "size", "to", "sealed", "signed", "signature", "rekeyed"}
        assert {name: value for name, value in record.items() if name not in changed} == {
            name: value for name, value in before[stamp].items() if name not in changed
        }
    assert site.path(FIRST).stat().st_ino == site.path(SECOND).stat().st_ino != site.path(THIRD).stat().st_ino
    assert [one.relpath for one in site.tarballs()] == relpaths
    state = site.base.files()
    again = site.rekey()
    assert (again["changed"], again["rekeyed"], again["failures"]) == (False, [], [])
    assert site.base.files() == state


def test_while_it_works_no_file_has_plaintext_or_the_key(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (site.live / "large").write_bytes(random.Random(4711).randbytes(1 << 17))
    site.dump(FIRST)
    plain = site.old.opens(site.path(FIRST))
    secret = next(line for line in site.old.text.splitlines() if line.startswith("AGE-SECRET")).encode()
    own = {site.old.path, site.kept.path, site.new.path}
    put, seen = rekeying.put_in_place, []

    def looking(*args: Any) -> None:
        for path in tmp_path.rglob("*"):
            if path.is_file() and path not in own and site.live not in path.parents:
                content = path.read_bytes()
                seen.append(path)
                assert plain[1000:1064] not in content and secret not in content, path
        put(*args)

    monkeypatch.setattr(rekeying, "put_in_place", looking)
    assert site.rekey()["failures"] == []
    assert any("rekey" in path.name for path in seen), "it looked while the new ciphertext was there"


def test_the_next_night_finds_it_unchanged(site: Site) -> None:
    site.dump(FIRST)
    site.rekey()
    site.base.dump_one(site.notes, stamp=SECOND, form=ArchiveFormat(recipients=site.after))
    assert site.path(FIRST).stat().st_ino == site.path(SECOND).stat().st_ino
    site.require_good(site.new)


@pytest.mark.full
def test_a_full_tarball_and_its_differentials_stay_bound_to_one_another(site: Site) -> None:
    with_differentials(site)
    assert site.rekey()["failures"] == []
    site.require_good(site.new)
    full, *others = site.tarballs()
    assert full.dna is not None
    assert [one.dna.base_dig for one in others if one.dna] == [full.dna.dig] * 2
    proved = drill(
        str(site.base.path),
        moment=NOW,
        sandbox=Sandbox(),
        deadline=Deadline(60, "drill"),
        identities=Identities(site.new.text),
    )
    assert (proved["failures"], len(proved["proved"])) == ([], 1)


class Killed(BaseException):
    """A kill, after which nothing of the process runs."""


STEPS = ("write_text", "remove_if_there", "os.replace", "flush_folder", "write_record", "write_sidecar")


@pytest.mark.sampled(12)
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_loses_nothing_and_the_next_call_ends_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    with_differentials(site)
    plain = {stamp: site.old.opens(site.path(stamp)) for stamp in (FIRST, SECOND, THIRD)}
    place = rekeyed.os if step == "os.replace" else rekeyed
    name = step.rpartition(".")[2]
    original, calls = getattr(place, name), []

    def killed(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == number:
            raise Killed
        return original(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(rekeyed, "settle", lambda *_: "")
        patch.setattr(place, name, killed)
        try:
            site.rekey()
        except Killed:
            pass
        else:
            assert len(calls) < number, "it was not killed"
    for stamp, content in plain.items():
        (path,) = site.base.path.glob(f"{KEY}/{stamp}/*.age")
        assert content in [key.opens(path) for key in (site.old, site.new) if key.is_for(path)], (
            "it is old or new, and whole"
        )
    remove_leftovers(site.tree)
    assert all((site.base.path / f"{one.relpath}.dna").exists() for one in site.tarballs())
    assert site.rekey()["failures"] == []
    site.require_good(site.new)
    for stamp, content in plain.items():
        assert site.new.opens(site.path(stamp)) == content


def test_what_a_kill_left_beside_tarballs_is_removed(site: Site) -> None:
    site.dump(FIRST)
    site.dump(SECOND)
    left = [site.path(stamp).with_name(f".altbackup-tmp-7-{site.path(stamp).name}") for stamp in (FIRST, SECOND)]
    left[0].write_bytes(b"part")
    left[1].mkdir()
    result = site.rekey()
    assert f"removed {left[0].relative_to(site.base.path)}, which a killed run left" in result["notes"]
    (told,) = result["failures"]
    assert f"{left[1].name}, which a killed run left, cannot be removed: " in told["reason"]
    assert told["reason"].endswith("Is a directory")
    assert not left[0].exists()
    site.require_good(site.new)


@pytest.mark.full
def test_after_a_kill_a_full_tarball_is_known_under_any_of_its_stamps(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.live / "large").write_bytes(random.Random(4711).randbytes(1 << 17))
    site.dump(FIRST, full_every=7)
    site.dump(SECOND, full_every=7)
    (site.live / "file").write_text("another night\n")
    site.dump(THIRD, full_every=7)
    assert [".diff." in one.filename for one in site.tarballs()] == [False, False, True]
    put, calls = rekeying.put_in_place, []

    def killed(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 3:
            raise Killed
        put(*args)

    with monkeypatch.context() as patch:
        patch.setattr(rekeying, "put_in_place", killed)
        with pytest.raises(Killed):
            site.rekey()
    shutil.rmtree(site.base.path / KEY / FIRST)
    assert site.rekey()["failures"] == []
    site.require_good(site.new)


def test_what_cannot_be_opened_stays_and_says_who_can(site: Site, tmp_path: Path) -> None:
    site.dump(FIRST)
    state = site.base.files()
    result = site.rekey(age_key(tmp_path, "other"))
    (failure,) = result["failures"]
    assert f"it is encrypted to {site.old.recipient}" in failure["reason"]
    assert "ssh-ed25519 ..." in failure["reason"]
    assert site.base.files() == state
    with pytest.raises(InvalidInput, match="give the identity of one of the former recipients"):
        rekeying.rekey(str(site.base.path), Wanted(site.after), identities=Identities(), deadline=Deadline(60))


def test_what_is_damaged_stays_and_holds_up_no_other(site: Site) -> None:
    site.dump(FIRST)
    (site.live / "file").write_text("other\n")
    site.dump(SECOND)
    with site.path(FIRST).open("r+b") as stream:
        stream.seek(300)
        stream.write(b"rot")
    result = site.rekey()
    (failure,) = result["failures"]
    assert "is not what was written" in failure["reason"]
    assert [entry["relpath"] for entry in result["rekeyed"]] == [f"{KEY}/{SECOND}/notes.tar.zst.age"]


def test_what_is_in_it_is_what_its_dump_recorded(site: Site) -> None:
    site.dump(FIRST)
    (site.base.path / ".altbackup/encryption/secret").write_text("ab" * 32 + "\n")
    (failure,) = site.rekey()["failures"]
    assert "is not what its dump recorded, or the secret of this source" in failure["reason"]


def test_only_what_is_asked_for_and_encrypted_today_is_touched(site: Site) -> None:
    site.dump(FIRST)
    state = site.base.files()
    nobody = site.rekey(wanted=Wanted(()))
    assert "nobody is named to whom it is to be encrypted" in nobody["notes"][0]
    assert site.rekey(wanted=Wanted(site.after, names=frozenset(["folders/others"])))["rekeyed"] == []
    told = site.rekey(check_mode=True)
    assert told["changed"] and len(told["rekeyed"]) == 1
    assert site.base.files() == state
    own = Wanted((), {KEY: site.after})
    assert len(site.rekey(wanted=own)["rekeyed"]) == 1


def test_another_key_of_signatures_stops_all(site: Site, tmp_path: Path) -> None:
    site.dump(FIRST)
    with pytest.raises(Exception, match="but altbackup_signing_key is"):
        site.rekey(signing_key=ssh_key(tmp_path, "foreign").recipient)


def of_target(site: Site, offers: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Encrypt anew what a target has."""
    return rekeying.rekey_of_target(
        str(site.base.path),
        Wanted(site.after),
        "cms01",
        offers,
        identities=Identities(site.old.text),
        deadline=Deadline(60, "rekey"),
    )


@pytest.fixture
def away(site: Site, tmp_path: Path) -> tuple[Site, list[dict[str, Any]]]:
    """Return a source that no longer has what a target has, and that as the target lists it."""
    with_differentials(site)
    shutil.copytree(site.base.path, tmp_path / "target", symlinks=True)
    offers = listing(str(site.base.path), moment=NOW, records=True)["tarballs"]
    for name in ("folders", ".altbackup/records"):
        shutil.rmtree(site.base.path / name)
    site.rekey(targets=["cms01"])
    came = Path(folder_of(site.tree, "cms01", CAME))
    for entry in offers:
        place = came / entry["relpath"]
        place.parent.mkdir(parents=True)
        place.write_bytes((tmp_path / "target" / entry["relpath"]).read_bytes())
    return site, offers


def test_what_only_a_target_has_is_encrypted_anew_on_the_source(away: tuple[Site, list[dict[str, Any]]]) -> None:
    site, offers = away
    result = of_target(site, offers)
    assert result["failures"] == []
    assert [entry["relpath"] for entry in result["rekeyed"]] == [entry["relpath"] for entry in offers]
    new = Path(folder_of(site.tree, "cms01", NEW))
    for entry, old in zip(result["rekeyed"], offers, strict=True):
        assert site.new.is_for(new / entry["relpath"]) and not site.old.is_for(new / entry["relpath"])
        record = entry["record"]
        assert record["content"] == old["record"]["content"] and str(site.live) not in json.dumps(record)
        assert opened(record, Identities(site.new.text), Deadline(60))["path"] == str(site.live)
    assert [entry.get("base_dig") for entry in result["rekeyed"][1:]] == [result["rekeyed"][0]["dig"]] * 2
    # killed after the full one had its place
    later = [{**offers[0], **{k: result["rekeyed"][0][k] for k in ("dig", "size", "record")}}, *offers[1:]]
    again = of_target(site, later)
    assert again["failures"] == []
    assert [entry["base_dig"] for entry in again["rekeyed"]] == [result["rekeyed"][0]["dig"]] * 2


@pytest.mark.parametrize("what", ["bytes", "stamp", "unsigned", "full"])
def test_a_target_has_nothing_encrypted_that_the_source_did_not_sign(
    away: tuple[Site, list[dict[str, Any]]], what: str
) -> None:
    site, offers = away
    came = Path(folder_of(site.tree, "cms01", CAME))
    full, first, second = offers
    if what == "bytes":
        (came / full["relpath"]).write_bytes(b"x" * full["size"])
        offers = [full]
    elif what == "stamp":
        moved = full["relpath"].replace(FIRST, FOURTH)
        (came / moved).parent.mkdir(parents=True)
        (came / full["relpath"]).rename(came / moved)
        offers = [{**full, "relpath": moved, "record": {**full["record"], "relpath": moved}}]
    elif what == "unsigned":
        record = {name: value for name, value in full["record"].items() if not name.startswith("sign")}
        offers = [{**full, "record": record}]
    else:
        lying = {**full["record"], "to": list(site.after), "rekeyed": first["base_dig"]}
        offers = [{**full, "record": lying}, second]
    result = of_target(site, offers)
    assert (result["rekeyed"], len(result["failures"])) == ([], 1), result
    assert "is encrypted as it was" in result["failures"][0]["reason"]


def test_what_the_source_has_for_today_goes_to_the_target_as_it_is(site: Site) -> None:
    site.dump(FIRST)
    offers = listing(str(site.base.path), moment=NOW, records=True)["tarballs"]
    site.rekey(targets=["cms01"])
    (entry,) = of_target(site, offers)["rekeyed"]
    assert entry["dig"] == site.record(FIRST)["dig"]
    assert Path(folder_of(site.tree, "cms01", NEW), entry["relpath"]).stat().st_ino == site.path(FIRST).stat().st_ino
    other = replace_content(offers[0])
    (failure,) = of_target(site, [other])["failures"]
    assert "has another content under that stamp" in failure["reason"]
    rekeying.tidy(str(site.base.path))
    assert not (site.base.path / ".altbackup/rekey").exists()


def replace_content(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tarball as if it had another content."""
    return {**entry, "record": {**entry["record"], "content": "0" * 64}}
