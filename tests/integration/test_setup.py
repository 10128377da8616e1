"""setup.yml over the lab: hosts with only sshd become nodes whose pairs have keys for one purpose; teardown.yml undoes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.lab_site import DAY1, DAY2, LabSite, read_again, repaired
from lab import Lab
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = needs_namespaces

hosts = lab_fixture(["dayabay", "cms01", "sdu"])


@pytest.fixture
def lab_site(hosts: Lab, tmp_path: Path) -> Iterator[LabSite]:
    """A site whose hosts know no keys but the controller's; the others are restored afterwards."""
    texts = {name: authorized(hosts, name).read_text() for name in hosts.names}
    try:
        with repaired(hosts, tmp_path) as site:
            site.add_source(
                "dayabay",
                altbackup_targets=["cms01", "sdu"],
                altbackup_transport={"sdu": "pull"},
                altbackup_allow_root_filesystem=True,
            )
            for name in ("cms01", "sdu"):
                site.add_target(name, altbackup_allow_root_filesystem=True)
            for base in bases(site):
                (base / ".altbackup").rmdir()
                base.rmdir()
            yield site
    finally:
        for name, text in texts.items():
            authorized(hosts, name).write_text(text)


def authorized(lab: Lab, name: str) -> Path:
    """Return authorized_keys of a host."""
    return lab[name].home / ".ssh" / "authorized_keys"


def bases(site: LabSite) -> list[Path]:
    """Return the bases of the three nodes."""
    return [site.tree("dayabay"), *(site.place(name) / "copies" for name in ("cms01", "sdu"))]


def leave_one_target(site: LabSite) -> None:
    """Let the source have one target, to which it sends."""
    site.hosts["dayabay"]["altbackup_targets"] = ["cms01"]
    site.hosts["dayabay"].pop("altbackup_transport")
    site.groups["targets"].remove("sdu")


def keys(site: LabSite) -> list[Path]:
    """Return the folders of the three nodes' keys."""
    return [base / ".altbackup" / "trust" for base in bases(site)]


def own_lines(site: LabSite, name: str) -> list[str]:
    """Return the lines that set-up has written to a host's authorized_keys."""
    return [line for line in authorized(site.lab, name).read_text().splitlines() if " altbackup:" in line]


@pytest.mark.full
def test_set_up_binds_each_key_a_second_time_changes_nothing_and_teardown_undoes_it(lab_site: LabSite) -> None:
    foreign = {name: authorized(lab_site.lab, name).read_text() for name in lab_site.lab.names}
    first = lab_site.run("setup")
    assert first.rc == 0, first.stdout
    lab = lab_site.lab
    (pushed,), (pulled,) = own_lines(lab_site, "cms01"), own_lines(lab_site, "dayabay")
    assert pushed.startswith(f'restrict,from="{lab["dayabay"].address}",command="')
    assert pulled.startswith(f'restrict,from="{lab["sdu"].address}",command="')
    for name, text in foreign.items():
        assert authorized(lab, name).read_text().startswith(text), "lines of others keep their places"
    assert [sorted(path.name for path in folder.glob("*/*")) for folder in keys(lab_site)] == [
        ["key", "key.pub", "known_hosts"],
        [],
        ["key", "key.pub", "known_hosts"],
    ]
    again = lab_site.run("setup")
    assert (again.rc, again.changed) == (0, 0), again.stdout
    kept = bases(lab_site)[1] / "dayabay" / "folders" / "kept"
    kept.parent.mkdir(parents=True)
    kept.write_text("a copy")
    gone = lab_site.run("teardown")
    assert gone.rc == 0, gone.stdout
    assert {name: authorized(lab, name).read_text() for name in lab.names} == foreign
    assert not any(folder.exists() for folder in keys(lab_site))
    assert kept.read_text() == "a copy"
    assert [base.exists() for base in bases(lab_site)] == [False, True, False]


@pytest.mark.full
def test_a_check_predicts_and_makes_nothing(lab_site: LabSite) -> None:
    predicted = lab_site.run("setup", "--check")
    assert predicted.rc == 0, predicted.stdout
    assert "would be made, with its marker" in predicted.stdout
    assert "dayabay -> cms01: a key would be made on dayabay; its line would be written into" in predicted.stdout
    assert not any(base.exists() for base in bases(lab_site))
    assert not own_lines(lab_site, "cms01")


@pytest.mark.full
@pytest.mark.parametrize("transport", ["push", "pull"])
def test_a_night_uses_the_keys_and_no_others(lab_site: LabSite, transport: str) -> None:
    leave_one_target(lab_site)
    lab_site.hosts["dayabay"]["altbackup_transport"] = transport
    ready = lab_site.run("setup")
    assert ready.rc == 0, ready.stdout
    night = lab_site.run("backup", stamp=DAY1)
    assert night.rc == 0, night.stdout
    for tree in (lab_site.tree("dayabay"), lab_site.tree("dayabay", "cms01")):
        read_again(tree, 1)
    place, words = {"push": ("receive/dayabay", ": added,"), "pull": ("lend/cms01", ": read,")}[transport]
    dialled = bases(lab_site)[0 if transport == "pull" else 1]
    assert f"{words} exit code 0" in (dialled / ".altbackup" / place / "log").read_text()


@pytest.mark.full
def test_keys_are_rotated_by_one_command_and_a_night_goes_on(lab_site: LabSite) -> None:
    leave_one_target(lab_site)
    assert lab_site.run("setup").rc == 0
    key, lines = keys(lab_site)[0] / "cms01" / "key", own_lines(lab_site, "cms01")
    before = key.read_bytes()
    rotated = lab_site.run("setup", rotate_keys=True)
    assert rotated.rc == 0, rotated.stdout
    assert key.read_bytes() != before and not list(key.parent.glob("key.next*"))
    assert len(own_lines(lab_site, "cms01")) == 1 and own_lines(lab_site, "cms01") != lines
    night = lab_site.run("backup", stamp=DAY2)
    assert night.rc == 0, night.stdout


@pytest.mark.full
def test_a_source_that_comes_from_another_address_is_let_in_again(lab_site: LabSite) -> None:
    leave_one_target(lab_site)
    assert lab_site.run("setup").rc == 0
    path = authorized(lab_site.lab, "cms01")
    path.write_text(path.read_text().replace(f'from="{lab_site.lab["dayabay"].address}"', 'from="192.0.2.1"'))
    mended = lab_site.run("setup")
    assert mended.rc == 0, mended.stdout
    assert f'from="{lab_site.lab["dayabay"].address}"' in own_lines(lab_site, "cms01")[0]
    lab_site.hosts["cms01"]["altbackup_trust_from"] = "any"
    assert lab_site.run("setup").rc == 0
    assert own_lines(lab_site, "cms01")[0].startswith('restrict,command="')


@pytest.mark.full
def test_a_base_on_the_root_file_system_is_refused_and_named(lab_site: LabSite) -> None:
    lab_site.hosts["cms01"].pop("altbackup_allow_root_filesystem")
    run = lab_site.run("setup")
    assert run.rc != 0
    assert "would lie on the root file system" in run.stdout
    assert not bases(lab_site)[1].exists()
