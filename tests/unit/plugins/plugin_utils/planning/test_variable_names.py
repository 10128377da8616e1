"""Names of variables: known ones, and hints for misspelled ones."""

from __future__ import annotations

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.planning import settings, variable_names


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("altbackup_bsae", "did you mean altbackup_base?"),
        ("altbackup_target", "did you mean altbackup_targets?"),
        ("altbackup_ssh_keys", "did you mean altbackup_ssh_key?"),
        ("altbackup_foo", "docs/variables.md"),
    ],
)
def test_unknown_names_get_a_hint(name: str, hint: str) -> None:
    assert hint in (variable_names.describe_unknown(name) or "")


def test_known_names_are_known() -> None:
    assert [name for name in settings.names() if variable_names.describe_unknown(name)] == []


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("altbakup_keep", "altbackup_keep"),
        ("alt_backup_keep", "altbackup_keep"),
        ("altbackupkeep", "altbackup_keep"),
        ("altbackups_targets", "altbackup_targets"),
        ("albackup_target_base", "altbackup_target_base"),
        ("Altbackup_base", "altbackup_base"),
        ("ALTBACKUP_KEEP", "altbackup_keep"),
        ("altabckup_items", "altbackup_items"),
        ("atlbackup_itmes", "altbackup_items"),
        ("altbakup_kep", "altbackup_keep"),
        ("_altbackup_day", "altbackup_day"),
        ("altbackup.keep", "altbackup_keep"),
        ("altbackup-keep", "altbackup_keep"),
    ],
)
def test_name_with_nearly_the_prefix_is_one_of_ours(name: str, wanted: str) -> None:
    assert variable_names.intended_name(name) == wanted
    assert f"did you mean {wanted}?" in (variable_names.describe_unknown(name) or "")


@pytest.mark.parametrize(
    "name",
    [
        "salt_backup_dir",
        "salt_backup_user",
        "backup_keep",
        "my_backup_keep",
        "altbackup",
        "altitude_base",
        "__altbackup_plan",
        "__altbackup_run",
        "ansible_host",
        "default_backup_path",
        "alt_backup_retention_policy_of_the_database",
        "",
    ],
)
def test_names_of_other_people_are_none(name: str) -> None:
    assert (variable_names.intended_name(name), variable_names.describe_unknown(name)) == ("", None)


@pytest.mark.parametrize(
    ("one", "other", "steps"),
    [("", "", 0), ("a", "", 1), ("keep", "keep", 0), ("kep", "keep", 1), ("kepe", "keep", 2), ("base", "items", 3)],
)
def test_distance(one: str, other: str, steps: int) -> None:
    assert variable_names.distance(one, other, 2) == variable_names.distance(other, one, 2) == steps
