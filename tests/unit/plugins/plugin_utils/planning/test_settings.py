"""Settings of users: one declaration, types, durations and rates."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.altbackup.core.plugins.plugin_utils.planning import settings

ROOT = Path(__file__).resolve().parents[5]
ROLE = ROOT / "roles" / "altbackup"

SOURCE = {"altbackup_base": "/backup", "altbackup_targets": ["cms01"]}
"""The required settings of a source"""


def defaults(entry: str) -> dict[str, Any]:
    """Return the declared defaults of an entry point's variables."""
    options = settings.load_specs()[entry]
    return {name: option["default"] for name, option in options.items() if "default" in option}


def problems_of(entry: str, values: dict[str, Any]) -> list[str]:
    """Return the problems of an entry point's variables, each with its variable."""
    return [f"{problem.variable} {problem.text}" for problem in settings.validate(entry, values)[1]]


def test_role_defaults_and_specs_agree_both_ways() -> None:
    written = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
    declared: dict[str, Any] = {}
    for entry in settings.load_specs():
        declared |= defaults(entry)
    assert written == declared


def test_a_variable_of_both_is_the_same_in_both() -> None:
    specs = settings.load_specs()
    both = set(specs["source"]) & set(specs["target"])
    assert {"altbackup_keep", "altbackup_ssh_key", "altbackup_io_timeout"} <= both
    assert [name for name in both if specs["source"][name] != specs["target"][name]] == []


def test_variables_of_the_whole_run_are_of_no_node() -> None:
    assert not set(settings.names("main")) & {*settings.names("source"), *settings.names("target")}


@pytest.mark.parametrize("name", settings.names())
def test_every_variable_is_typed_and_described(name: str) -> None:
    assert name.startswith(settings.PREFIX)
    for options in settings.load_specs().values():
        if name in options:
            assert options[name]["type"] in ("str", "int", "float", "bool", "list", "dict", "raw")
            description = options[name]["description"]
            assert isinstance(description, list)
            assert all(sentence.endswith((".", "'.")) for sentence in description), description


@pytest.mark.parametrize("entry", ["main", "source", "target"])
def test_every_default_is_valid(entry: str) -> None:
    required = {name: "/x" for name, option in settings.load_specs()[entry].items() if option.get("required")}
    assert problems_of(entry, defaults(entry) | required) == []


def test_a_default_is_not_shared_between_hosts() -> None:
    settings.validate("source", SOURCE)[0]["altbackup_items"].append("mine")
    assert settings.validate("source", SOURCE)[0]["altbackup_items"] == []


@pytest.mark.parametrize(
    ("value", "base"),
    [("/backup/", "/backup"), ("//backup//x/./y/", "/backup/x/y"), ("/a/../b", "/b"), ("/", "/")],
)
def test_bases_are_normalized(value: str, base: str) -> None:
    assert settings.parse_base(value) == base


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("altbackup_keep", "2", 2),
        ("altbackup_keep", 7, 7),
        ("altbackup_keep_daily", "7", 7),
        ("altbackup_keep_weekly", 0, 0),
        ("altbackup_keep_monthly", None, None),
        ("altbackup_keep_within", "1d", 86400.0),
        ("altbackup_keep_within", 0, 0.0),
        ("altbackup_keep_within", 90, 90.0),
        ("altbackup_targets", "cms01, sdu", ["cms01", "sdu"]),
        ("altbackup_ssh_args", "-o 'ProxyCommand=nc %h %p' -4", ["-o", "ProxyCommand=nc %h %p", "-4"]),
        ("altbackup_discover", {"svn": "/home/scm/svn/"}, {"svn": "/home/scm/svn"}),
        ("altbackup_transport", {"cms01": "push"}, {"cms01": "push"}),
        ("altbackup_step_timeout", "6h", 21600.0),
        ("altbackup_bwlimit", "10M", 10485760),
        ("altbackup_min_rate", "", 0),
        ("altbackup_min_rate", "1", 1),
        ("altbackup_min_rate", 2048, 2048),
        ("altbackup_rsync_port", "2222", 2222),
        ("altbackup_rsync_port", None, None),
        ("altbackup_io_timeout", None, 60.0),
        ("altbackup_ext", ".tar", ".tar"),
        ("altbackup_max_age", None, 129600.0),
        ("altbackup_max_age", "8d", 691200.0),
        ("altbackup_proof_age", "8d", 691200.0),
        ("altbackup_proof_age", None, 0.0),
        ("altbackup_drill_share", "0.2", 0.2),
        ("altbackup_shrink", None, 0.3),
        ("altbackup_shrink", 0.2, 0.2),
        ("altbackup_shrink", "12.5%", 0.125),
        ("altbackup_churn", "100 %", 1.0),
        ("altbackup_churn", None, 0.5),
        ("altbackup_drill_limit", "50G", 53687091200),
        ("altbackup_drill_limit", None, 0),
        ("altbackup_drill_folder", "/scratch/", "/scratch"),
    ],
)
def test_values_get_their_type(name: str, value: object, expected: object) -> None:
    values, problems = settings.validate("source", SOURCE | {name: value})
    assert problems == []
    assert values[name] == expected
    assert type(values[name]) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        *[
            ("altbackup_keep", value, "is not a positive whole number")
            for value in (0, -1, "abc", 1.5, True, "1.0", "", [3])
        ],
        ("altbackup_keep", {"keep": 3, "daily": 7}, "like 3, and the other rules as altbackup_keep_daily and so on"),
        ("altbackup_keep_daily", -1, "-1 is not a whole number from 0 to 999999: write one, like 7"),
        ("altbackup_keep_weekly", True, "True is not a whole number"),
        ("altbackup_keep_monthly", "six", "'six' is not a whole number"),
        ("altbackup_keep_yearly", 1.5, "1.5 is not a whole number"),
        (
            "altbackup_keep_within",
            "soon",
            "'soon' is not a duration: write seconds, or a number and a unit, like 36h or 1d, or 0 for none",
        ),
        ("altbackup_keep_within", -1, "'-1' is not a duration"),
        ("altbackup_keep_within", "", "'' is not a duration"),
        ("altbackup_base", "backup", "is not an absolute path"),
        ("altbackup_base", {"a": 1}, "is not a text"),
        ("altbackup_base", None, "is required and missing"),
        ("altbackup_targets", {"cms01": 1}, "is not a list"),
        ("altbackup_targets", [{"name": "cms01"}], "is not a list of texts"),
        ("altbackup_items", "dybsvn", "is not a list"),
        ("altbackup_items", {"kind": "svn"}, "is not a list"),
        ("altbackup_ext", ".tgz", "is not one of .tar.zst, .tar.gz, .tar"),
        ("altbackup_check_scope", "week", "is not one of day, all"),
        ("altbackup_max_age", "", "is not a duration above 0"),
        ("altbackup_proof_age", "often", "is not a duration above 0"),
        ("altbackup_shrink", 30, "'30' is not a part above 0 and up to all: write one, like 30% or 0.3"),
        ("altbackup_shrink", 0, "is not a part"),
        ("altbackup_churn", "101%", "is not a part"),
        ("altbackup_churn", "some", "is not a part"),
        ("altbackup_churn", [0.3], "is not a text"),
        ("altbackup_drill_share", 0, "0 is not a part above 0 and up to 1"),
        ("altbackup_drill_share", 1.5, "1.5 is not a part above 0 and up to 1"),
        ("altbackup_drill_share", True, "True is not a number"),
        ("altbackup_drill_share", "some", "is not a number"),
        ("altbackup_drill_limit", "-5", "is not a number of bytes above 0"),
        ("altbackup_drill_folder", "scratch", "is not an absolute path"),
        ("altbackup_dna_algorithm", "crc32", "is not one of sha256, sha512, md5"),
        ("altbackup_verify_every", True, "is not a whole number"),
        ("altbackup_verify_every", float("inf"), "inf is not a whole number"),
        ("altbackup_verify_every", 0, "is not a whole number from 1"),
        ("altbackup_verify_every", "weekly", "is not a whole number"),
        ("altbackup_compress_level", 20, "is not a whole number from 1 to 19"),
        ("altbackup_rsync_port", 70000, "is not a whole number from 1 to 65535"),
        ("altbackup_full_every", 101, "is not a whole number from 1 to 100"),
        ("altbackup_transport", {"cms01": "fetch"}, "'fetch' for cms01 is not one of push, pull"),
        ("altbackup_trash_days", -1, "is not a whole number from 0 to 3650: write one, like 2"),
        ("altbackup_trash_days", "2d", "is not a whole number"),
        ("altbackup_min_copies", -1, "is not a whole number from 0"),
        ("altbackup_min_copies", True, "is not a whole number"),
        ("altbackup_nice", 20, "from 0 to 19"),
        ("altbackup_nice", -1, "from 0 to 19"),
        ("altbackup_ionice", "realtime", "is not idle, best-effort"),
        ("altbackup_ionice", "best-effort:8", "is not idle, best-effort"),
        ("altbackup_transport", "carry", "is not one of push, pull"),
        ("altbackup_transport", ["push"], "is not one of push, pull"),
        ("altbackup_discover", {"svm": "/x"}, "did you mean 'svn'"),
        ("altbackup_discover", {"folder": "/x"}, "cannot be discovered, known are svn, trac, git"),
        ("altbackup_discover", {"svn": "x"}, "is not an absolute path"),
        ("altbackup_discover", "/x", "is not a mapping"),
        ("altbackup_ssh_args", "-o 'x", "cannot be split into words"),
        ("altbackup_connect_timeout", "soon", "is not a duration"),
        ("altbackup_bwlimit", "fast", "is not a rate of at least 1K"),
        ("altbackup_min_rate", "0", "is not a rate of at least 1 bytes"),
        ("altbackup_keep", settings.Unreadable("is a template"), "is a template"),
    ],
)
def test_bad_values_are_told(name: str, value: object, text: str) -> None:
    found = problems_of("source", SOURCE | {name: value})
    assert len(found) == 1
    assert found[0].startswith(name)
    assert text in found[0]


@pytest.mark.parametrize("days", [0, 36501])
def test_a_history_is_kept_for_a_day_at_least(days: int) -> None:
    assert problems_of("main", {"altbackup_history_days": days}) == [
        f"altbackup_history_days {days} is not a whole number from 1 to 36500: write one, like 400"
    ]


def test_a_key_in_place_of_its_path_is_refused_and_not_shown() -> None:
    found = problems_of("source", SOURCE | {"altbackup_ssh_key": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r"})
    assert len(found) == 1
    assert "b3BlbnNza" not in found[0]


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
    assert hint in (settings.describe_unknown(name) or "")


def test_known_names_are_known() -> None:
    assert [name for name in settings.names() if settings.describe_unknown(name)] == []


def run_tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tools/variables.py."""
    command = [sys.executable, str(ROOT / "tools" / "variables.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_table_of_variables_is_up_to_date() -> None:
    result = run_tool("--check")
    assert result.returncode == 0, result.stderr


def test_a_stale_table_of_variables_is_found_and_mended(tmp_path: Path) -> None:
    page = tmp_path / "variables.md"
    assert run_tool("--check", "--page", str(page)).returncode == 1
    page.write_text("old\n", encoding="utf-8")
    assert run_tool("--check", "--page", str(page)).returncode == 1
    assert page.read_text(encoding="utf-8") == "old\n"
    assert run_tool("--page", str(page)).returncode == 0
    assert run_tool("--check", "--page", str(page)).returncode == 0
    assert all(f"| `{name}` |" in page.read_text(encoding="utf-8") for name in settings.names())


def test_the_embedded_inventory_uses_known_variables_alone() -> None:
    used = {
        name
        for path in (ROOT / "inventory" / "local").rglob("*.yml")
        if path.parent.parent.name == "group_vars"
        for name in yaml.safe_load(path.read_text(encoding="utf-8"))
        if name.startswith(settings.PREFIX)
    }
    assert used
    assert used <= set(settings.names())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("altbackup_ssh_args", ["-o", "ProxyCommand=sshpass -p hunter22 ssh x"]),
        ("altbackup_ssh_args", {"a": "hunter22"}),
        ("altbackup_ssh_key", ["-----BEGIN OPENSSH PRIVATE KEY-----\nhunter22"]),
        ("altbackup_base", {"password": "hunter22"}),
        ("altbackup_base", "password=hunter22"),
        ("altbackup_items", "token: hunter22"),
        ("altbackup_bwlimit", "passphrase='hunter22 and more'"),
        ("altbackup_connect_timeout", "secret=hunter22"),
        ("altbackup_transport", {"cms01": "password=hunter22"}),
        ("altbackup_transport", "password=hunter22"),
        ("altbackup_discover", {"svn": "password=hunter22"}),
        ("altbackup_targets", [{"name": "cms01", "password": "hunter22"}]),
        ("altbackup_ext", "sshpass -p hunter22"),
    ],
)
def test_setting_that_is_refused_is_named_without_its_secret(name: str, value: object) -> None:
    problems = [problem for problem in settings.validate("source", {name: value})[1] if problem.variable == name]
    assert problems, "it is refused"
    assert "hunter22" not in problems[0].text


@pytest.mark.parametrize("name", ["altbackup_base", "altbackup_bwlimit", "altbackup_items", "altbackup_ext"])
def test_long_value_that_is_refused_is_shown_in_part(name: str) -> None:
    (text,) = [
        problem.text for problem in settings.validate("source", {name: "x" * 5000})[1] if problem.variable == name
    ]
    assert "xxx..." in text
    assert len(text) < 400


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
    assert settings.meant(name) == wanted
    assert f"did you mean {wanted}?" in (settings.describe_unknown(name) or "")


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
    assert (settings.meant(name), settings.describe_unknown(name)) == ("", None)


@pytest.mark.parametrize(
    ("one", "other", "steps"),
    [("", "", 0), ("a", "", 1), ("keep", "keep", 0), ("kep", "keep", 1), ("kepe", "keep", 2), ("base", "items", 3)],
)
def test_distance(one: str, other: str, steps: int) -> None:
    assert settings.distance(one, other, 2) == settings.distance(other, one, 2) == steps


@pytest.mark.parametrize(
    ("entry", "name", "text", "expected"),
    [
        ("main", "altbackup_restore", "[{source: x, at: 2013/05/10}]", [{"source": "x", "at": "2013/05/10"}]),
        ("main", "altbackup_restore", "- source: x\n- source: y\n", [{"source": "x"}, {"source": "y"}]),
        ("main", "altbackup_adopt", "[dayabay/svn/dybsvn, a/git/b]", ["dayabay/svn/dybsvn", "a/git/b"]),
        ("main", "altbackup_adopt", "dayabay/folders/a: b", ["dayabay/folders/a: b"]),
        ("main", "altbackup_only_targets", "['cms01']", ["cms01"]),
        ("main", "altbackup_only_targets", "cms01,sdu", ["cms01", "sdu"]),
        ("source", "altbackup_targets", "- cms01\n- sdu", ["cms01", "sdu"]),
        ("source", "altbackup_items", "[{kind: svn, name: x, path: /x}]", [{"kind": "svn", "name": "x", "path": "/x"}]),
        ("source", "altbackup_discover", "{svn: /home/svn}", {"svn": "/home/svn"}),
        ("source", "altbackup_discover", "svn: /home/svn", {"svn": "/home/svn"}),
        ("source", "altbackup_discover", "svn=/home/svn", {"svn": "/home/svn"}),
        ("source", "altbackup_transport", "{cms01: pull}", {"cms01": "pull"}),
        ("source", "altbackup_transport", "pull", "pull"),
    ],
)
def test_lists_and_mappings_are_read_from_text_as_yaml(entry: str, name: str, text: str, expected: object) -> None:
    values, problems = settings.validate(entry, {**SOURCE, name: text})
    assert problems == []
    assert values[name] == expected


def test_every_list_and_mapping_can_be_given_as_yaml() -> None:
    least = {**SOURCE, "altbackup_target_base": "/copies"}
    for entry, options in settings.load_specs().items():
        for name, option in options.items():
            if option["type"] in ("list", "dict"):
                (problem,) = settings.validate(entry, {**least, name: "[{a: b"})[1]
                assert problem.variable == name
                assert "can be read neither as JSON nor as YAML: line 1, column 7: " in problem.text
                wrong = "{a: b}" if option["type"] == "list" else "[a]"
                (problem,) = settings.validate(entry, {**least, name: wrong})[1]
                assert "is not a " in problem.text


@pytest.mark.parametrize("entry", ["source", "target"])
def test_no_markup_of_documentation_is_shown_to_a_person(entry: str) -> None:
    for problem in settings.validate(entry, {})[1]:
        assert not re.search(r"\b[A-Z]\(", problem.text), problem


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("set C(mkdir -p) or V(none), see O(a.b=c)", "set mkdir -p or none, see a.b=c"),
        ("L(the docs, https://x.org/a) and U(https://x.org)", "the docs and https://x.org"),
        (
            "P(altbackup.core.quiet#callback), M(x.y.z), a(b) and UTC(+8)",
            "altbackup.core.quiet, x.y.z, a(b) and UTC(+8)",
        ),
    ],
)
def test_markup_of_documentation_is_read_as_what_it_marks(text: str, plain: str) -> None:
    assert settings.without_markup(text) == plain


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2013/05/20", ["2013/05/20"]),
        (
            ["2013/05/20", " dayabay/svn/dybsvn/2013/05/10/104701 "],
            ["2013/05/20", "dayabay/svn/dybsvn/2013/05/10/104701"],
        ),
        ([], []),
    ],
)
def test_what_is_to_be_put_back_is_days_and_tarballs(value: object, expected: list[str]) -> None:
    values, problems = settings.validate("main", {"altbackup_undo": value})
    assert (values["altbackup_undo"], problems) == (expected, [])


@pytest.mark.parametrize(
    "value", ["-1", "2013/02/30", "svn/dybsvn/2013/05/10/104701", "dayabay/svn/dybsvn", "/svn/x/2013/05/10/104701"]
)
def test_anything_else_is_nothing_to_be_put_back(value: str) -> None:
    (problem,) = settings.validate("main", {"altbackup_undo": [value]})[1]
    assert "is neither a day on which tarballs were removed, like 2013/05/20, nor one tarball" in problem.text
