"""The dna sidecar: both forms are read, nothing else is, and nothing is ever executed."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import SidecarMalformed
from ansible_collections.altbackup.core.plugins.module_utils.tree import sidecar
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import read_state
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna

MD5 = "7b87e78cc03ea544e2ad3abae46eecd1"
SHA = hashlib.sha256(b"").hexdigest()
BASE = "2013/05/01/104701/dybsvn-20001.tar.zst"
ORIGINAL = Dna(MD5, 1915051630, "md5")
MODERN = Dna(SHA, 1531229474, "sha256")


@pytest.mark.parametrize(
    ("text", "dna"),
    [
        pytest.param("{'dig': '%s', 'size': 1915051630}\n" % MD5, ORIGINAL, id="original"),
        pytest.param("{'dig': '%s', 'size': 1915051630L}\n" % MD5, ORIGINAL, id="L"),
        pytest.param("{'size': 1915051630L, 'dig': '%s'}\n" % MD5, ORIGINAL, id="swapped keys"),
        pytest.param('{"dig": "%s", "size": 1915051630}\n' % MD5, ORIGINAL, id="double quotes"),
        pytest.param('{"dig": "%s", "size": 1915051630L}\n' % MD5, ORIGINAL, id="double quotes and L"),
        pytest.param('{\'dig\': "%s", "size": 1915051630}\n' % MD5, ORIGINAL, id="mixed quotes"),
        pytest.param("{'dig': '%s', 'size': 1915051630}\r\n" % MD5, ORIGINAL, id="CRLF"),
        pytest.param("{'dig': '%s', 'size': 1915051630}" % MD5, ORIGINAL, id="no newline"),
        pytest.param("{'dig': '%s', 'size': 1915051630}\n" % MD5.upper(), ORIGINAL, id="upper case"),
        pytest.param("  { 'dig' :'%s' ,\t'size':1915051630 } \n\n" % MD5, ORIGINAL, id="spaces"),
        pytest.param("{'dig': '%s', 'size': 1915051630,}" % MD5, ORIGINAL, id="comma after the last"),
        pytest.param("{'dig': '%s', 'size': 1915051630, }" % MD5, ORIGINAL, id="comma and space after the last"),
        pytest.param("{'dig': '%s', 'size': 1}" % MD5, Dna(MD5, 1, "md5"), id="one byte"),
        pytest.param('{"alg": "md5", "size": 5, "dig": "%s"}' % MD5, Dna(MD5, 5, "md5"), id="md5 said"),
        pytest.param('{"dig": "%s", "size": 1531229474, "alg": "sha256"}\n' % SHA, MODERN, id="sha256"),
        pytest.param("{'dig': '%s', 'size': 1531229474L, 'alg': 'sha256'}\n" % SHA, MODERN, id="sha256, the old way"),
        pytest.param('{"dig": "%s", "size": 7, "alg": "sha512"}' % (SHA * 2), Dna(SHA * 2, 7, "sha512"), id="sha512"),
        pytest.param(
            '{"dig": "%s", "size": 7, "alg": "sha256", "base": "%s", "base_dig": "%s"}' % (SHA, BASE, SHA.upper()),
            Dna(SHA, 7, "sha256", BASE, SHA),
            id="differential",
        ),
        pytest.param('{"dig": "%s", "size": %d}' % (MD5, 2**63 - 1), Dna(MD5, 2**63 - 1, "md5"), id="largest file"),
    ],
)
def test_both_forms_are_read(text: str, dna: Dna) -> None:
    assert sidecar.parse(text) == dna


OK = f"'dig': '{MD5}', 'size': 5"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        *((text, "it is empty") for text in ("", "\n", "   \r\n")),
        *((text, "is missing") for text in ("{}", "{'size': 5}", '{"dig": "%s"}' % MD5)),
        *(
            ("{'dig': '%s', 'size': 5}" % dig, "32 hexadecimal digits")
            for dig in (MD5[1:], MD5 + "0", "", "g" * 32, SHA)
        ),
        *(
            ('{"dig": %s, "size": 5}' % dig, "32 hexadecimal digits")
            for dig in ("1", "null", "[]", "{}", "true", '["a"]')
        ),
        ('{"dig": "%s", "size": 5, "alg": "sha256"}' % MD5, "64 hexadecimal digits"),
        *(
            ('{"dig": "%s", "size": 5, "alg": %s}' % (MD5, alg), "algorithm")
            for alg in ('"crc32"', "null", "[]", "1", '""')
        ),
        *(
            ('{"dig": "%s", "size": %s}' % (MD5, size), "is not the number of bytes")
            for size in (
                "-1",
                "0",
                "1.0",
                "1e3",
                "true",
                "false",
                "null",
                '"5"',
                "[5]",
                str(2**63),
                "9" * 400,
                "NaN",
                "Infinity",
            )
        ),
        *(
            ("{'dig': '%s', 'size': %s}" % (MD5, size), "is not one mapping")
            for size in (
                "-1",
                "1.5",
                "True",
                "None",
                "5l",
                "5LL",
                "L",
                "05",
                "0x5",
                "5 5",
                "9" * 400,
                "\uff15",
                "\u0665",
                "1\u0662",
                "1_000",
                "+5",
            )
        ),
        ("{'dig': '%s', 'size': 0}" % MD5, "is not the number of bytes"),
        *(
            (text, "a key stands twice")
            for text in ("{%s, 'size': 5}" % OK, ("{%s, 'dig': 'x'}" % OK).replace("'", '"'))
        ),
        *((text, "unknown key") for text in ("{%s, 't': 3}" % OK, ("{%s, 'path': 'x'}" % OK).replace("'", '"'))),
        *(
            (text, "is not one mapping")
            for text in (
                "{%s" % OK,
                "%s}" % OK,
                "{%s}}" % OK,
                "{%s}{%s}" % (OK, OK),
                "{%s} trailing" % OK,
                "({%s})" % OK,
                "[{%s}]" % OK,
                "{%s,,}" % OK,
                "{,%s}" % OK,
                "{'dig': '%s' 'size': 5}" % MD5,
                "{'dig\": '%s', 'size': 5}" % MD5,
                "{'dig': '%s\", 'size': 5}" % MD5,
                "{dig: '%s', size: 5}" % MD5,
                "{'dig': u'%s', 'size': 5}" % MD5,
                "{'dig': '%s' + '', 'size': 5}" % MD5,
                "dict(dig='%s', size=5)" % MD5,
                '[["dig", "%s"], ["size", 5]]' % MD5,
                '["dig", "size"]',
                '["ab", "cd"]',
                '"text"',
                "null",
                "5",
                "%s  file.tar.gz" % MD5,
                "\ufeff{%s}" % OK,
            )
        ),
        *(
            ('{"dig": "%s", "size": 5, %s}' % (MD5, rest), "base")
            for rest in (
                '"base": "%s"' % BASE,
                '"base_dig": "%s"' % SHA,
                '"base": "%s", "base_dig": "x"' % BASE,
                '"base": "%s", "base_dig": null' % BASE,
                '"base": null, "base_dig": null',
                '"base": "/etc/passwd", "base_dig": "%s"' % SHA,
                '"base": "../../x.tar", "base_dig": "%s"' % SHA,
                '"base": "2013/./x.tar", "base_dig": "%s"' % SHA,
                '"base": "", "base_dig": "%s"' % SHA,
                '"base": "a\\u0000b", "base_dig": "%s"' % SHA,
            )
        ),
        ("[" * 2000 + "]" * 2000, "is not one mapping"),
        ('{"dig":' * 500 + "1" + "}" * 500, "is"),
        ('{"dig": %s, "size": 5}' % ("[" * 900 + "]" * 900), "is"),
        ("{'%s': 5}" % ("a" * 4000), "unknown key"),
    ],
)
def test_all_else_is_malformed_and_the_message_says_why(text: str, why: str) -> None:
    with pytest.raises(SidecarMalformed, match=why) as error:
        sidecar.parse(text)
    assert len(str(error.value)) < 300


PAYLOADS = [
    "__import__('os').system('touch {})",
    "{{'dig': __import__('os').system('touch {}'), 'size': 5}}",
    "{{'dig': '%s', 'size': __import__('os').system('touch {}')}}" % MD5,
    "{{'dig': '%s', 'size': 5, 'x': [open('{}', 'w') for _ in '1']}}" % MD5,
    "!!python/object/apply:os.system ['touch {}']",
    "cos\nsystem\n(S'touch {}'\ntR.",
    "$(touch {})",
    "`touch {}`",
    "{{{{ lookup('pipe', 'touch {}') }}}}",
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_code_in_a_sidecar_is_malformed_and_does_not_run(tmp_path: Path, payload: str) -> None:
    proof, path = tmp_path / "ran", tmp_path / "x.tar.gz.dna"
    path.write_text(payload.format(proof))
    with pytest.raises(SidecarMalformed):
        sidecar.read(str(path))
    assert not proof.exists()


@example(b"{'dig': '" + b"a" * 4000)
@example(b"{" + b"'a':1," * 600)
@example(b"[" * 4096)
@example(b'{"":' * 1000)
@example(b"\xff\xfe{}")
@given(
    st.one_of(st.binary(max_size=5000), st.text("{}[]'\",: L\\0123456789abcdefsizdg\n", max_size=4200).map(str.encode))
)
def test_bytes_of_any_kind_are_a_dna_or_malformed_at_once(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.tar.dna"
    path.write_bytes(content)
    start = time.process_time()
    try:
        dna = sidecar.read(str(path))
    except SidecarMalformed:
        pass
    else:
        assert dna.size > 0
    assert time.process_time() - start < 1


dnas = st.one_of(
    [
        st.builds(
            Dna,
            st.text("0123456789abcdef", min_size=length, max_size=length),
            st.integers(1, 2**63 - 1),
            st.just(alg),
            base,
            base_dig,
        )
        for alg, length in (("md5", 32), ("sha256", 64), ("sha512", 128))
        for base, base_dig in ((st.none(), st.none()), (st.just("2013/05/01/104701/ü 'x\".tar"), st.just(SHA)))
    ]
)


@given(dnas)
def test_what_is_written_is_what_is_read(dna: Dna) -> None:
    text = sidecar.serialize(dna)
    assert sidecar.parse(text) == dna
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    assert len(text.encode()) <= sidecar.MAX_BYTES


@given(dnas, st.lists(st.sampled_from(["L", "swap", "crlf", "bare", "upper"]), unique=True))
def test_forms_of_the_original_mean_the_same(dna: Dna, changes: list[str]) -> None:
    parts = [f"'dig': '{dna.dig.upper() if 'upper' in changes else dna.dig}'", f"'alg': '{dna.alg}'"]
    parts.append(f"'size': {dna.size}{'L' if 'L' in changes else ''}")
    if "swap" in changes:
        parts.reverse()
    text = "{" + ", ".join(parts) + "}" + ("\r\n" if "crlf" in changes else "" if "bare" in changes else "\n")
    assert sidecar.parse(text).same_content(dna)


def test_md5_form_is_byte_for_byte_that_of_the_original() -> None:
    assert sidecar.serialize(ORIGINAL) == "{'dig': '7b87e78cc03ea544e2ad3abae46eecd1', 'size': 1915051630}\n"
    assert sidecar.serialize(ORIGINAL) == str({"dig": MD5, "size": 1915051630}) + "\n"


def test_default_form_is_json_in_the_documented_order() -> None:
    assert sidecar.serialize(MODERN) == '{"dig": "%s", "size": 1531229474, "alg": "sha256"}\n' % SHA
    assert json.loads(sidecar.serialize(Dna(SHA, 1, "sha256", BASE, SHA)))["base"] == BASE


@pytest.mark.parametrize("other", [Dna(SHA, 1531229474, "md5"), Dna(SHA, 1, "sha256"), Dna(MD5, 1531229474, "sha256")])
def test_other_digest_size_or_algorithm_is_another_content(other: Dna) -> None:
    assert MODERN.same_content(Dna(SHA, 1531229474, "sha256", BASE, SHA))
    assert not MODERN.same_content(other)


GOOD = sidecar.serialize(ORIGINAL).encode()


def test_a_sidecar_of_4_kib_is_read_and_a_longer_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.dna"
    path.write_bytes(GOOD.ljust(4096))
    assert sidecar.read(str(path)) == ORIGINAL
    path.write_bytes(GOOD.ljust(4097))
    os.truncate(path, 1 << 40)  # more than any memory holds
    with pytest.raises(SidecarMalformed, match=r"longer than 4\.0 KiB"):
        sidecar.read(str(path))


def test_a_sidecar_that_is_no_utf8_is_malformed(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.dna"
    path.write_bytes(GOOD.replace(b"'dig'", b"'d\xefg'"))
    with pytest.raises(SidecarMalformed, match="UTF-8"):
        sidecar.read(str(path))


@pytest.mark.parametrize("kind", ["folder", "pipe", "open pipe", "link", "loop", "socket", "zeros", "link to zeros"])
def test_what_is_no_plain_file_is_no_sidecar_and_never_waits(tmp_path: Path, kind: str) -> None:
    path, descriptors = tmp_path / "x.tar.dna", []
    if kind == "folder":
        path.mkdir()
    elif kind in ("pipe", "open pipe"):
        os.mkfifo(path)
        if kind == "open pipe":
            descriptors = [os.open(path, os.O_RDWR)]
    elif kind == "link":
        (tmp_path / "good").write_bytes(GOOD)
        path.symlink_to("good")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "link to zeros":
        path.symlink_to("/dev/zero")
    else:
        try:
            os.mknod(path, 0o20600, os.stat("/dev/zero").st_rdev)
        except PermissionError:
            pytest.skip("device files need root")
    open_before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"no plain file|symbolic links|No such device"):
        sidecar.read(str(path))
    dna, problem, state = read_state(str(path)[:-4], 5)
    assert (dna, state) == (None, "malformed")
    assert problem.startswith("has a dna that cannot be read: ")
    assert len(os.listdir("/proc/self/fd")) == open_before
    for descriptor in descriptors:
        os.close(descriptor)


def test_four_states_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    assert read_state(str(path), 5)[2] == "missing"
    (tmp_path / "x.tar.dna").write_bytes(b"")
    assert read_state(str(path), 5) == (None, "has a malformed dna: it is empty", "malformed")
    (tmp_path / "x.tar.dna").write_bytes(GOOD)
    assert read_state(str(path), 5) == (ORIGINAL, "has 5 bytes, but its dna says 1915051630", "mismatch")
    assert read_state(str(path), 1915051630) == (ORIGINAL, "", "verified")
