"""A mail's first line says what failed where, the rest says everything else, and every server and reader accepts it."""

from __future__ import annotations

import gzip
import html.parser
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import pytest
from helpers.mail_server import read_mail, text_of

from ansible_collections.altbackup.core.plugins.plugin_utils.mail import page
from ansible_collections.altbackup.core.plugins.plugin_utils.mail.settings import Settings
from ansible_collections.altbackup.core.plugins.plugin_utils.mail.text import compose, specimen, subject
from ansible_collections.altbackup.core.plugins.plugin_utils.report.model import Failure, Place, Report

SETTINGS = Settings(sender="scm@hub.example.org")
TO = ("admins@example.org", "boss@example.org")
START = datetime(2013, 5, 10, 2, 0, tzinfo=UTC)
PLACE = Place(name="Send it", role="synchronize", path="roles/x.yml:7", play="Back up", user="scm", run_once=True)
FAILURE = Failure(
    "dayabay",
    "the first line\nthe second line",
    delegate="cms01",
    place=PLACE,
    outputs=(("return code", "23"), ("stderr", "rsync: one\nrsync: two")),
    before="3 tasks, the last: Dump",
    since="still failing since May, 3 runs",
)
REPORT = Report(
    "backup.yml",
    (FAILURE, Failure("lingao", "boom")),
    unfinished=("sdu",),
    notes=("a note",),
    fine=("dayabay: svn: 5 bytes",),
    recap={"dayabay": {"ok": 3, "failures": 1}, "lingao": {"ok": 1}, "sdu": {}},
    state="2 of 3 hosts failed",
    command="ansible-playbook backup.yml",
    folder="/home/scm",
    node="hub",
    user="scm",
    inventory=("inventory/mine",),
    started=START,
    ended=START + timedelta(minutes=75),
    stamp="2013/05/10/020000",
    rerun="ansible-playbook backup.yml -e altbackup_stamp=2013/05/10/020000",
    log=(("", "PLAY é"), ("dayabay", "fatal")),
)


def mail(report: Report, **options: int) -> EmailMessage:
    """Return the mail on a report as its reader parses it; it must meet the servers' requirements."""
    raw = compose(report, replace(SETTINGS, **options), TO).as_bytes()
    lines = raw.split(b"\r\n")
    assert not [line for line in lines if b"\n" in line or b"\r" in line]
    assert max(map(len, lines)) <= 998
    assert raw.isascii()
    return read_mail(raw)


class Page(html.parser.HTMLParser):
    """Parses a page; its elements must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (REPORT, "[altbackup] FAILED backup.yml: dayabay -> cms01: the first line (+2 hosts)"),
        (
            replace(REPORT, failures=(FAILURE,), unfinished=()),
            "[altbackup] FAILED backup.yml: dayabay -> cms01: the first line",
        ),
        (
            replace(REPORT, check=True, failures=(Failure("a", "no"),), unfinished=()),
            "[altbackup] FAILED (check mode) backup.yml: a: no",
        ),
        (
            replace(REPORT, failures=(Failure("a", "x\r\nBcc: y@z"),), unfinished=()),
            "[altbackup] FAILED backup.yml: a: x",
        ),
        (replace(REPORT, failures=()), "[altbackup] FAILED backup.yml: sdu: did not finish"),
        (
            replace(REPORT, failures=(Failure("a", "no"), Failure("a", "nor this"), Failure("b", "no")), unfinished=()),
            "[altbackup] FAILED backup.yml: a: no (+1 host)",
        ),
        (
            replace(REPORT, failures=(Failure("a", "no"), Failure("a", "nor this"), Failure("a", "x")), unfinished=()),
            "[altbackup] FAILED backup.yml: a: no (+2 failures)",
        ),
        (
            replace(REPORT, status="RECOVERED", unfinished=()),
            "[altbackup] RECOVERED backup.yml: dayabay -> cms01: the first line (+1 host)",
        ),
    ],
)
def test_subject_says_what_failed_where(report: Report, expected: str) -> None:
    assert subject(report) == expected
    assert mail(report)["Subject"] == expected


@pytest.mark.parametrize("playbook", ["backup.yml", "a" * 300 + ".yml"])
@pytest.mark.parametrize("message", ["no " * 200, "大" * 300, ""])
def test_subject_is_short_and_still_counts_the_hosts(playbook: str, message: str) -> None:
    failures = (Failure("dayabay", message), Failure("lingao", message))
    told = subject(replace(REPORT, playbook=playbook, failures=failures, unfinished=()))
    assert len(told) <= 120
    assert told.startswith("[altbackup] FAILED ")
    assert told.endswith(" (+1 host)")


def test_what_ssh_said_is_told_once_and_become_is_named() -> None:
    said = "ssh: connect to host 127.0.0.1 port 1: Connection refused"
    message = f"preflight: cms01 cannot be reached from this node as scm: {said}"
    outputs = (("return code", "255"), ("stderr", f"{said}\n"), ("stdout", "more"))
    failure = Failure("dayabay", message, place=replace(PLACE, become="root"), outputs=outputs)
    text = text_of(mail(replace(REPORT, failures=(failure,), unfinished=())))
    card = text.split("\n\n")[1]
    assert card.count("Connection refused") == 1, card
    assert "  become: root\n" in card
    assert "return code: 255" in card and "stdout" in card


def test_text_begins_with_what_failed_and_holds_everything_in_order() -> None:
    text = text_of(mail(REPORT))
    assert text.startswith(
        "FAILED dayabay -> cms01: the first line\n2 failures on 3 hosts in backup.yml, started on hub.\n"
    )
    wanted = [
        "1. dayabay -> cms01: the first line",
        "the second line",
        "still failing since May",
        '"Send it" of role synchronize',
        "roles/x.yml:7",
        "remote user: scm",
        "for all hosts of its play",
        "return code: 23",
        "fine before: 3 tasks, the last: Dump",
        "rsync: one\n    rsync: two",
        "2. lingao: boom",
        "Did not finish",
        "sdu",
        "a note",
        "dayabay: svn: 5 bytes",
        "command: ansible-playbook backup.yml",
        "folder: /home/scm",
        "controller: scm@hub",
        "inventory: inventory/mine",
        "stamp: 2013/05/10/020000",
        "started: 2013-05-10 02:00:00 UTC",
        "took: 1:15:00",
        "ended: 2 of 3 hosts failed",
        "dayabay: ok=3, failures=1",
        "ansible-playbook backup.yml -e altbackup_stamp=2013/05/10/020000",
    ]
    positions = [text.find(word) for word in wanted]
    assert -1 not in positions, wanted[positions.index(-1)]
    assert positions == sorted(positions)


def test_html_says_the_same_and_needs_nothing_else() -> None:
    message = mail(REPORT)
    source = text_of(message, "html")
    read = Page(source)
    for line in text_of(message).split("\n"):
        value = line.strip().partition(": ")[2] or line.strip().rstrip(":")
        if "=" not in value:
            assert value in read.words, value
    assert {"table", "pre", "style"} <= set(read.elements)
    assert read.links == []
    assert not re.search(r"https?:|url\(|@import|<script|<img", source)
    assert "prefers-color-scheme: dark" in source
    assert 'name="viewport"' in source


def test_python_without_jinja_mails_the_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = text_of(mail(REPORT))
    monkeypatch.setattr(page, "find_spec", lambda _: None)
    message = mail(REPORT)
    assert text_of(message) == whole
    assert message.get_body(("html",)) is None
    assert len(list(message.iter_attachments())) == 1


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", "</pre><b>", '"><img src=x>', "&amp;"])
def test_everything_in_html_is_escaped(evil: str) -> None:
    failure = Failure(
        evil, f"{evil}\n{evil}", delegate=evil, place=Place(*[evil] * 6), outputs=((evil, f"{evil}\n"),), before=evil
    )
    report = replace(
        REPORT,
        failures=(failure,),
        notes=(evil,),
        fine=(evil,),
        command=evil,
        rerun=evil,
        unfinished=(evil,),
        recap={evil: {"ok": 1}},
    )
    read = Page(text_of(mail(report), "html"))
    assert not {"script", "img", "b"} & set(read.elements)
    assert read.words.count(evil) > 12


def test_what_follows_from_a_failure_is_told_below_it_in_both_forms() -> None:
    line = "so on cms01, sdu: check: expecting 1 tarball for <a> but got 0"
    failure = replace(FAILURE, follows=(line,))
    message = mail(replace(REPORT, failures=(failure,), unfinished=()))
    assert text_of(message).count(f"\n  {line}\n") == 1
    assert "expecting 1 tarball for &lt;a&gt; but got 0" in text_of(message, "html")
    assert "1 failure on 1 host" in text_of(message)


def test_commands_that_nodes_write_name_the_inventory_of_the_run() -> None:
    command = "Accept it: ansible-playbook -i INVENTORY altbackup.core.mark"
    follows = Failure("sdu", f"dump: x\n{command}", follows=(command,))
    report = Report("backup.yml", (follows,), notes=(command,), inventory=("inventory/my own", "more"))
    text = text_of(mail(report))
    assert text.count("ansible-playbook -i 'inventory/my own' -i more altbackup.core.mark") == 3
    assert "INVENTORY" not in text
    assert "-i INVENTORY" in text_of(mail(replace(report, inventory=())))


def test_headers_let_programs_sort_and_thread() -> None:
    first, second = mail(REPORT), mail(replace(REPORT, ended=START + timedelta(days=1)))
    assert first["Auto-Submitted"] == "auto-generated"
    assert (first["X-Altbackup-Status"], first["X-Altbackup-Playbook"]) == ("failed", "backup.yml")
    assert first["X-Altbackup-Hosts"] == "dayabay, lingao, sdu"
    assert first["X-Altbackup-Stamp"] == "2013/05/10/020000"
    assert first["Message-ID"] != second["Message-ID"]
    assert first["References"] == second["References"]
    assert len(first["References"].split()) == 3
    assert first["To"] == ", ".join(TO)
    assert first["Date"] == "Fri, 10 May 2013 03:15:00 +0000"


def test_log_is_attached_and_bounded() -> None:
    (attached,) = mail(REPORT).iter_attachments()
    assert attached.get_filename() == "run.log.gz"
    assert gzip.decompress(attached.get_content()).decode() == "PLAY é\nfatal\n"
    long = replace(REPORT, log=tuple(("", f"{number}") for number in range(100_000)))
    (attached,) = mail(long, log_limit=10_000).iter_attachments()
    assert len(gzip.decompress(attached.get_content())) < 10_200
    assert list(mail(REPORT, log_limit=0).iter_attachments()) == []


def test_same_failure_on_many_hosts_is_told_once() -> None:
    failures = tuple(replace(FAILURE, host=f"web{number}", delegate="") for number in range(30))
    text = text_of(mail(replace(REPORT, failures=failures)))
    assert text.count("rsync: two") == 1
    assert "1. 30 hosts: the first line" in text
    assert "web0, web1" in text
    assert "web29" in text


@pytest.mark.parametrize("count", [1, 10, 400])
def test_body_is_bounded_and_names_every_host(count: int) -> None:
    huge = "word " * 20_000
    failures = tuple(
        Failure(f"host{number:03d}", f"failure {number}\n{huge}", outputs=(("stdout", huge), ("stderr", huge)))
        for number in range(count)
    )
    recap = {failure.host: {"failures": 1} for failure in failures}
    message = mail(replace(REPORT, failures=failures, recap=recap, unfinished=()), body_limit=64 * 1024)
    text = text_of(message)
    assert len(text) <= 64 * 1024 + 100
    assert len(text_of(message, "html")) < 160 * 1024
    assert "left out" in text
    assert text.rstrip().endswith(REPORT.rerun)
    assert [number for number in range(min(count, 100)) if f"host{number:03d}" not in text] == []


def test_text_of_any_language_and_shape_is_carried() -> None:
    text = "大亚湾 é \U0001f600 " + "x" * 5000
    message = mail(replace(REPORT, failures=(Failure("a", f"{text}\n.\nFrom here\n"),)))
    assert "大亚湾" in message["Subject"]
    assert "x" * 5000 in text_of(message)
    assert "\n  From here" in text_of(message)


def test_report_with_nothing_known_is_a_mail() -> None:
    assert mail(Report("x.yml", (Failure("", ""),)))["Subject"] == "[altbackup] FAILED x.yml: :"


def test_specimen_says_that_it_is_a_test_and_shows_no_secret() -> None:
    message = mail(specimen())
    assert message["Subject"].startswith("[altbackup] TEST")
    assert "nothing has failed" in text_of(message)
    assert "********" in text_of(message)
    assert "swordfish" not in message.as_string()


def test_card_says_when_its_item_last_had_a_good_copy_there() -> None:
    good, none = "last good copy there: 2026/11/27 01:30:00", "no good copy there"
    one = replace(FAILURE, good=good)
    text = text_of(mail(replace(REPORT, failures=(one,), unfinished=())))
    assert text.count(f"\n  {good}\n") == 1
    assert good in text_of(mail(replace(REPORT, failures=(one,))), "html")
    same = replace(REPORT, failures=(one, replace(one, host="lingao")), unfinished=())
    assert text_of(mail(same)).count(good) == 1
    others = replace(REPORT, failures=(one, replace(one, host="lingao", good=none), replace(one, host="sdu", good="")))
    told = text_of(mail(others))
    assert f"\n  dayabay -> cms01: {good}\n  lingao -> cms01: {none}\n" in told
    assert "sdu -> cms01: \n" not in told


def test_what_is_the_same_of_several_sources_is_one_failure() -> None:
    one = replace(FAILURE, message="preflight: base /copies has no marker", where="dayabay -> cms01")
    text = text_of(
        mail(replace(REPORT, failures=(one, replace(one, host="lingao", where="lingao -> cms01")), unfinished=()))
    )
    assert "1 failure on 2 hosts" in text
    assert text.count("base /copies has no marker") == 2  # the first line, and the card
    assert "hosts: dayabay, lingao -> cms01" in text


def test_mail_on_a_check_says_what_mends() -> None:
    text = text_of(mail(replace(REPORT, playbook="check.yml", mend="altbackup run backup -e password=********")))
    told = text.partition("To mend it")[2]
    assert "A backup fetches good copies of what is damaged" in told
    assert "Put in what is masked." in told and "    altbackup run backup" in told and "It looks again." in told
    assert "To mend it" not in text_of(mail(REPORT)) and "nothing else" in text_of(mail(REPORT))


def test_error_of_the_inventory_is_one_whatever_hosts_have_it() -> None:
    place = Place(name="Validate", role="altbackup.core.altbackup")
    failures = tuple(Failure(host, "altbackup_x must be a or b", place=place) for host in ("a", "b", "c"))
    report = replace(REPORT, failures=failures)
    assert subject(report) == "[altbackup] FAILED backup.yml: inventory: altbackup_x must be a or b"
    text = text_of(mail(report))
    assert "1 error of the inventory: nothing was begun on any host, in backup.yml, started on hub." in text
    assert "1. 3 hosts: altbackup_x" in text and "hosts: a, b, c" in text
