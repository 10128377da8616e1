"""Keys of items that kinds have of their own: what each takes, and that all else is refused with what it should be."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.kinds.keys import PARSERS
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput

TAKEN: dict[str, list[tuple[object, object]]] = {
    "argv": [
        (["/bin/x"], ("/bin/x",)),
        (["/bin/x", "", "a b", "$(id)", "*"], ("/bin/x", "", "a b", "$(id)", "*")),
        (("/bin/x", "-y"), ("/bin/x", "-y")),
    ],
    "verify": [(["/bin/x"], ("/bin/x",))],
    "user": [
        ("scm", "scm"),
        ("x", "x"),
        ("a-b.c_d$", "a-b.c_d$"),
        ("DOMAIN\\scm", "DOMAIN\\scm"),
        ("müller", "müller"),
    ],
    "produces": [("output", "output"), ("folder", "folder")],
    "time_limit": [(1, 1.0), ("90", 90.0), ("30m", 1800.0), ("1.5h", 5400.0), (" 2d ", 172800.0)],
    "size_limit": [
        (1, 1),
        ("1024", 1024),
        ("1K", 1024),
        ("20G", 20 << 30),
        ("1 MiB", 1 << 20),
        ("3TB", 3 << 40),
        ("7B", 7),
        ("9" * 15, int("9" * 15)),
    ],
    "host": [
        ("/run/postgresql", "/run/postgresql"),
        ("/run//x/../postgresql/", "/run/postgresql"),
        ("localhost", "localhost"),
        ("db.example.org", "db.example.org"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("x", "x"),
    ],
    "port": [(1, 1), (5432, 5432), ("5432", 5432), (65535, 65535)],
    "login": [("backup", "backup"), ("a b", "a b"), ("-x", "-x"), ("ä", "ä")],
    "password_file": [("/etc/x", "/etc/x"), ("/etc/./x", "/etc/x")],
    "databases": [(["a"], ("a",)), (["b", "a", "b"], ("b", "a")), (("a b", "-x"), ("a b", "-x"))],
    "lock": [(True, True), (False, False)],
    "members": [(["git/forge"], ("git/forge",)), (("svn/a", "databases/b"), ("svn/a", "databases/b"))],
}
REFUSED: dict[str, tuple[str, list[object]]] = {
    "argv": (
        "is a text: no shell is called|is not a list of texts|first word is not the absolute path of a program",
        [
            "/bin/x --all",
            "",
            [],
            (),
            None,
            5,
            {"a": 1},
            ["x"],
            ["./x"],
            [""],
            ["/bin/x", 5],
            ["/bin/x", "a\0b"],
            [None],
        ],
    ),
    "user": (
        "is not the name of a user",
        ["", None, 0, ["scm"], "-root", "-", "--x", "a b", "a:b", "a/b", "a,b", "a\nb", "a\n", "a\0", " scm"],
    ),
    "produces": ("is neither output nor folder", ["", None, "Output", ["output"], "files", 1]),
    "time_limit": (
        "is not a duration",
        [0, "0", "0s", -1, "", None, True, "1e5", "1w", "h", float("nan"), float("inf"), [1], "٣"],
    ),
    "size_limit": ("is not a size", [0, "0G", -1, "", None, True, "1.5G", "G", "1X", "9" * 16, float("inf"), [1], "٣"]),
    "host": (
        "is neither the absolute path of a socket or its folder nor the name of a host|is not an absolute path",
        ["", None, 5, "-x", "--host", "a b", "a;b", "a\n", ".x", "x.", "a/b", "/run\0", "user@host", "ä"],
    ),
    "port": ("is not a number of a port", [0, -1, 65536, 100000, "", None, True, "80 ", "0x50", 80.5, "٣"]),
    "login": ("is not the name of a role or user of a server", ["", None, 5, "a\nb", "a\0", "\x7f", ["a"]]),
    "password_file": ("is not an absolute path", ["", None, "x", "./x", "~/x", "/a\0b", 5, ["/x"]]),
    "databases": (
        "is not a list of names of databases",
        ["", "a", [], (), None, [""], [5], ["a\0b"], [["a"]], {"a": 1}],
    ),
    "lock": ("is neither true nor false", [0, 1, "yes", "", None, "true"]),
    "members": (
        "is not a list of items|is neither an item",
        ["git/forge", "", None, 5, [], [5], [""], ["forge"], {"git/forge": 1}],
    ),
}
REFUSED["verify"] = REFUSED["argv"]


@pytest.mark.parametrize("key", PARSERS)
def test_what_a_key_takes_comes_in_one_form(key: str) -> None:
    assert TAKEN[key]
    for value, expected in TAKEN[key]:
        found = PARSERS[key](value, key)
        assert (found, type(found)) == (expected, type(expected)), value


@pytest.mark.parametrize(("key", "value"), [(key, value) for key in PARSERS for value in REFUSED[key][1]])
def test_what_a_key_does_not_take_is_told_with_the_key(key: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"^{key} (?s:.)*(?:{REFUSED[key][0]})"):
        PARSERS[key](value, key)


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(InvalidInput) as caught:
        PARSERS["user"](" " * 5000, "user")
    assert len(str(caught.value)) < 300
