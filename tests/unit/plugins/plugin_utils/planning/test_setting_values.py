"""Values of settings: types, durations and rates, and why others are refused."""

from __future__ import annotations

import pytest
from helpers.settings import SOURCE, problems_of

from ansible_collections.altbackup.core.plugins.plugin_utils.planning import setting_values, settings


@pytest.mark.parametrize(
    ("value", "base"),
    [("/backup/", "/backup"), ("//backup//x/./y/", "/backup/x/y"), ("/a/../b", "/b"), ("/", "/")],
)
def test_bases_are_normalized(value: str, base: str) -> None:
    assert setting_values.parse_base(value) == base


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
