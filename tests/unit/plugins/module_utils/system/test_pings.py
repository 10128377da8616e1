"""Pings follow the documentation of healthchecks.io and Uptime Kuma, keep their time limit, and their addresses stay secret."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.mail_server import make_certificate
from helpers.trees import needs_root, small_disk
from helpers.web_receivers import CHECK, TOKEN, WebReceiver, receiving

from ansible_collections.altbackup.core.plugins.module_utils.system import pings
from ansible_collections.altbackup.core.plugins.module_utils.system.pings import (
    HEALTHCHECKS,
    KUMA,
    Ping,
    Refused,
    problem_of,
    request_of,
    send,
    shown,
    take_turn,
)

RID = "728b3763-10ec-4a0a-b1c5-b2a2b9a2bb0e"
HOME = f"https://hc.example.org/{CHECK}"
PUSH = f"https://kuma.example.org/api/push/{TOKEN}?status=up&msg=OK&ping="


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between attempts, and no proxy."""
    monkeypatch.setattr(pings, "_PAUSES", (0.0, 0.01, 0.02))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def receiver() -> Iterator[WebReceiver]:
    """A receiver that accepts."""
    with receiving("accepts") as running:
        yield running


def soon(seconds: float = 5.0) -> float:
    """Return a near time of the monotonic clock."""
    return time.monotonic() + seconds


@pytest.mark.parametrize(
    ("ping", "url"),
    [
        (Ping(HEALTHCHECKS, HOME, "success"), HOME),
        (Ping(HEALTHCHECKS, f"{HOME}/", "start"), f"{HOME}/start"),
        (Ping(HEALTHCHECKS, HOME, "fail", RID), f"{HOME}/fail?rid={RID}"),
        (Ping(HEALTHCHECKS, f"{HOME}?create=1", "2", RID), f"{HOME}/2?create=1&rid={RID}"),
        (Ping(KUMA, PUSH, "0", message="good", milliseconds=12), PUSH.partition("up&")[0] + "up&msg=good&ping=12"),
        (Ping(KUMA, PUSH, "7", message="a b&c"), PUSH.partition("up&")[0] + "down&msg=a+b%26c&ping=0"),
    ],
)
def test_addresses_are_as_documented(ping: Ping, url: str) -> None:
    assert request_of(ping).full_url == url


def test_a_body_is_cut_at_what_is_kept_of_it() -> None:
    assert len(request_of(Ping(HEALTHCHECKS, HOME, "0", body="é" * 90_000)).data or b"") == 100_000
    assert request_of(Ping(HEALTHCHECKS, HOME, "0")).get_method() == "GET"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (HOME, ""),
        ("http://[::1]:8000/ping/x", ""),
        ("ftp://example.org/x", "begins with"),
        ("hc-ping.com/x", "begins with"),
        ("https://example.org:port/x", "is no URL"),
        ("https://example.org/a b", "characters"),
        ("https://example.org/\n", "characters"),
        ("https://example.org/" + "x" * 3000, "more than"),
    ],
)
def test_what_is_no_address_is_named_without_quoting_it(url: str, said: str) -> None:
    problem = problem_of(url)
    assert said in problem if said else problem == ""
    assert "example.org" not in problem


def test_of_an_address_only_the_host_is_shown() -> None:
    assert shown("https://user:pw@hc.example.org:8443/ping/secret?x=secret") == "https://hc.example.org:8443/***"
    assert CHECK not in repr(Ping(HEALTHCHECKS, HOME, "start"))


def test_a_run_is_taken_with_its_rid_and_body(receiver: WebReceiver) -> None:
    send(Ping(HEALTHCHECKS, receiver.check, "start", RID), soon())
    send(Ping(HEALTHCHECKS, receiver.check, "0", RID, "all is well"), soon())
    send(Ping(KUMA, receiver.monitor, "0", message="good", milliseconds=1500), soon())
    assert receiver.signals() == ["start", "0"]
    assert [taken.query.get("rid") for taken in receiver.taken[:2]] == [RID, RID]
    assert receiver.taken[1].body == b"all is well"
    assert receiver.taken[2].query == {"status": "up", "msg": "good", "ping": "1500"}


@pytest.mark.parametrize(
    ("answers", "asked", "said"),
    [
        ([(503, ""), (500, "")], 3, ""),
        ([(500, "")] * 3, 3, "answered 500"),
        ([(404, "no such check")], 1, "answered 404"),
        ([(200, "OK (not found)")], 1, "not found"),
        ([(200, "OK (rate limited)")], 1, "rate limited"),
    ],
)
def test_what_may_be_better_in_a_moment_is_tried_again(
    receiver: WebReceiver, answers: list[tuple[int, str]], asked: int, said: str
) -> None:
    receiver.answers = list(answers)
    if said:
        with pytest.raises(Refused, match=said):
            send(Ping(HEALTHCHECKS, receiver.check, "0"), soon())
    else:
        send(Ping(HEALTHCHECKS, receiver.check, "0"), soon())
    assert len(receiver.asked) == asked


def test_a_redirect_is_not_followed(receiver: WebReceiver) -> None:
    receiver.location = "https://elsewhere.example.org/secret"
    with pytest.raises(Refused, match=r"sent on to https://elsewhere\.example\.org/\*\*\* \(302\)"):
        send(Ping(HEALTHCHECKS, receiver.check, "0"), soon())
    assert len(receiver.asked) == 1


def test_only_a_trusted_certificate_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path)
    with receiving("accepts", certificate) as receiver:
        with pytest.raises(Refused, match="certificate is not trusted"):
            send(Ping(HEALTHCHECKS, receiver.check, "0"), soon())
        assert receiver.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        send(Ping(HEALTHCHECKS, receiver.check, "0"), soon())
        assert receiver.signals() == ["0"]


def test_nobody_there_is_said_without_the_address() -> None:
    with receiving("accepts") as receiver:
        check = receiver.check
    with pytest.raises(Refused) as caught:
        send(Ping(HEALTHCHECKS, check, "0"), soon())
    assert str(caught.value) == "Connection refused"


def program(job: dict[str, Any]) -> tuple[list[dict[str, Any]], float]:
    """Return the program's output on a job, and the seconds it took."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-I", pings.__file__], input=json.dumps(job), capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()], time.monotonic() - began


def test_who_never_answers_holds_nobody_up(tmp_path: Path) -> None:
    with receiving("never answers") as receiver:
        ping = {"kind": HEALTHCHECKS, "url": receiver.check, "signal": "0"}
        told, took = program({"pings": [ping], "timeout": 1.5, "state": str(tmp_path / "state")})
    assert told == [{"number": 0, "sent": False, "said": "it does not answer"}]
    assert took < 10
    assert len(receiver.asked) >= 1


def test_five_a_minute_go_out_and_a_start_leaves_room_for_ends(tmp_path: Path) -> None:
    state = tmp_path / "state"
    start, end = Ping(HEALTHCHECKS, HOME, "start"), Ping(HEALTHCHECKS, HOME, "0")
    assert [take_turn(str(state), start, 1000.0) for _ in range(4)] == [True, True, True, False]
    assert [take_turn(str(state), end, 1010.0) for _ in range(3)] == [True, True, False]
    assert take_turn(str(state), Ping(HEALTHCHECKS, f"{HOME}2", "0"), 1010.0), "another address has its own"
    assert take_turn(str(state), end, 1061.0)
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert CHECK not in state.read_text()


@pytest.mark.parametrize("text", ["[]", "{", '{"x": 1}', '{"x": ["y"]}', '{"x": [9e99]}', "[" * 100_000])
def test_a_damaged_memory_holds_no_ping_back(tmp_path: Path, text: str) -> None:
    state = tmp_path / "state"
    state.write_text(text)
    assert take_turn(str(state), Ping(HEALTHCHECKS, HOME, "0"), 1000.0)
    assert not (tmp_path / "link").exists()
    (tmp_path / "link").symlink_to(state)
    assert take_turn(str(tmp_path / "link"), Ping(HEALTHCHECKS, HOME, "0"), 1000.0), "what cannot be kept is no reason"


@needs_root
def test_where_the_disk_is_full_a_ping_goes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        state = disk / "state"
        state.touch()
        with contextlib.suppress(OSError), (disk / "fill").open("wb", buffering=0) as stream:
            while stream.write(b"x" * 4096):
                pass
        assert os.statvfs(disk).f_bavail == 0
        assert take_turn(str(state), Ping(HEALTHCHECKS, HOME, "0"), 1000.0)


def test_an_answer_too_deep_to_be_understood_is_none() -> None:
    assert pings._refusal(Ping(pings.KUMA, HOME, "up"), b"[" * 2000) == ""
