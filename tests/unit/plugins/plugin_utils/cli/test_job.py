"""The meaning of the entry point's command line, and the settings that apply to it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.altbackup.core.plugins.callback import error_mail
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.cli import job as run_command
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.job import ROOT, AnsibleSettings, Job
from ansible_collections.altbackup.core.plugins.plugin_utils.mail.settings import variable_of


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a playbook and an inventory, as the working folder."""
    (tmp_path / "play.yml").write_text("[]")
    (tmp_path / "hosts").write_text("one\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(*options: str, playbook: str = "play.yml", **environment: str) -> Job:
    """Parse a job with the settings of the checkout."""
    return run_command.read_job(playbook, options, (), run_command.ansible_settings(environment), environment)


@pytest.mark.parametrize(
    ("options", "inventory", "limit", "tags", "check"),
    [
        (("-i", "hosts"), ("hosts",), None, (), False),
        (("-ihosts", "--inventory=b", "-l", "x"), ("hosts", "b"), "x", (), False),
        (("-i", "one,two", "--limit=x", "-C"), ("one,two",), "x", (), True),
        (("-vCi", "hosts", "-e", "l=3"), ("hosts",), None, (), True),
        (("--tags", "c,b", "-t", "a", "--skip-tags", "d", "-i", "hosts"), ("hosts",), None, ("a", "b", "c"), False),
        (("-u", "me", "--forks", "3", "-i", "hosts"), ("hosts",), None, (), False),
    ],
)
def test_options_are_seen_and_handed_on(
    options: tuple[str, ...],
    inventory: tuple[str, ...],
    limit: str | None,
    tags: tuple[str, ...],
    check: bool,
    here: Path,
) -> None:
    job = read(*options)
    assert job.options == options
    assert job.inventory == tuple(name if "," in name else str(here / name) for name in inventory)
    assert (job.limit, job.tags, job.check) == (limit, tags, check)


def test_inventory_is_named_by_the_environment_or_the_users_own_settings(here: Path) -> None:
    assert read(ANSIBLE_INVENTORY="a,/b").inventory == (str(here / "a"), "/b")
    both = {"ANSIBLE_INVENTORY": "a", "ALTBACKUP_INVENTORY": "~/mine,b", "ANSIBLE_CONFIG": str(here)}
    (here / "ansible.cfg").write_text("[defaults]\ninventory = mine ; a comment\n")
    assert read(**both).inventory == (os.path.expanduser("~/mine"), str(here / "b"))
    assert read("-i", "hosts", **both).inventory == (str(here / "hosts"),)
    assert read(ANSIBLE_CONFIG=str(here)).inventory == (str(here / "mine"),)
    assert read().inventory == (str(here / "mine"),), "of the folder in which it is called"
    (here / "ansible.cfg").chmod(0o666)
    here.chmod(0o777)
    assert read().inventory == (), "anybody could have put it there"


def test_inventory_of_the_users_home_is_one(here: Path) -> None:
    (here / "home").mkdir()
    (here / "home" / ".ansible.cfg").write_text("[defaults]\ninventory = mine, more\n")
    found = read(HOME=str(here / "home")).inventory
    assert found == (str(here / "home" / "mine"), str(here / "home" / "more"))


@pytest.mark.parametrize("config", ["", str(ROOT / "ansible.cfg"), str(ROOT)])
def test_default_of_the_checkout_is_used_only_when_named(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (".", str(ROOT)):
        monkeypatch.chdir(folder)
        job = read(playbook="backup", ANSIBLE_CONFIG=config)
        assert job.inventory == ()
        with pytest.raises(InvalidInput, match=r"no inventory is named: .* -i INVENTORY.* ALTBACKUP_INVENTORY"):
            run_command.check_job(job)
    named = str(ROOT / "inventory" / "local")
    run_command.check_job(read("-i", named, playbook="backup"))
    run_command.check_job(read(playbook="backup", ALTBACKUP_INVENTORY=named))


def test_settings_that_cannot_be_read_name_no_inventory(here: Path) -> None:
    (here / "ansible.cfg").write_text("nonsense")
    assert read(ANSIBLE_CONFIG=str(here / "ansible.cfg")).inventory == ()


@pytest.mark.parametrize("name", ["ALTBACKUP_INVENTORY", "ANSIBLE_INVENTORY"])
def test_inventory_of_the_environment_must_be_there(name: str) -> None:
    with pytest.raises(InvalidInput, match="nowhere does not exist"):
        run_command.check_job(read(**{name: "nowhere"}))


def test_ansible_is_told_the_inventory_that_was_found(here: Path) -> None:
    def told(*options: str, **environment: str) -> str:
        settings = run_command.ansible_settings(environment)
        job = run_command.read_job("play.yml", options, (), settings, environment)
        return run_command.child_environment(settings, environment, colour=False, job=job).get("ANSIBLE_INVENTORY", "")

    assert told(ALTBACKUP_INVENTORY="hosts", ANSIBLE_INVENTORY="other") == str(here / "hosts")
    assert told("-i", "a,b", ALTBACKUP_INVENTORY="hosts") == ""
    (here / "ansible.cfg").write_text("[defaults]\ninventory = mine,more\n")
    assert told() == f"{here / 'mine'},{here / 'more'}"


@pytest.mark.parametrize("name", ["backup", "backup.yml", "altbackup.core.backup"])
def test_own_playbooks_go_by_name(name: str) -> None:
    assert read(playbook=name).playbook == ROOT / "playbooks" / "backup.yml"


def test_file_goes_before_a_playbook_of_that_name(here: Path) -> None:
    (here / "backup.yml").write_text("[]")
    assert read(playbook="backup.yml").playbook == here / "backup.yml"


@pytest.mark.parametrize(
    ("playbook", "options", "message"),
    [
        ("none.yml", (), "none.yml does not exist; playbooks of this collection: backup, check"),
        ("playbooks/backup.yml", (), "does not exist"),
        (".", (), "does not exist"),
        ("play.yml", ("other.yml",), "one playbook a run"),
        ("play.yml", ("-i", "nowhere"), "nowhere does not exist"),
        ("play.yml", ("-vk",), "--ask-pass asks"),
        ("play.yml", ("--ask-become-pass",), "asks"),
        ("play.yml", ("-J",), "asks"),
        ("play.yml", ("--step",), "--step asks"),
        ("play.yml", ("--list-hosts",), "runs nothing"),
    ],
)
def test_what_cannot_run_is_said(playbook: str, options: tuple[str, ...], message: str) -> None:
    job = read(*options, playbook=playbook)
    with pytest.raises(InvalidInput, match=message):
        run_command.check_job(job)


def test_usable_job_passes() -> None:
    run_command.check_job(read("-i", "hosts", "-i", "a,b"))


def test_option_without_its_value_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="expected one argument"):
        read("-i")


def test_jobs_share_a_lock_by_playbook_and_inventory_alone() -> None:
    assert read("-i", "hosts").lock == read("-i", "./hosts", "--limit", "x", "-C").lock
    assert read("-i", "hosts").lock != read("-i", "a,").lock
    assert read("-i", "hosts").key != read("-i", "hosts", "--limit", "x").key
    assert read("-i", "hosts", "-e", "altbackup_stamp=x").key == read("-i", "hosts").key


def test_mail_has_the_settings_of_the_callback(here: Path) -> None:
    documented = yaml.safe_load(error_mail.DOCUMENTATION)["options"]
    assert set(run_command.MAIL_OPTIONS) == set(error_mail.MAIL_OPTIONS)
    for name in run_command.MAIL_OPTIONS:
        assert documented[name]["env"] == [{"name": variable_of(name)}]
        assert documented[name]["ini"] == [{"section": "callback_error_mail", "key": name}]
    text = "[callback_error_mail]\nto = a@example.org, b@example.org\nhost = mail.example.org\npassword = 100%ok\nport = 2525\nusername = me\n"
    (here / "ansible.cfg").write_text(text)
    environment = {"ANSIBLE_CONFIG": str(here), "ALTBACKUP_MAIL_PORT": "26", "PATH": "/nowhere"}
    settings = run_command.mail_settings(run_command.ansible_settings(environment), environment)
    assert settings.recipients == ("a@example.org", "b@example.org")
    assert (settings.host, settings.port, settings.password) == ("mail.example.org", 26, "100%ok")


def test_environment_of_the_run_leaves_wishes_alone(here: Path) -> None:
    plain = run_command.child_environment(AnsibleSettings(here), {}, colour=False)
    assert (plain["ANSIBLE_HOST_KEY_CHECKING"], plain["ANSIBLE_NOCOLOR"]) == ("True", "1")
    lax = AnsibleSettings(here, {"defaults": {"host_key_checking": "False"}})
    assert run_command.child_environment(lax, {}, colour=True)["ANSIBLE_HOST_KEY_CHECKING"] == "False"
    wishes = {"ANSIBLE_HOST_KEY_CHECKING": "no", "ANSIBLE_CONFIG": "/x"}
    assert not wishes.keys() & run_command.child_environment(lax, wishes, colour=True).keys()


@pytest.mark.parametrize(
    ("name", "usable"), [("C", False), ("C.UTF-8", True), ("zh_CN.GB18030", False), ("xx_YY.UTF-8", False), ("", False)]
)
def test_locale_that_ansible_refuses_is_replaced(
    name: str, usable: bool, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LANG", name)
    added = run_command.child_environment(AnsibleSettings(here), {}, colour=True)
    assert added.get("LC_ALL") == (None if usable else "C.UTF-8")


def test_ansible_is_sought_beside_this_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run_command.find_ansible({}).startswith(f"{Path(sys.executable).parent}:")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidInput, match="ansible-playbook is not installed"):
        run_command.find_ansible({})
